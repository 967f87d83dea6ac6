"""The stopping criteria of a search."""

from collections.abc import Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from mnist_compact.common.wording import counted
from mnist_compact.search.counts import is_discarded, is_refused, tally


@dataclass(kw_only=True, slots=True, frozen=True)
class StoppingCriteria:
    """When a search stops. All of these may differ each time a study is continued.

    Attributes:
        n_trials: Stop after this number of trials has ended.
        target: Stop once `target_trials` complete trials are better than this score; None for no target.
        target_trials: The number of trials that must be better than the target.
        max_failures: Stop once more trials than this have failed.
        max_refusals: Stop after this number of refused proposals in a row.
        maximize: Whether a higher score is better.
    """

    n_trials: int
    target: float | None
    target_trials: int
    max_failures: int
    max_refusals: int
    maximize: bool


@dataclass(slots=True, frozen=True)
class StopReason:
    """Why no further trial is started; `failed` if the search could not do what it was configured for."""

    reason: str
    failed: bool = False


def stop_of(trials: Sequence[FrozenTrial], settings: StoppingCriteria) -> StopReason | None:
    """Return the reason to stop, or None to continue."""
    counts = tally(trials)
    if counts.ended >= settings.n_trials:
        return StopReason(
            "the only trial has ended" if settings.n_trials == 1 else f"all {settings.n_trials} trials have ended"
        )
    if counts.failed > settings.max_failures:
        limit = f"hydra.sweeper.max_failures = {settings.max_failures}"
        return StopReason(f"{counted(counts.failed, 'failed trial')}, more than {limit}", failed=True)
    if settings.target is not None:
        better = len(over(trials, settings.target, maximize=settings.maximize))
        if better >= settings.target_trials:
            return StopReason(f"{counted(better, 'trial')} better than the target of {settings.target:g}")
    if any(trial.user_attrs.get("used_up") for trial in trials) and not counts.waiting:
        return StopReason(f"the space is exhausted after {counted(counts.ended + counts.running, 'trial')}")
    refused = refused_in_a_row(trials)
    if refused >= settings.max_refusals:
        share = counts.refused / max(len(trials), 1)
        last = next(trial for trial in reversed(trials) if is_refused(trial) and not is_discarded(trial))
        return StopReason(
            f"{counted(refused, 'refused proposal')} in a row ({share:.0%} of all), the last because "
            f"{last.user_attrs['refused']}. To narrow the space, use a new study_name; "
            "to continue this study, increase hydra.sweeper.max_refusals",
            failed=True,
        )
    return None


def over(trials: Sequence[FrozenTrial], target: float, *, maximize: bool) -> list[FrozenTrial]:
    """Return the complete trials that are better than the target, best first; for a single objective."""
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE and not is_refused(trial)]
    sign = 1 if maximize else -1
    better = [trial for trial in complete if sign * trial.values[0] > sign * target]
    return sorted(better, key=lambda trial: -sign * trial.values[0])


def refused_in_a_row(trials: Sequence[FrozenTrial]) -> int:
    """Count the proposals that were refused since the last that was accepted."""
    checked = [trial for trial in trials if trial.state.is_finished() or "overrides" in trial.user_attrs]
    count = 0
    for trial in reversed(checked):
        if not is_refused(trial):
            break
        count += not is_discarded(trial)
    return count
