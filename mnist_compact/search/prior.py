"""Prior trials: trials of earlier studies, which the sampler of a new study reads as if they preceded its own.

They are stored in the study's config snapshot, and only the sampler receives them. They are therefore never counted,
ranked, displayed or used by a pruner as trials of the study, and an exported study contains them.
"""

import copy
import heapq
from collections.abc import Container, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from mnist_compact.search.counts import is_refused
from mnist_compact.search.rounding import RoundingSampler
from mnist_compact.search.snapshot import PRIOR, ConfigSnapshot
from mnist_compact.search.space import SearchSpace

BEST, LATEST = 100, 1900  # trials of a larger study from which samplers learn
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
    """Lets another sampler learn from prior trials and from a study of any size, and rounds the floats it proposes."""

    def __init__(self, base: BaseSampler, prior: Sequence[FrozenTrial]) -> None:
        super().__init__(base)
        self.prior = prior
        self._seen: tuple[int, StudyForSampler] | None = None  # trial id, and what the sampler learns from for it

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return super().infer_relative_search_space(self._seen_by(study, trial), trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return super().sample_relative(self._seen_by(study, trial), trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return super().sample_independent(self._seen_by(study, trial), trial, param_name, param_distribution)

    def _seen_by(self, study: Study, trial: FrozenTrial) -> "StudyForSampler":
        """Return the same trials for the whole of a proposal: Optuna would read them for each group of parameters."""
        if self._seen is None or self._seen[0] != trial._trial_id:
            self._seen = trial._trial_id, self._view(study)
        return self._seen[1]

    def _view(self, study: Study) -> "StudyForSampler":
        """Return what the sampler learns from."""
        return StudyForSampler(study, self.prior)


class StudyForSampler(Study):
    """What a sampler learns from: the prior trials, and after them those of the study, read once."""

    def __init__(self, study: Study, prior: Sequence[FrozenTrial]) -> None:
        super().__init__(study.study_name, study._storage, study.sampler, study.pruner)
        own = study._get_trials(deepcopy=False)
        self.seen = [*prior, *(own if self._is_multi_objective() else representative(own, self.direction))]

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        """Return the trials; `Study.get_trials` calls this method as well."""
        trials = [trial for trial in self.seen if states is None or trial.state in states]
        return copy.deepcopy(trials) if deepcopy else trials


def representative(trials: list[FrozenTrial], direction: StudyDirection) -> list[FrozenTrial]:
    """Return the trials that a sampler sees: all, but of many that have ended only the best and the latest, in order.

    The time of a proposal grows with the number of these trials. TPE takes its promising points from the best 25 trials
    of a study, and gives older trials the less weight the more there are.

    Args:
        trials: The trials of a study with one objective.
        direction: Whether a higher value is better.
    """
    ended = [trial for trial in trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    if len(ended) <= BEST + LATEST:
        return trials
    complete = [trial for trial in ended if trial.state is TrialState.COMPLETE and not is_refused(trial)]
    choose = heapq.nlargest if direction is StudyDirection.MAXIMIZE else heapq.nsmallest
    best = choose(BEST, complete, key=lambda trial: trial.values[0])
    kept = {trial.number for trial in (*best, *ended[-LATEST:])}
    return [trial for trial in trials if trial.number in kept or not trial.state.is_finished()]
