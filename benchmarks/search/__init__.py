"""`python -m benchmarks.search`: this search against Hydra's stock sweeper, on recorded curves and for real."""
