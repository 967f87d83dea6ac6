"""The config groups in the configuration of a record."""

# The config groups in the order of their columns. `name` in a group is the option that was chosen.
GROUPS = ("model", "data", "augment", "optim", "scheduler", "train", "budget", "machine")
MACHINE = "machine"  # where a run is computed; it is not part of the identity of a configuration


def is_machines(name: str) -> bool:
    """Return whether a column holds the option or a setting of the group `machine`."""
    return name.partition(".")[0] == MACHINE
