"""Branches of a search space: parameters that exist under a condition only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution

from mnist_compact.common.errors import ConfigError
from mnist_compact.search.grammar import read

Conditions = Mapping[str, Sequence[str]]  # condition: key → its values


@dataclass(slots=True, frozen=True)
class Parameter:
    """One dimension of the space. In the study it is named by its key or, in a branch, by `branch:key`."""

    name: str
    key: str
    distribution: BaseDistribution


@dataclass(slots=True, frozen=True)
class Branch:
    """Parameters that exist only where every key in `when` has one of the listed values.

    A condition on a searched key holds only where the key is searched. A branch that depends on a parameter of another
    branch is therefore active only where the other branch is.
    """

    name: str
    when: Mapping[str, Sequence[str]]
    parameters: tuple[Parameter, ...]

    def searched(self) -> set[str]:
        return {parameter.key for parameter in self.parameters}


def parse_branch(name: str, branch: Mapping[str, Any], on_command_line: set[str]) -> Branch:
    """Build a branch from its configuration; keys on the command line are left out.

    Raises:
        ConfigError: A parameter is not a sweep.
    """
    overrides = [f"{key}={value}" for key, value in branch["params"].items() if key not in on_command_line]
    searched, fixed, _ = read(overrides)
    if fixed:
        raise ConfigError(
            [f"hydra.sweeper.branches.{name}.params.{key} must be a sweep, got {value}" for key, value in fixed.items()]
        )
    when = {
        key: [
            str(value)
            for value in (allowed if isinstance(allowed, Sequence) and not isinstance(allowed, str) else [allowed])
        ]
        for key, allowed in branch["when"].items()
    }
    return Branch(name, when, tuple(Parameter(f"{name}:{key}", key, found) for key, found in searched.items()))


def in_order(branches: Sequence[Branch]) -> tuple[Branch, ...]:
    """Sort the branches so that each follows those that search the keys of its conditions.

    Raises:
        ConfigError: Branches depend on each other in a circle.
    """
    ordered, waiting = list[Branch](), list(branches)
    while waiting:
        pending = set().union(*(branch.searched() for branch in waiting))
        ready = next((branch for branch in waiting if not pending & branch.when.keys()), None)
        if ready is None:
            names = ", ".join(branch.name for branch in waiting)
            raise ConfigError([f"hydra.sweeper.branches must not depend on each other in a circle, got {names}"])
        waiting.remove(ready)
        ordered.append(ready)
    return tuple(ordered)


def both_conditions(first: Conditions, second: Conditions) -> Conditions | None:
    """Return the conditions under which both hold, or None if they exclude each other."""
    both = {
        key: [value for value in first.get(key, second.get(key, ())) if value in second.get(key, [value])]
        for key in [*first, *second]
    }
    return both if all(both.values()) else None
