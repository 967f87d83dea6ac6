"""The groups of settings in a record's configuration."""

# The config groups, in the order their columns stand. `name` in a group is the option that the user typed.
GROUPS = ("model", "data", "augment", "optim", "scheduler", "train", "budget", "machine")


MACHINE = "machine"  # of these groups says where a run is computed: no part of a configuration's identity


def is_machines(name: str) -> bool:
    """Whether a column holds the option or a setting of the machine."""
    return name.partition(".")[0] == MACHINE
