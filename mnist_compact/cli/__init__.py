"""The commands: train, resume, rerun, report, study, confirm, evaluate and zoo, and what they print."""
