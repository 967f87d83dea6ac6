"""Summarise what a study searched and found, as plain rows and lines from which the commands build tables."""

import json
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from mnist_compact.common.nested import flat
from mnist_compact.common.wording import counted
from mnist_compact.search.counts import is_refused, tally
from mnist_compact.search.snapshot import PRIOR
from mnist_compact.search.stopping import over


def settings(study: Study) -> list[str]:
    """Return the study's settings as lines `key: value`, without unset keys; empty for a study of another program."""
    snapshot = study.user_attrs.get("frozen", {})
    given = dict(snapshot.get("settings", {}))
    if given.get("enqueue"):
        given["enqueue"] = counted(len(given["enqueue"]), "point")  # each is also listed as a trial
    if prior := prior_counts(study):
        given[PRIOR] = ", ".join(f"{counted(count, 'trial')} of {name}" for name, count in prior.items())
    lines = [f"{key}: {json.dumps(value)}" for key, value in flat(given).items() if _is_set(value)]
    return [*lines, f"command line: {json.dumps(snapshot['arguments'])}"] if snapshot.get("arguments") else lines


def prior_counts(study: Study) -> dict[str, int]:
    """Return the number of prior trials by earlier study. They are no trials of the study."""
    return dict(Counter(entry["study"] for entry in study.user_attrs.get("frozen", {}).get(PRIOR, [])))


def counts(study: Study) -> dict[str, int]:
    """Return the number of trials of each kind."""
    trials = study.get_trials(deepcopy=False)
    counts = tally(trials)
    return {
        "complete": counts.complete,
        "pruned": counts.pruned,
        "failed": counts.failed,
        "running": counts.running,
        "waiting": sum(trial.state is TrialState.WAITING for trial in trials),
        "refused": counts.refused,
    }


def best(study: Study) -> list[FrozenTrial]:
    """Return the complete trials, best first; with several objectives the Pareto set, by number."""
    if len(study.directions) > 1:
        return [trial for trial in study.best_trials if not is_refused(trial)]
    return ranked(study.get_trials(deepcopy=False), maximize=study.direction is StudyDirection.MAXIMIZE)


def best_trained(study: Study) -> list[FrozenTrial]:
    """Like `best`, without trials that were added through Optuna's own API, which have no run of this program."""
    return [trial for trial in best(study) if "overrides" in trial.user_attrs]


def ranked(trials: Sequence[FrozenTrial], *, maximize: bool) -> list[FrozenTrial]:
    """Return the complete trials, best first; for a single objective."""
    return over(trials, -math.inf if maximize else math.inf, maximize=maximize)


def row(study: Study, trial: FrozenTrial) -> dict[str, Any]:
    """Return one row of the table of trials."""
    seconds = trial.user_attrs.get("seconds")
    return {
        "trial": trial.number,
        **dict(zip(objectives(study), trial.values, strict=True)),
        "parameters": trial.user_attrs.get("parameters"),
        "seconds": None if seconds is None else float(seconds),
        "point": " ".join(point(trial)),
    }


def point(trial: FrozenTrial) -> list[str]:
    """Return the trial's searched values as `key=value`."""
    return list(trial.user_attrs.get("overrides", [f"{key}={value}" for key, value in trial.params.items()]))


def shared_and_distinct(trials: Sequence[FrozenTrial]) -> tuple[str, list[str]]:
    """Divide the points of two or more trials into the overrides that all share and the rest of each.

    Numbers are shown with four significant digits. A single trial shares nothing.
    """
    points = [[_rounded(override) for override in point(trial)] for trial in trials]
    shared = set.intersection(*map(set, points)) if len(points) > 1 else set()
    alike = [override for override in points[0] if override in shared] if points else []
    return " ".join(alike), [" ".join(word for word in words if word not in shared) for words in points]


def _rounded(override: str) -> str:
    key, _, value = override.partition("=")
    try:
        return f"{key}={float(value):.4g}" if len(value) > len("0.0001") else override
    except ValueError:
        return override


def objectives(study: Study) -> list[str]:
    """Return the names of the study's objectives."""
    names = study.metric_names
    if names is None:
        names = ["score"] if len(study.directions) == 1 else [f"score {i}" for i in range(len(study.directions))]
    return names


def curves(study: Study) -> tuple[int, dict[int, list[tuple[float, float]]]]:
    """Pair the score at each epoch with the final score.

    Returns:
        The number of complete trials with a curve, and epoch → (score at the epoch, final score) of each of them that
        has a score at that epoch.
    """
    if len(study.directions) > 1:
        return 0, {}
    drawn = [trial for trial in best(study) if trial.intermediate_values]
    pairs: dict[int, list[tuple[float, float]]] = {}
    for trial in drawn:
        for epoch, score in trial.intermediate_values.items():
            pairs.setdefault(epoch, []).append((score, trial.values[0]))
    return len(drawn), dict(sorted(pairs.items()))


def _is_set(value: Any) -> bool:
    return value is not None and value not in ({}, [])
