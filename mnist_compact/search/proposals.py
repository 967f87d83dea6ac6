"""From the sampler's proposals to a run that may train: what is over budget or cannot be built is refused at once."""

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
from mnist_compact.search.counts import FIXED, is_discarded, is_refused, tally
from mnist_compact.search.leases import TrialLeases
from mnist_compact.search.objectives import OBJECTIVES
from mnist_compact.search.rounding import comparable
from mnist_compact.search.snapshot import Composer, ConfigSnapshot
from mnist_compact.search.space import contains

# They look at complete trials alone; TPE also at pruned ones, which no pruner and no "best" takes for results. CMA-ES,
# random and quasi-random ones learn nothing from a refusal.
LEARN_FROM_COMPLETE = (optuna.samplers.GPSampler, optuna.samplers.NSGAIISampler, optuna.samplers.NSGAIIISampler)


@dataclass(slots=True, frozen=True)
class TrialJob:
    """A trial to train: `folder` is relative to the study's."""

    number: int
    trial_id: int
    config: RunConfig
    overrides: list[str]
    folder: Path


class Proposer:
    """Asks the sampler until a proposal may train."""

    def __init__(self, leases: TrialLeases, snapshot: ConfigSnapshot) -> None:
        self.leases, self.snapshot = leases, snapshot
        self.space = space_of(snapshot)
        self.composer = Composer(snapshot, self.space.fixed)
        self.known = self.composer.known()
        self.in_order = is_grid(snapshot)

    def propose(self, n_trials: int, max_refusals: int) -> TrialJob | None:
        """The next job, leased to this worker; None once the study is full or too many were refused in a row.

        To be called under the leases's `claims`.
        """
        study = self.leases.study
        for _ in range(max_refusals):
            if not self.leases.has_room(n_trials):
                return None
            if self.in_order and not tally(self.leases.trials()).waiting:
                self._queue_untried()
            self.sampler = study.sampler = sampler_of(self.snapshot, self._occasion())
            trial = study.ask()
            self.leases.lease(trial._trial_id)
            if not self.leases.private and self.leases.is_surplus(trial.number, n_trials):
                self.leases.discard(trial.number, "another machine has begun the last trial")
                return None
            if self._is_outside(trial):
                continue
            overrides = self.space.suggest(trial, self.known.get)
            if self._repeats(trial):
                used_up = not self._queue_untried()
                self.leases.note(trial._trial_id, used_up=used_up)
                self.leases.discard(trial.number, "its point was tried before", again=False)
                if used_up:
                    return None
                continue
            job = self._judge(trial, overrides)
            if job is not None:
                return job
        return None

    def _is_outside(self, trial: Trial) -> bool:
        """Whether the trial had waited with a point outside the space, enqueued by Optuna's own API; it is refused.

        Optuna would take each value as it is, and pass over those that are not searched.
        """
        parameters = [*self.space.parameters, *(each for branch in self.space.branches for each in branch.parameters)]
        known = {parameter.name: parameter.distribution for parameter in parameters}
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
        """Whether an earlier proposal had the very point; of two that begin at once the later gives way."""
        earlier, point = (
            self.leases.trials()[: trial.number],
            comparable(trial.params),
        )  # Optuna copies params at every look
        return any(comparable(other.params) == point and not is_discarded(other) for other in earlier)

    def _queue_untried(self) -> bool:
        """In a space of so many points let one wait that no trial has had; False where there is none left."""
        points = self.space.points(self.known.get)
        if points is None:
            return True
        tried = [comparable(trial.params) for trial in self.leases.trials() if not is_discarded(trial)]
        point = next((point for point in points if point not in tried), None)
        if point is not None:
            self.leases.study.enqueue_trial(point)
        return point is not None

    def _occasion(self) -> str:
        """No two proposals have the same: one that waited adds no trial, and machines do not take turns."""
        begun = sum(trial.state is not TrialState.WAITING for trial in self.leases.trials())
        return str(begun) if self.leases.private else f"{self.leases.worker}/{begun}"

    def job(self, trial_id: int, number: int, overrides: list[str]) -> TrialJob:
        """A job begun before, by another worker."""
        config = self.composer.run_config(overrides)
        return TrialJob(number, trial_id, config, overrides, trial_folder(number))

    def _judge(self, trial: Trial, overrides: list[str]) -> TrialJob | None:
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
        trial.set_constraint("parameters", parameters)
        trial.set_constraint("unbuildable", unbuildable)
        if reason:
            self._refuse(trial, reason)
            return None
        folder = trial_folder(trial.number)
        self.leases.note(trial._trial_id, attempts=1, folder=str(folder), overrides=overrides)
        return TrialJob(trial.number, trial._trial_id, config, overrides, folder)

    def _refuse(self, trial: Trial, reason: str) -> None:
        """Told with its violated constraint as a trial that the sampler learns from."""
        self.leases.note(trial._trial_id, refused=reason)
        objectives = self.snapshot["settings"]["objectives"]
        if len(objectives) == 1 and not isinstance(self.sampler.base, LEARN_FROM_COMPLETE):
            self.leases.study.tell(trial, state=TrialState.PRUNED)
        else:
            self.leases.study.tell(trial, [OBJECTIVES[name].worst for name in objectives])


class Trained(Study):
    """A study as pruners are to see it: without what was refused, some of which is told as complete."""

    def get_trials(self, deepcopy: bool = True, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        return [trial for trial in super().get_trials(deepcopy, states) if not is_refused(trial)]


def trial_folder(number: int) -> Path:
    return Path(TRIALS) / f"{number:04d}"
