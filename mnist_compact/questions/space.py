"""The search space: Hydra's override grammar, and branches of parameters that exist under a condition only."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from hydra_plugins.hydra_optuna_sweeper._impl import create_params_from_overrides
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import Trial

from mnist_compact.faults import ConfigError


@dataclass(slots=True, frozen=True)
class Parameter:
    """One dimension. Its name in the study is its key or, in a branch, branch:key, so that branches stay apart."""

    name: str
    key: str
    distribution: BaseDistribution


@dataclass(slots=True, frozen=True)
class Branch:
    """Parameters of the points at which every key in `when` has one of its values."""

    name: str
    when: Mapping[str, Sequence[str]]
    parameters: tuple[Parameter, ...]


@dataclass(slots=True, frozen=True)
class SearchSpace:
    parameters: tuple[Parameter, ...]
    branches: tuple[Branch, ...]
    fixed: tuple[str, ...]  # overrides that all points share

    @classmethod
    def parse(cls, params: Mapping[str, Any], branches: Mapping[str, Any], arguments: Sequence[str]) -> "SearchSpace":
        """From `hydra.sweeper.params` and `.branches`, and the command line, which has the last word on a key.

        Raises ConfigError for a space without a dimension.
        """
        written = [f"{key}={value}" for key, value in params.items()]
        searched, fixed_values, fixed = create_params_from_overrides([*written, *arguments])
        said = set(create_params_from_overrides(list(arguments))[0]) | set(fixed_values)
        parameters = tuple(Parameter(key, key, found) for key, found in searched.items() if key not in fixed_values)
        parsed = tuple(_branch(name, branch, said) for name, branch in branches.items())
        if not parameters and not any(branch.parameters for branch in parsed):
            raise ConfigError(
                ["a search needs at least one key with interval(…), range(…) or choice(…), got none; see sweeps/"]
            )
        overrides = (*(f"{key}={value}" for key, value in fixed_values.items()), *fixed)
        return cls(parameters, parsed, overrides)

    def suggest(self, trial: Trial, known: Callable[[str], Any]) -> list[str]:
        """Let the trial choose a point; its overrides. `known` says what a key is where the space does not."""
        values: dict[str, Any] = {}

        def choose(parameters: tuple[Parameter, ...]) -> None:
            for parameter in parameters:
                values[parameter.key] = trial._suggest(parameter.name, parameter.distribution)

        choose(self.parameters)
        for branch in self._taken(lambda key: values[key] if key in values else known(key)):
            choose(branch.parameters)
        return [f"{key}={value}" for key, value in values.items()]

    def points(self, known: Callable[[str], Any]) -> Iterator[dict[str, Any]] | None:
        """Every point by names, in order; None for a space with a range that has no steps."""
        branched = [parameter for branch in self.branches for parameter in branch.parameters]
        if any(_values(parameter.distribution) is None for parameter in [*self.parameters, *branched]):
            return None
        return self._points(known)

    def _points(self, known: Callable[[str], Any]) -> Iterator[dict[str, Any]]:
        for chosen in _products(self.parameters):
            branches = self._taken(lambda key, chosen=chosen: chosen[key] if key in chosen else known(key))  # type: ignore[misc]
            within = tuple(parameter for branch in branches for parameter in branch.parameters)
            for inner in _products(within):
                yield {**chosen, **inner}

    def named(self, point: Mapping[str, Any], known: Callable[[str], Any]) -> dict[str, Any] | None:
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

    def within(self, point: Mapping[str, Any], known: Callable[[str], Any]) -> dict[str, Any]:
        """What is searched at a point that says more: a run has its momentum, whether or not its branch asks for it."""
        searched = {parameter.key for parameter in self._searched_at(point, known)}
        return {key: value for key, value in point.items() if key in searched}

    def keys(self) -> set[str]:
        branched = (parameter.key for branch in self.branches for parameter in branch.parameters)
        return {parameter.key for parameter in self.parameters} | set(branched)

    def _searched_at(self, point: Mapping[str, Any], known: Callable[[str], Any]) -> list[Parameter]:
        """What a point can have values for; a branch only where the point, or what all share, says that it is taken."""
        drawn = {parameter.key for parameter in self.parameters}
        branches = self._taken(lambda key: point.get(key) if key in drawn else known(key))
        return [*self.parameters, *(parameter for branch in branches for parameter in branch.parameters)]

    def _where(self, key: str) -> str:
        conditions = [
            " ".join(f"{condition}={' or '.join(values)}" for condition, values in branch.when.items())
            for branch in self.branches
            if any(parameter.key == key for parameter in branch.parameters)
        ]
        return f"but with {', or with '.join(conditions)}, which the point must say" if conditions else "here"

    def _taken(self, value_of: Callable[[str], Any]) -> Iterator[Branch]:
        for branch in self.branches:
            if all(str(value_of(key)) in allowed for key, allowed in branch.when.items()):
                yield branch


def _branch(name: str, branch: Mapping[str, Any], said: set[str]) -> Branch:
    overrides = [f"{key}={value}" for key, value in branch["params"].items() if key not in said]
    searched, fixed, _ = create_params_from_overrides(overrides)
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


def _products(parameters: Sequence[Parameter]) -> Iterator[dict[str, Any]]:
    values = [_values(parameter.distribution) or () for parameter in parameters]
    for chosen in product(*values):
        yield {parameter.name: value for parameter, value in zip(parameters, chosen, strict=True)}


def _values(distribution: BaseDistribution) -> Sequence[Any] | None:
    """All of them, in order; None where there is no end of them."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    if isinstance(distribution, IntDistribution):
        return range(distribution.low, distribution.high + 1, distribution.step)
    assert isinstance(distribution, FloatDistribution)
    if distribution.step is None:
        return [distribution.low] if distribution.single() else None
    count = round((distribution.high - distribution.low) / distribution.step) + 1
    return [distribution.low + i * distribution.step for i in range(count)]


def contains(distribution: BaseDistribution, value: Any) -> bool:
    try:
        return bool(distribution._contains(distribution.to_internal_repr(value)))
    except (ValueError, TypeError):
        return False
