"""How it is trained: optimizers, schedules, evaluation, averaged weights, checkpoints and the loop."""
