"""What plugs into Hydra: the grid sweeper, the search sweeper, the process launcher and two callbacks."""
