"""Prior trials: trials of earlier studies, which the sampler of a new study reads as if they preceded its own.

They are stored in the study's config snapshot, and only the sampler receives them. They are therefore never counted,
ranked, displayed or used by a pruner as trials of the study, and an exported study contains them.
"""

from collections.abc import Container, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from mnist_compact.search.rounding import RoundingSampler
from mnist_compact.search.snapshot import PRIOR, ConfigSnapshot
from mnist_compact.search.space import SearchSpace

LEARNING = ("TPESampler", "GPSampler")  # the other samplers ignore trials that they have not proposed themselves


def prior_trials(snapshot: ConfigSnapshot, space: SearchSpace) -> list[FrozenTrial]:
    """Return the prior trials in the snapshot as complete trials of the space, oldest first."""
    distributions = {parameter.name: parameter.distribution for parameter in space.all_parameters()}
    trials = []
    for entry in snapshot.get(PRIOR, []):
        params = entry["params"]
        # Each has the number -1, so that it precedes all trials of the study: TPE gives the oldest the least weight.
        trial = create_trial(
            values=entry["values"], params=params, distributions={name: distributions[name] for name in params}
        )
        for name, value in entry["constraints"].items():
            trial.set_constraint(name, value)
        trials.append(trial)
    return trials


class InformedSampler(RoundingSampler):
    """Lets another sampler learn from prior trials as well, and rounds the floats that it proposes."""

    def __init__(self, base: BaseSampler, prior: Sequence[FrozenTrial]) -> None:
        super().__init__(base)
        self.prior = prior

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return super().infer_relative_search_space(StudyWithPrior(study, self.prior), trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return super().sample_relative(StudyWithPrior(study, self.prior), trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return super().sample_independent(StudyWithPrior(study, self.prior), trial, param_name, param_distribution)


class StudyWithPrior(Study):
    """A study for samplers, with the prior trials before its own."""

    def __init__(self, study: Study, prior: Sequence[FrozenTrial]) -> None:
        super().__init__(study.study_name, study._storage, study.sampler, study.pruner)
        self.own, self.prior = study, prior

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        """Return the trials; `Study.get_trials` calls this method as well."""
        prior = [trial for trial in self.prior if states is None or trial.state in states]
        return [*prior, *self.own._get_trials(deepcopy, states, use_cache)]
