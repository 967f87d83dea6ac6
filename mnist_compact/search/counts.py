"""Plain facts about trials: which of them count, and how many there are of each kind."""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial, TrialState

FIXED = "fixed_params"  # Optuna's system attribute of a trial that waits, or waited, with its point


def quieten() -> None:
    """Optuna tells of every trial and of what is experimental; the search has its own view, and pins the version."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


@dataclass(slots=True, frozen=True)
class Tally:
    """How many trials there are of each kind."""

    complete: int
    pruned: int
    failed: int
    running: int
    refused: int
    waiting: int  # enqueued, not begun

    @property
    def ended(self) -> int:
        """What counts towards `n_trials`."""
        return self.complete + self.pruned + self.failed


def is_refused(trial: FrozenTrial) -> bool:
    """Whether it trained nothing and counts towards nothing, be it over budget, not to be built, or withdrawn."""
    return "refused" in trial.user_attrs


def is_discarded(trial: FrozenTrial) -> bool:
    return "withdrawn" in trial.user_attrs


def tally(trials: Iterable[FrozenTrial]) -> Tally:
    counts = dict.fromkeys(TrialState, 0)
    refused = 0
    for trial in trials:
        if not is_refused(trial):
            counts[trial.state] += 1
        elif not is_discarded(trial):
            refused += 1
    return Tally(
        counts[TrialState.COMPLETE],
        counts[TrialState.PRUNED],
        counts[TrialState.FAIL],
        counts[TrialState.RUNNING],
        refused,
        counts[TrialState.WAITING],
    )
