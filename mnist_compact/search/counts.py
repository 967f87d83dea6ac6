"""Count the trials of a study by kind, and decide which of them count towards `n_trials`."""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial, TrialState

CONSTRAINTS = ("parameters", "unbuildable")  # of every proposal, for the sampler; satisfied at 0 and below
FIXED = "fixed_params"  # Optuna's system attribute: the point of a trial that is or was enqueued


def quieten() -> None:
    """Silence Optuna's log of every trial and its warnings about experimental features.

    The search has its own display, and the project pins Optuna's version.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


@dataclass(slots=True, frozen=True)
class Tally:
    """The number of trials of each kind."""

    complete: int
    pruned: int
    failed: int
    running: int
    refused: int
    waiting: int  # enqueued, not started

    @property
    def ended(self) -> int:
        """The number of trials that count towards `n_trials`."""
        return self.complete + self.pruned + self.failed


def is_refused(trial: FrozenTrial) -> bool:
    """Return whether the trial was never trained and does not count: over budget, impossible to build, or discarded."""
    return "refused" in trial.user_attrs


def is_discarded(trial: FrozenTrial) -> bool:
    """Return whether the trial was refused for a reason that has nothing to do with its network."""
    return "withdrawn" in trial.user_attrs


def tally(trials: Iterable[FrozenTrial]) -> Tally:
    """Count the trials of each kind."""
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
