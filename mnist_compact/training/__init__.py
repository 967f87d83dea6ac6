"""The training loop, one training step, evaluation, checkpoints and the device."""
