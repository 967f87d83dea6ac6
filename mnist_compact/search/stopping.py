"""When a search is over, and in what words."""

from collections.abc import Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from mnist_compact.search.counts import is_discarded, is_refused, tally


@dataclass(kw_only=True, slots=True, frozen=True)
class StoppingCriteria:
    """When a search ends: of what may differ each time a study is continued, and which way the objective points."""

    n_trials: int
    target: float | None
    target_trials: int
    max_failures: int
    max_refusals: int
    maximize: bool


@dataclass(slots=True, frozen=True)
class StopReason:
    """Why no further trial is begun; `failed` where that is not what was asked for."""

    reason: str
    failed: bool = False


def stop_of(trials: Sequence[FrozenTrial], settings: StoppingCriteria) -> StopReason | None:
    """What ends the search, or None."""
    counted = tally(trials)
    if counted.ended >= settings.n_trials:
        return StopReason(f"all {settings.n_trials} trials have ended")
    if counted.failed > settings.max_failures:
        limit = f"hydra.sweeper.max_failures = {settings.max_failures}"
        return StopReason(f"{counted.failed} trials have failed, more than {limit}", failed=True)
    if settings.target is not None:
        reached = len(over(trials, settings.target, maximize=settings.maximize))
        if reached >= settings.target_trials:
            return StopReason(f"{reached} trials are past the target of {settings.target:g}")
    if any(trial.user_attrs.get("used_up") for trial in trials) and not counted.waiting:
        return StopReason(f"every point of the space was tried: {counted.ended + counted.running} trials")
    refused = refused_in_a_row(trials)
    if refused >= settings.max_refusals:
        share = counted.refused / max(len(trials), 1)
        last = next(trial for trial in reversed(trials) if is_refused(trial) and not is_discarded(trial))
        return StopReason(
            f"{refused} proposals in a row were refused ({share:.0%} of all), the last since "
            f"{last.user_attrs['refused']}: a space with less of that needs a study_name of its own; "
            "with a larger hydra.sweeper.max_refusals this one goes on",
            failed=True,
        )
    return None


def over(trials: Sequence[FrozenTrial], target: float, *, maximize: bool) -> list[FrozenTrial]:
    """Complete trials past the target, best first; one objective."""
    done = [trial for trial in trials if trial.state is TrialState.COMPLETE and not is_refused(trial)]
    sign = 1 if maximize else -1
    passed = [trial for trial in done if sign * trial.values[0] > sign * target]
    return sorted(passed, key=lambda trial: -sign * trial.values[0])


def refused_in_a_row(trials: Sequence[FrozenTrial]) -> int:
    judged = [trial for trial in trials if trial.state.is_finished() or "overrides" in trial.user_attrs]
    count = 0
    for trial in reversed(judged):
        if not is_refused(trial):
            break
        count += not is_discarded(trial)
    return count
