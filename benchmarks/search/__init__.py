"""`python -m benchmarks.search`: compare this package's search with Hydra's Optuna sweeper."""
