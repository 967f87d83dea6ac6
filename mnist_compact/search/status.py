"""How a search stands: the facts that its own view, and whoever watches from elsewhere, put into words."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from mnist_compact.search.counts import Tally, tally
from mnist_compact.search.stopping import StoppingCriteria, StopReason, stop_of
from mnist_compact.search.summary import ranked

ASKED = "asked"  # attribute of a study: the settings of the search that was begun or joined last
UNKNOWN = sys.maxsize  # trials in all, of a study that has no such attribute
RECENT = 20  # trials that tell how long one takes


@dataclass(slots=True, frozen=True)
class AtWork:
    """A worker and the trial that it trains; `epoch` and `score` are None before the first is done."""

    worker: str  # host/which of its search's
    number: int
    epoch: int | None
    score: float | None
    overrides: list[str]


@dataclass(slots=True, frozen=True)
class SearchStatus:
    counted: Tally
    total: int | None  # None where it is not known
    best: list[FrozenTrial]  # of one objective, the best first
    at_work: list[AtWork]
    per_hour: float | None  # trials; None before one has ended, or while nobody is at work
    stop: StopReason | None  # why no further trial is begun

    @property
    def hours_left(self) -> float | None:
        if self.total is None or self.per_hour is None:
            return None
        return max(0, self.total - self.counted.ended) / self.per_hour


def search_status(trials: Sequence[FrozenTrial], settings: StoppingCriteria) -> SearchStatus:
    """Of all trials of a study, refused ones among them."""
    order = ranked(trials, maximize=settings.maximize)
    at_work = [_at_work(trial) for trial in trials if trial.state is TrialState.RUNNING and _worker(trial)]
    return SearchStatus(
        counted=tally(trials),
        total=None if settings.n_trials == UNKNOWN else settings.n_trials,
        best=[trial for trial in order if len(trial.values) == 1],
        at_work=at_work,
        per_hour=_per_hour(trials, len(at_work)),
        stop=stop_of(trials, settings),
    )


def ask(study: Study, settings: StoppingCriteria) -> None:
    """Say in the study what it is asked for, to whoever watches."""
    study.set_user_attr(ASKED, asdict(settings))


def asked(study: Study) -> StoppingCriteria:
    """What was said last; without limits where nothing was, as by earlier versions."""
    told = study.user_attrs.get(ASKED)
    if told is not None:
        return StoppingCriteria(**told)
    return StoppingCriteria(
        n_trials=UNKNOWN,
        target=None,
        target_trials=1,
        max_failures=UNKNOWN,
        max_refusals=UNKNOWN,
        maximize=study.directions == [StudyDirection.MAXIMIZE],
    )


def _worker(trial: FrozenTrial) -> str | None:
    """None for a trial that was handed back, or has not begun."""
    lease = trial.user_attrs.get("lease", {})
    if "overrides" not in trial.user_attrs or not lease.get("worker"):
        return None
    return f"{lease['host']}/{lease['worker'].rpartition('-')[2]}"


def _at_work(trial: FrozenTrial) -> AtWork:
    epoch = max(trial.intermediate_values, default=None)
    score = None if epoch is None else trial.intermediate_values[epoch]
    return AtWork(_worker(trial) or "", trial.number, epoch, score, trial.user_attrs["overrides"])


def _per_hour(trials: Sequence[FrozenTrial], workers: int) -> float | None:
    """By what recent trials took: clocks may be of several machines, and the search may have rested."""
    took = [trial.user_attrs["seconds"] for trial in trials if trial.state.is_finished() and _took(trial)][-RECENT:]
    return workers * 3600 * len(took) / sum(took) if took and workers else None


def _took(trial: FrozenTrial) -> bool:
    return bool(trial.user_attrs.get("seconds"))
