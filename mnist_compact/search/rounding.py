"""Round the numbers that a sampler proposes before they are stored and trained, so that they are readable."""

import math
from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

DIGITS = 4  # significant digits of a proposed number
STEPS = 100  # distinct values that rounding leaves at least in an interval, however narrow it is


class RoundingSampler(BaseSampler):
    """Rounds the floats that another sampler proposes, so that the study, the overrides and the record agree.

    Points that are enqueued do not pass through a sampler and stay as they are.
    """

    def __init__(self, base: BaseSampler) -> None:
        self.base = base

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self.base.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        proposed = self.base.sample_relative(study, trial, search_space)
        return {name: rounded(value, search_space[name]) for name, value in proposed.items()}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        value = self.base.sample_independent(study, trial, param_name, param_distribution)
        return rounded(value, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self.base.before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Any) -> None:
        self.base.after_trial(study, trial, state, values)


def rounded(value: Any, distribution: BaseDistribution) -> Any:
    """Round a proposed float to about four significant digits within its interval; other values are unchanged.

    >>> rounded(0.012345678901234567, FloatDistribution(0.01, 0.2, log=True))
    0.01235
    >>> rounded(0.99912345, FloatDistribution(0.999, 0.9999))  # an interval this narrow needs more digits
    0.999123
    """
    if not isinstance(distribution, FloatDistribution) or distribution.single():
        return value
    if distribution.step is not None:
        return without_noise(value)
    if value == 0:
        return value
    decimals = max(
        DIGITS - 1 - math.floor(math.log10(abs(value))),
        math.ceil(math.log10(STEPS / (distribution.high - distribution.low))),
    )
    return min(max(round(value, decimals), distribution.low), distribution.high)


def without_noise(value: float) -> float:
    """Remove the noise of binary arithmetic: 0.1 + 2 · 0.1 becomes 0.3."""
    return float(f"{value:.12g}")


def comparable(point: Mapping[str, Any]) -> dict[str, Any]:
    """Apply `without_noise` to a point's values; earlier versions stored the values of stepped ranges unrounded."""
    return {name: _comparable_value(value) for name, value in point.items()}


def is_same_point(params: Mapping[str, Any], point: Mapping[str, Any]) -> bool:
    """Return whether `comparable(params)` equals `point`. Most points differ in the first value that is compared."""
    return params.keys() == point.keys() and all(_comparable_value(params[name]) == point[name] for name in point)


def _comparable_value(value: Any) -> Any:
    return without_noise(value) if isinstance(value, float) else value
