"""The status of a search, for its own display and for `study watch`."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from mnist_compact.search.counts import Tally, tally
from mnist_compact.search.stopping import StoppingCriteria, StopReason, stop_of
from mnist_compact.search.summary import ranked

CRITERIA = "asked"  # attribute of a study: the stopping criteria of the search that was started on it last
UNKNOWN = sys.maxsize  # `n_trials` of a study that has no such attribute
RECENT = 20  # number of trials from which the speed is estimated


@dataclass(slots=True, frozen=True)
class RunningTrial:
    """A worker and the trial that it trains; `epoch` and `score` are None during the first epoch."""

    worker: str  # host/index of the worker in its pool
    number: int
    epoch: int | None
    score: float | None
    overrides: list[str]


@dataclass(slots=True, frozen=True)
class SearchStatus:
    """The status of a search.

    Attributes:
        counted: The number of trials of each kind.
        total: `n_trials`; None if it is unknown.
        best: The complete trials, best first; empty if there are several objectives.
        running: The trials that have a worker.
        per_hour: Trials per hour; None before a trial has ended or while no worker is running.
        stop: Why no further trial is started; None if the search continues.
    """

    counted: Tally
    total: int | None
    best: list[FrozenTrial]
    running: list[RunningTrial]
    per_hour: float | None
    stop: StopReason | None

    @property
    def hours_left(self) -> float | None:
        if self.total is None or self.per_hour is None:
            return None
        return max(0, self.total - self.counted.ended) / self.per_hour


def search_status(trials: Sequence[FrozenTrial], settings: StoppingCriteria) -> SearchStatus:
    """Compute the status from all trials of a study, including refused ones."""
    order = ranked(trials, maximize=settings.maximize)
    running = [_running(trial) for trial in trials if trial.state is TrialState.RUNNING and _worker(trial)]
    return SearchStatus(
        counted=tally(trials),
        total=None if settings.n_trials == UNKNOWN else settings.n_trials,
        best=[trial for trial in order if len(trial.values) == 1],
        running=running,
        per_hour=_per_hour(trials, len(running)),
        stop=stop_of(trials, settings),
    )


def store_criteria(study: Study, settings: StoppingCriteria) -> None:
    """Store the stopping criteria in the study, for `study watch` and for a later continuation."""
    study.set_user_attr(CRITERIA, asdict(settings))


def stored_criteria(study: Study) -> StoppingCriteria:
    """Return the criteria that were stored last; criteria without limits for a study of an earlier version."""
    stored = study.user_attrs.get(CRITERIA)
    if stored is not None:
        return StoppingCriteria(**stored)
    return StoppingCriteria(
        n_trials=UNKNOWN,
        target=None,
        target_trials=1,
        max_failures=UNKNOWN,
        max_refusals=UNKNOWN,
        maximize=study.directions == [StudyDirection.MAXIMIZE],
    )


def _worker(trial: FrozenTrial) -> str | None:
    """Return the worker of a trial; None for a trial that was released or has not started."""
    lease = trial.user_attrs.get("lease", {})
    if "overrides" not in trial.user_attrs or not lease.get("worker"):
        return None
    return f"{lease['host']}/{lease['worker'].rpartition('-')[2]}"


def _running(trial: FrozenTrial) -> RunningTrial:
    epoch = max(trial.intermediate_values, default=None)
    score = None if epoch is None else trial.intermediate_values[epoch]
    return RunningTrial(_worker(trial) or "", trial.number, epoch, score, trial.user_attrs["overrides"])


def _per_hour(trials: Sequence[FrozenTrial], workers: int) -> float | None:
    """Estimate the speed from the durations of recent trials.

    Timestamps would not do: they come from the clocks of several machines, and the search may have been interrupted.
    """
    ended = [trial.user_attrs.get("seconds") for trial in trials if trial.state.is_finished()]
    seconds = [each for each in ended if each][-RECENT:]
    return workers * 3600 * len(seconds) / sum(seconds) if seconds and workers else None
