"""Turn the sampler's proposals into trials to train; refuse those that are over budget or cannot be built."""

from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

import optuna
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from mnist_compact.common.errors import ConfigError, OverBudgetError
from mnist_compact.config.error_messages import explain
from mnist_compact.config.schema import RunConfig
from mnist_compact.records.discovery import TRIALS
from mnist_compact.runs.trainer import check
from mnist_compact.search.builders import is_grid, sampler_of, space_of
from mnist_compact.search.counts import CONSTRAINTS, FIXED, is_discarded, is_refused, tally
from mnist_compact.search.leases import TrialLeases
from mnist_compact.search.objectives import OBJECTIVES
from mnist_compact.search.prior import prior_trials
from mnist_compact.search.rounding import comparable, is_same_point
from mnist_compact.search.snapshot import Composer, ConfigSnapshot
from mnist_compact.search.space import contains

# These samplers learn from complete trials only. TPE learns from pruned trials as well, which `best` and the pruners
# ignore. CMA-ES, random and quasi-random samplers do not learn from refusals.
LEARN_FROM_COMPLETE = (optuna.samplers.GPSampler, optuna.samplers.NSGAIISampler, optuna.samplers.NSGAIIISampler)


@dataclass(slots=True, frozen=True)
class TrialJob:
    """A trial to train; `folder` is relative to the study's folder."""

    number: int
    trial_id: int
    config: RunConfig
    overrides: list[str]
    folder: Path


class Proposer:
    """Asks the sampler for trials until one of them may be trained."""

    def __init__(self, leases: TrialLeases, snapshot: ConfigSnapshot) -> None:
        self.leases, self.snapshot = leases, snapshot
        self.space = space_of(snapshot)
        self.prior = prior_trials(snapshot, self.space)
        self.composer = Composer(snapshot, self.space.fixed)
        self.known = self.composer.known()
        self.in_order = is_grid(snapshot)

    def propose(self, n_trials: int, max_refusals: int) -> TrialJob | None:
        """Return the next trial to train, leased to this worker. The caller holds the lock `leases.claims`.

        Args:
            n_trials: The number of trials that the study needs.
            max_refusals: Give up after this number of refused proposals.

        Returns:
            None if the study needs no further trial, or after too many refusals.
        """
        study = self.leases.study
        for _ in range(max_refusals):
            if not self.leases.needs_another(n_trials):
                return None
            if self.in_order and not tally(self.leases.trials()).waiting:
                self._queue_untried()
            self.sampler = study.sampler = sampler_of(self.snapshot, self._seed_key(), self.prior)
            trial = study.ask()
            self.leases.lease(trial._trial_id)
            if not self.leases.private and self.leases.is_surplus(trial.number, n_trials):
                self.leases.discard(trial.number, "another machine has started the last trial")
                return None
            if self._refuse_if_outside(trial):
                continue
            overrides = self.space.suggest(trial, self.known.get)
            if self._repeats(trial):
                exhausted = not self._queue_untried()
                self.leases.note(trial._trial_id, used_up=exhausted)
                self.leases.discard(trial.number, "its point was tried before", enqueue_again=False)
                if exhausted:
                    return None
                continue
            job = self._check(trial, overrides)
            if job is not None:
                return job
        return None

    def _refuse_if_outside(self, trial: Trial) -> bool:
        """Refuse a trial that was enqueued, through Optuna's own API, with a point outside the space.

        Optuna would use each value without a check, and ignore values that are not searched.
        """
        known = {parameter.name: parameter.distribution for parameter in self.space.all_parameters()}
        point = self.leases.storage.get_trial(trial._trial_id).system_attrs.get(FIXED, {})
        faults = [f"{name} is not searched" for name in point if name not in known]
        faults += [
            f"{name} must lie in {known[name]}, got {value!r}"
            for name, value in point.items()
            if name in known and not contains(known[name], value)
        ]
        if faults:
            self.leases.note(trial._trial_id, refused="; ".join(f"enqueued point: {fault}" for fault in faults))
            self.leases.study.tell(trial, state=TrialState.FAIL)
        return bool(faults)

    def _repeats(self, trial: Trial) -> bool:
        """Return whether an earlier trial has the same point. Of two at once, the later one is discarded."""
        earlier = self.leases.trials()[: trial.number]
        point = comparable(trial.params)  # once, because Optuna copies the parameters at every access
        return any(is_same_point(other.params, point) and not is_discarded(other) for other in earlier)

    def _queue_untried(self) -> bool:
        """Enqueue an untried point of a finite space. False if the space is exhausted."""
        points = self.space.points(self.known.get)
        if points is None:
            return True
        tried = [comparable(trial.params) for trial in self.leases.trials() if not is_discarded(trial)]
        point = next((point for point in points if point not in tried), None)
        if point is not None:
            self.leases.study.enqueue_trial(point)
        return point is not None

    def _seed_key(self) -> str:
        """Return a key that no other proposal has.

        Waiting trials are not counted, because starting one adds no trial. Machines propose at the same time, so that
        their keys contain the worker's name. With prior trials the keys are others than those of the earlier study,
        whose random points would otherwise be proposed again.
        """
        started = str(sum(trial.state is not TrialState.WAITING for trial in self.leases.trials()))
        if self.prior:
            started += f" after {len(self.prior)} prior trials"
        return started if self.leases.private else f"{self.leases.worker}/{started}"

    def job_of(self, trial: FrozenTrial) -> TrialJob:
        """Return the job of a trial that another worker has started."""
        overrides = trial.user_attrs["overrides"]
        config = self.composer.run_config(overrides)
        return TrialJob(trial.number, trial._trial_id, config, overrides, trial_folder(trial.number))

    def _check(self, trial: Trial, overrides: list[str]) -> TrialJob | None:
        """Refuse a trial whose network is over budget or cannot be built; the sampler learns from its constraints."""
        parameters, unbuildable, reason = 0, 0, ""
        try:
            config = self.composer.run_config(overrides)
            below = config.budget.parameters_below
            count = check(config)
            parameters = 0 if below is None else count - below + 1
            self.leases.note(trial._trial_id, parameters=count)
        except OverBudgetError as error:
            parameters, reason = error.parameters - error.below + 1, str(error)
            self.leases.note(trial._trial_id, parameters=error.parameters)
        except (ConfigError, HydraException, OmegaConfBaseException) as error:
            unbuildable, reason = 1, explain(error) or str(error)
        for name, value in zip(CONSTRAINTS, (parameters, unbuildable), strict=True):
            trial.set_constraint(name, value)
        if reason:
            self._refuse(trial, reason)
            return None
        folder = trial_folder(trial.number)
        self.leases.note(trial._trial_id, attempts=1, folder=str(folder), overrides=overrides)
        return TrialJob(trial.number, trial._trial_id, config, overrides, folder)

    def _refuse(self, trial: Trial, reason: str) -> None:
        """Tell the study about a refused trial in a state from which the sampler learns."""
        self.leases.note(trial._trial_id, refused=reason)
        objectives = self.snapshot["settings"]["objectives"]
        if len(objectives) == 1 and not isinstance(self.sampler.base, LEARN_FROM_COMPLETE):
            self.leases.study.tell(trial, state=TrialState.PRUNED)
        else:
            self.leases.study.tell(trial, [OBJECTIVES[name].worst for name in objectives])


class TrainedTrials(Study):
    """The study for pruners: without refused trials, some of which are stored as complete."""

    def get_trials(self, deepcopy: bool = True, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        return [trial for trial in super().get_trials(deepcopy, states) if not is_refused(trial)]


def trial_folder(number: int) -> Path:
    return Path(TRIALS) / f"{number:04d}"
