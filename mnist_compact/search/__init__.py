"""Hyperparameter search: search space, study, coordinator, worker processes and trial leases."""
