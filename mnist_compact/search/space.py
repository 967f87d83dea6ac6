"""The search space: Hydra's override grammar, and branches of parameters that exist under a condition only."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import Trial

from mnist_compact.common.errors import ConfigError
from mnist_compact.search.branches import Branch, Parameter, Way, in_common, in_order, parse_branch
from mnist_compact.search.grammar import read
from mnist_compact.search.rounding import without_noise

Known = Callable[[str], Any]  # the value that a key has wherever the space does not search it


@dataclass(slots=True, frozen=True)
class SearchSpace:
    parameters: tuple[Parameter, ...]
    branches: tuple[Branch, ...]  # each after those that search the keys of its conditions
    fixed: tuple[str, ...]  # overrides that all points share

    @classmethod
    def parse(cls, params: Mapping[str, Any], branches: Mapping[str, Any], arguments: Sequence[str]) -> "SearchSpace":
        """From `hydra.sweeper.params` and `.branches`, and the command line, which has the last word on a key.

        Raises ConfigError for a space without a dimension, for a sweep that holds no value, and for branches that
        depend on each other in a circle.
        """
        written = [f"{key}={value}" for key, value in params.items()]
        searched, fixed_values, fixed = read([*written, *arguments])
        said = set(read(arguments)[0]) | set(fixed_values)
        parameters = tuple(Parameter(key, key, found) for key, found in searched.items() if key not in fixed_values)
        parsed = tuple(parse_branch(name, branch, said) for name, branch in branches.items())
        if not parameters and not any(branch.parameters for branch in parsed):
            raise ConfigError(
                ["a search needs at least one key with interval(…), range(…) or choice(…), got none; see sweeps/"]
            )
        overrides = (*(f"{key}={value}" for key, value in fixed_values.items()), *fixed)
        return cls(parameters, in_order(parsed), overrides)

    def suggest(self, trial: Trial, known: Known) -> list[str]:
        """Let the trial choose a point; its overrides."""
        values: dict[str, Any] = {}

        def choose(parameters: tuple[Parameter, ...]) -> None:
            for parameter in parameters:
                values[parameter.key] = trial._suggest(parameter.name, parameter.distribution)

        choose(self.parameters)
        for branch in self.taken(values, known):
            choose(branch.parameters)
        return [f"{key}={value}" for key, value in values.items()]

    def points(self, known: Known) -> Iterator[dict[str, Any]] | None:
        """Every point by names, in order; None for a space with a range that has no steps."""
        branched = [parameter for branch in self.branches for parameter in branch.parameters]
        if any(values_of(parameter.distribution) is None for parameter in [*self.parameters, *branched]):
            return None
        return (
            point
            for chosen in _products(self.parameters)
            for point in self._completed(_by_name(chosen), _by_key(chosen), self.branches, known)
        )

    def _completed(
        self, point: dict[str, Any], values: dict[str, Any], branches: Sequence[Branch], known: Known
    ) -> Iterator[dict[str, Any]]:
        """The point with every combination of what the remaining branches search there."""
        if not branches:
            yield point
            return
        branch, *rest = branches
        for chosen in _products(branch.parameters if self._is_taken(branch, values, known) else ()):
            yield from self._completed({**point, **_by_name(chosen)}, {**values, **_by_key(chosen)}, rest, known)

    def named(self, point: Mapping[str, Any], known: Known) -> dict[str, Any] | None:
        """A point given by keys, as Optuna wants it: by names. Raises ConfigError for what is not in the space.

        Left out is what all points share, for the command line has the last word, and what is null, such as a value
        that a point takes over from another and has no use for; None for a point on a branch that is thereby closed.
        """
        shared = {override.partition("=")[0].lstrip("+") for override in self.fixed}
        conditions = {key for branch in self.branches for key in branch.when}
        if any(key in conditions and str(point[key]) != str(known(key)) for key in shared & set(point)):
            return None
        point = {key: value for key, value in point.items() if key not in shared and value is not None}
        by_key = {parameter.key: parameter for parameter in self._searched_at(point, known)}
        faults = [f"enqueue: {key} is not searched {self._where(key)}" for key in point if key not in by_key]
        named = {}
        for key, value in point.items():
            if key in by_key:
                parameter = by_key[key]
                if not contains(parameter.distribution, value):
                    faults.append(f"enqueue: {key} must lie in {parameter.distribution}, got {value!r}")
                named[parameter.name] = value
        if faults:
            raise ConfigError(faults)
        return named

    def within(self, point: Mapping[str, Any], known: Known) -> dict[str, Any]:
        """What is searched at a point that says more: a run has its momentum, whether or not its branch asks for it."""
        searched = {parameter.key for parameter in self._searched_at(point, known)}
        return {key: value for key, value in point.items() if key in searched}

    def keys(self) -> set[str]:
        branched = (parameter.key for branch in self.branches for parameter in branch.parameters)
        return {parameter.key for parameter in self.parameters} | set(branched)

    def ways(self, branch: Branch) -> list[Way]:
        """The sets of conditions under which a branch is taken; none for a branch that no point is on.

        To its own conditions come those of the branches that search the keys of its conditions: several sets where
        several branches search such a key.
        """
        found: list[Way] = [dict(branch.when)] if all(branch.when.values()) else []
        for key in branch.when:
            sources = [other for other in self.branches if key in other.searched()]
            if sources and not any(parameter.key == key for parameter in self.parameters):
                inherited = [way for other in sources for way in self.ways(other)]
                found = [both for way in found for other in inherited if (both := in_common(way, other)) is not None]
        return found

    def _searched_at(self, point: Mapping[str, Any], known: Known) -> list[Parameter]:
        """What a point can have values for; a branch only where the point, or what all share, says that it is taken."""
        searched, values = list[Parameter](), dict[str, Any]()

        def search(parameters: tuple[Parameter, ...]) -> None:
            searched.extend(parameters)
            values.update({parameter.key: point[parameter.key] for parameter in parameters if parameter.key in point})

        search(self.parameters)
        for branch in self.taken(values, known):
            search(branch.parameters)
        return searched

    def _where(self, key: str) -> str:
        conditions = [
            " ".join(f"{condition}={' or '.join(values)}" for condition, values in branch.when.items())
            for branch in self.branches
            if any(parameter.key == key for parameter in branch.parameters)
        ]
        return f"but with {', or with '.join(conditions)}, which the point must say" if conditions else "here"

    def taken(self, values: Mapping[str, Any], known: Known) -> Iterator[Branch]:
        """The branches of a point; before the next one is asked for, `values` gets what this one searches."""
        return (branch for branch in self.branches if self._is_taken(branch, values, known))

    def _is_taken(self, branch: Branch, values: Mapping[str, Any], known: Known) -> bool:
        searched = self.keys()
        return all(
            (key in values or key not in searched) and str(values[key] if key in searched else known(key)) in allowed
            for key, allowed in branch.when.items()
        )


def _products(parameters: Sequence[Parameter]) -> Iterator[list[tuple[Parameter, Any]]]:
    values = [values_of(parameter.distribution) or () for parameter in parameters]
    return (list(zip(parameters, chosen, strict=True)) for chosen in product(*values))


def _by_name(chosen: Sequence[tuple[Parameter, Any]]) -> dict[str, Any]:
    return {parameter.name: value for parameter, value in chosen}


def _by_key(chosen: Sequence[tuple[Parameter, Any]]) -> dict[str, Any]:
    return {parameter.key: value for parameter, value in chosen}


def values_of(distribution: BaseDistribution) -> Sequence[Any] | None:
    """All of them, in order; None where there is no end of them."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    if isinstance(distribution, IntDistribution):
        return range(distribution.low, distribution.high + 1, distribution.step)
    assert isinstance(distribution, FloatDistribution)
    if distribution.step is None:
        return [distribution.low] if distribution.single() else None
    count = round((distribution.high - distribution.low) / distribution.step) + 1
    return [without_noise(distribution.low + i * distribution.step) for i in range(count)]


def contains(distribution: BaseDistribution, value: Any) -> bool:
    try:
        return bool(distribution._contains(distribution.to_internal_repr(value)))
    except (ValueError, TypeError):
        return False
