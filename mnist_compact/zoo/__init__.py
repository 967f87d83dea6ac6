"""Trained networks: loading, scoring, the registry and its model cards."""
