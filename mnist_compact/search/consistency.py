"""Check a search space for contradictions before the study is created."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution

from mnist_compact.common.errors import ConfigError
from mnist_compact.records.settings import is_machines
from mnist_compact.search.branches import Branch, both_conditions
from mnist_compact.search.grammar import read
from mnist_compact.search.space import Known, SearchSpace, values_of

UNSEARCHABLE = ("sweeps", "callbacks")  # these groups are read once, before the first trial


def check_space(space: SearchSpace, arguments: Sequence[str], known: Known) -> None:
    """Check that a search space does not contradict itself.

    The command line may legitimately leave a branch without points.

    Args:
        space: The search space.
        arguments: The overrides on the command line.
        known: Returns the value of a key that the space does not search.

    Raises:
        ConfigError: It names every contradiction.
    """
    typed = Counter(word.partition("=")[0].lstrip("+~") for word in arguments)
    faults = [
        *(
            f"{key} must be given once on the command line, because it is searched"
            for key in _repeated(typed, arguments)
        ),
        *_unsearchable_keys(space),
        *_repeated_choices(space),
        *_keys_searched_twice(space),
        *_conditions_without_points(space, typed),
    ]
    if not faults and not space.parameters and next(space.active_branches({}, known), None) is None:
        conditions = " or ".join(f"{branch.name}: {dict(branch.when)}" for branch in space.branches)
        faults.append(f"a search needs at least one branch whose conditions hold, got none of {conditions}")
    if faults:
        raise ConfigError(faults)


def _repeated(typed: Mapping[str, int], arguments: Sequence[str]) -> list[str]:
    return [key for key in read(arguments)[0] if typed[key.lstrip("+")] > 1]


def _unsearchable_keys(space: SearchSpace) -> Iterator[str]:
    keys = [*space.keys(), *(word.partition("=")[0].lstrip("+") for word in space.fixed)]
    yield from (
        f"{key} must not be searched, because it describes the machine that computes a trial"
        for key in keys
        if is_machines(key)
    )
    for key in sorted(space.keys()):
        if key.partition(".")[0].partition("@")[0].lstrip("+") in UNSEARCHABLE:
            yield f"{key} must have one value in a search, got a sweep of several"


def _repeated_choices(space: SearchSpace) -> Iterator[str]:
    for prefix, parameters in (("", space.parameters), *((f"{b.name}: ", b.parameters) for b in space.branches)):
        for parameter in parameters:
            distribution = parameter.distribution
            if isinstance(distribution, CategoricalDistribution) and _has_repeats(distribution.choices):
                listed = ", ".join(map(str, distribution.choices))
                yield f"{prefix}{parameter.key} must list each choice once, got {listed}"


def _has_repeats(choices: Collection[Any]) -> bool:
    """Return whether two choices are equal, or are written equally on a command line."""
    return min(len(set(choices)), len(set(map(str, choices)))) < len(choices)


def _keys_searched_twice(space: SearchSpace) -> Iterator[str]:
    unconditional = {parameter.key for parameter in space.parameters}
    for branch in space.branches:
        for key in sorted(branch.searched() & unconditional):
            yield f"{key} must be searched either in params or in branches, got it in both (branch {branch.name})"
    for first, second in combinations(space.branches, 2):
        shared = sorted(first.searched() & second.searched())
        if shared and (condition := _common_condition(space, first, second)) is not None:
            yield (
                f"{', '.join(shared)} must be searched by one branch at a time, got {first.name} and {second.name}, "
                f"whose conditions can both hold{condition}"
            )


def _common_condition(space: SearchSpace, first: Branch, second: Branch) -> str | None:
    """Describe a condition under which both branches are active; None if they exclude each other."""
    for conditions in space.condition_sets(first):
        for other in space.condition_sets(second):
            if (both := both_conditions(conditions, other)) is not None:
                return ": " + " ".join(f"{key}={values[0]}" for key, values in both.items()) if both else ""
    return None


def _conditions_without_points(space: SearchSpace, typed: Collection[str]) -> Iterator[str]:
    for branch in space.branches:
        prefix = f"hydra.sweeper.branches.{branch.name}.when"
        faults = [
            fault
            for key, allowed in branch.when.items()
            if key not in typed
            for fault in _never_equal(space, key, allowed)
        ]
        yield from (f"{prefix}.{fault}" for fault in faults)
        if not faults and not space.condition_sets(branch) and branch.when.keys().isdisjoint(typed):
            yield f"{prefix} can never hold: no branch that searches its keys is active under the same conditions"


def _never_equal(space: SearchSpace, key: str, allowed: Collection[str]) -> Iterator[str]:
    """Yield an error for each value of a condition that the searched key never has."""
    if not allowed:
        yield f"{key} must name at least one value, got []"
    searched = [parameter.distribution for parameter in space.all_parameters() if parameter.key == key]
    if any(values_of(distribution) is None for distribution in searched):
        yield f"{key} must not depend on one value of an interval without steps, got {', '.join(allowed)}"
    elif searched:
        possible = {str(value) for distribution in searched for value in values_of(distribution) or ()}
        for value in allowed:
            if value not in possible:
                yield f"{key} must name values that are searched, {_described(searched)}, got {value}"


def _described(searched: Collection[BaseDistribution]) -> str:
    return " or ".join(
        f"one of {', '.join(map(str, distribution.choices))}"
        if isinstance(distribution, CategoricalDistribution)
        else f"from {distribution.low} to {distribution.high}"  # type: ignore[attr-defined]
        for distribution in searched
    )
