"""The search: an Optuna study over configurations, run by worker processes that waste nothing."""
