"""The search space: parameters in Hydra's override grammar, and branches of conditional parameters."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import Trial

from mnist_compact.common.errors import ConfigError
from mnist_compact.search.branches import Branch, Conditions, Parameter, both_conditions, in_order, parse_branch
from mnist_compact.search.grammar import read
from mnist_compact.search.rounding import without_noise

Known = Callable[[str], Any]  # returns the value of a key that the space does not search


@dataclass(slots=True, frozen=True)
class SearchSpace:
    """The parameters of a search.

    Attributes:
        parameters: The unconditional parameters.
        branches: The conditional parameters; each branch follows those that search the keys of its conditions.
        fixed: The overrides that all points share.
    """

    parameters: tuple[Parameter, ...]
    branches: tuple[Branch, ...]
    fixed: tuple[str, ...]

    @classmethod
    def parse(cls, params: Mapping[str, Any], branches: Mapping[str, Any], arguments: Sequence[str]) -> "SearchSpace":
        """Parse `hydra.sweeper.params` and `.branches`; an override on the command line replaces a key of theirs.

        Raises:
            ConfigError: The space has no dimension, a sweep has no value, or branches depend on each other in a circle.
        """
        written = [f"{key}={value}" for key, value in params.items()]
        searched, fixed_values, fixed = read([*written, *arguments])
        on_command_line = set(read(arguments)[0]) | set(fixed_values)
        parameters = tuple(Parameter(key, key, found) for key, found in searched.items() if key not in fixed_values)
        parsed = tuple(parse_branch(name, branch, on_command_line) for name, branch in branches.items())
        if not parameters and not any(branch.parameters for branch in parsed):
            raise ConfigError(
                ["a search needs at least one key with interval(…), range(…) or choice(…), got none; see sweeps/"]
            )
        overrides = (*(f"{key}={value}" for key, value in fixed_values.items()), *fixed)
        return cls(parameters, in_order(parsed), overrides)

    def suggest(self, trial: Trial, known: Known) -> list[str]:
        """Let the trial's sampler choose a point, and return it as overrides."""
        values: dict[str, Any] = {}

        def choose(parameters: tuple[Parameter, ...]) -> None:
            for parameter in parameters:
                values[parameter.key] = trial._suggest(parameter.name, parameter.distribution)

        choose(self.parameters)
        for branch in self.active_branches(values, known):
            choose(branch.parameters)
        return [f"{key}={value}" for key, value in values.items()]

    def points(self, known: Known) -> Iterator[dict[str, Any]] | None:
        """Iterate over all points in order, as parameter name → value; None if the space is infinite."""
        if any(values_of(parameter.distribution) is None for parameter in self.all_parameters()):
            return None
        return (
            point
            for chosen in _products(self.parameters)
            for point in self._completed(_by_name(chosen), _by_key(chosen), self.branches, known)
        )

    def _completed(
        self, point: dict[str, Any], values: dict[str, Any], branches: Sequence[Branch], known: Known
    ) -> Iterator[dict[str, Any]]:
        """Combine the point with all values of the remaining branches that are active there."""
        if not branches:
            yield point
            return
        branch, *rest = branches
        for chosen in _products(branch.parameters if self._is_active(branch, values, known) else ()):
            yield from self._completed({**point, **_by_name(chosen)}, {**values, **_by_key(chosen)}, rest, known)

    def named(self, point: Mapping[str, Any], known: Known) -> dict[str, Any] | None:
        """Convert a point given by keys to Optuna's parameter names.

        Keys that the command line fixes are left out, and so are values of null, with which a point removes a value
        that it inherits from another.

        Returns:
            Parameter name → value; None if the command line excludes the point's branch.

        Raises:
            ConfigError: The point is not in the space.
        """
        shared = {override.partition("=")[0].lstrip("+") for override in self.fixed}
        conditions = {key for branch in self.branches for key in branch.when}
        if any(key in conditions and str(point[key]) != str(known(key)) for key in shared & set(point)):
            return None
        point = {key: value for key, value in point.items() if key not in shared and value is not None}
        by_key = {parameter.key: parameter for parameter in self.searched_at(point, known)}
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
        """Keep only the keys that are searched at this point; a run's configuration has values for others as well."""
        searched = {parameter.key for parameter in self.searched_at(point, known)}
        return {key: value for key, value in point.items() if key in searched}

    def all_parameters(self) -> list[Parameter]:
        """Return the unconditional parameters and those of all branches."""
        return [*self.parameters, *(parameter for branch in self.branches for parameter in branch.parameters)]

    def keys(self) -> set[str]:
        """Return all searched keys."""
        return {parameter.key for parameter in self.all_parameters()}

    def condition_sets(self, branch: Branch) -> list[Conditions]:
        """Return the sets of conditions under which a branch is active; empty if it never is.

        The branch's own conditions are combined with those of the branches that search their keys. There are several
        sets if several branches search such a key.
        """
        found: list[Conditions] = [dict(branch.when)] if all(branch.when.values()) else []
        for key in branch.when:
            sources = [other for other in self.branches if key in other.searched()]
            if sources and not any(parameter.key == key for parameter in self.parameters):
                inherited_conditions = [conditions for other in sources for conditions in self.condition_sets(other)]
                found = [
                    both
                    for conditions in found
                    for other in inherited_conditions
                    if (both := both_conditions(conditions, other)) is not None
                ]
        return found

    def searched_at(self, point: Mapping[str, Any], known: Known) -> list[Parameter]:
        """Return the parameters that a point can have values for: unconditional ones and those of active branches."""
        searched, values = list[Parameter](), dict[str, Any]()

        def search(parameters: tuple[Parameter, ...]) -> None:
            searched.extend(parameters)
            values.update({parameter.key: point[parameter.key] for parameter in parameters if parameter.key in point})

        search(self.parameters)
        for branch in self.active_branches(values, known):
            search(branch.parameters)
        return searched

    def _where(self, key: str) -> str:
        conditions = [
            " ".join(f"{condition}={' or '.join(values)}" for condition, values in branch.when.items())
            for branch in self.branches
            if any(parameter.key == key for parameter in branch.parameters)
        ]
        return f"except with {', or with '.join(conditions)}, which the point must set" if conditions else "here"

    def active_branches(self, values: Mapping[str, Any], known: Known) -> Iterator[Branch]:
        """Yield the active branches of a point.

        The caller adds the values of each branch to `values` before it takes the next one.
        """
        return (branch for branch in self.branches if self._is_active(branch, values, known))

    def _is_active(self, branch: Branch, values: Mapping[str, Any], known: Known) -> bool:
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
    """Return all values of a distribution in order; None if there are infinitely many."""
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
    """Return whether a value, of any type, belongs to a distribution."""
    try:
        return bool(distribution._contains(distribution.to_internal_repr(value)))
    except (ValueError, TypeError):
        return False
