"""Branches of a search space: parameters that exist under a condition only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution

from mnist_compact.common.errors import ConfigError
from mnist_compact.search.grammar import read

Way = Mapping[str, Sequence[str]]  # condition: key → its values


@dataclass(slots=True, frozen=True)
class Parameter:
    """One dimension. Its name in the study is its key or, in a branch, branch:key, so that branches stay apart."""

    name: str
    key: str
    distribution: BaseDistribution


@dataclass(slots=True, frozen=True)
class Branch:
    """Parameters of the points at which every key in `when` has one of its values.

    A condition on a key that the space searches holds only where the key is searched: a branch that depends on the
    parameter of another branch is taken only where that one is.
    """

    name: str
    when: Mapping[str, Sequence[str]]
    parameters: tuple[Parameter, ...]

    def searched(self) -> set[str]:
        return {parameter.key for parameter in self.parameters}


def parse_branch(name: str, branch: Mapping[str, Any], said: set[str]) -> Branch:
    overrides = [f"{key}={value}" for key, value in branch["params"].items() if key not in said]
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
    """Each branch after those that search the keys of its conditions; else as they are written."""
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


def in_common(first: Way, second: Way) -> Way | None:
    """The conditions of both; None where they exclude each other."""
    both = {
        key: [value for value in first.get(key, second.get(key, ())) if value in second.get(key, [value])]
        for key in [*first, *second]
    }
    return both if all(both.values()) else None
