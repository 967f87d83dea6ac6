"""Callbacks of a run: the base class, TensorBoard and MLflow."""
