"""Optuna's Gaussian process for the spaces and scores of this package.

Optuna's sampler models only the parameters that all trials have, so that it would draw the parameters of branches at
random. It models the values as they are, so that a few diverged trials would hide the differences between good ones.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from mnist_compact.common.statistics import normal_scores
from mnist_compact.search.branches import Parameter
from mnist_compact.search.counts import is_refused
from mnist_compact.search.prior import InformedSampler, StudyForSampler


class GaussianProcessSampler(InformedSampler):
    """Lets Optuna's Gaussian process learn from normal scores of all trials, over all parameters of the space.

    Args:
        base: Optuna's `GPSampler`.
        prior: The prior trials.
        parameters: The unconditional parameters of the space and those of all branches.
    """

    def __init__(self, base: BaseSampler, prior: Sequence[FrozenTrial], parameters: Sequence[Parameter]) -> None:
        super().__init__(base, prior)
        self.distributions = {parameter.name: parameter.distribution for parameter in parameters}

    def _view(self, study: Study) -> StudyForSampler:
        view = super()._view(study)
        view.seen = [completed(trial, self.distributions) for trial in view.seen]
        set_normal_scores(view.seen)
        return view


def completed(trial: FrozenTrial, distributions: Mapping[str, BaseDistribution]) -> FrozenTrial:
    """Return a copy of a trial in which the parameters of inactive branches have the centre of their range.

    A trial without parameters, which another machine is about to choose, stays as it is.
    """
    filled = copy.copy(trial)
    if trial.params:
        filled.distributions = dict(distributions)
        filled.params = {**{name: centre(found) for name, found in distributions.items()}, **trial.params}
    return filled


def centre(distribution: BaseDistribution) -> Any:
    """Return the value in the middle of a range, on the scale of the search; of choices the first.

    >>> centre(FloatDistribution(0.001, 0.1, log=True))
    0.01
    """
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[0]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high = distribution.low, distribution.high
    middle = math.sqrt(low * high) if distribution.log else (low + high) / 2
    return round(middle) if isinstance(distribution, IntDistribution) else middle


def set_normal_scores(trials: Sequence[FrozenTrial]) -> None:
    """Replace the values of complete trials by the normal quantiles of their ranks, for each objective.

    A refused trial was never trained. It gets 0, the mean, because the sampler learns from its constraints.
    """
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    trained = [trial for trial in complete if not is_refused(trial)]
    scores = zip(*map(normal_scores, zip(*(trial.values for trial in trained), strict=True)), strict=True)
    for trial, values in zip(trained, list(scores), strict=True):
        trial.values = list(values)
    for trial in complete:
        if is_refused(trial):
            trial.values = [0.0] * len(trial.values)
