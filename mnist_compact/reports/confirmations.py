"""Confirmations as JSON: the score of every seed, with mean and interval."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_compact.common.statistics import CONFIDENCE, Summary
from mnist_compact.records.discovery import confirmed
from mnist_compact.records.record import Status
from mnist_compact.reports.column_names import ended_with
from mnist_compact.reports.columns import score_column

if TYPE_CHECKING:
    import pandas as pd

Json = dict[str, Any]


def confirmations(frame: "pd.DataFrame", all_runs: "pd.DataFrame") -> Json:
    """Collect the confirmations and ranking candidates of a `load_runs` table.

    A confirmation always includes all its runs, because a selection by scores would bias its mean.

    Args:
        frame: The selected runs; a confirmation with one of them is included.
        all_runs: The table that `frame` was selected from.

    Returns:
        `groups`: for each confirmation or ranking candidate and each kind of final score (split, weights) the seeds and
        accuracies of the completed runs, their summary, the number of runs, the kind and the source of the
        configuration; the best first. `confidence`: the level of the intervals in per cent.
    """
    seeds = all_runs[all_runs["kind"].isin(["confirmation", "ranking"])]
    found = seeds[_homes(seeds).isin(_homes(frame))]
    groups = [
        group
        for (name, home), runs in found.groupby([found["confirmation"], _homes(found)], sort=False)
        for group in _groups(str(name), Path(str(home)), runs)
    ]
    groups.sort(key=_order)
    return {"groups": groups, "confidence": 100 * CONFIDENCE}


def _summary(accuracies: list[float]) -> Json:
    summary = Summary.of(accuracies)
    return asdict(summary) | {"caution": summary.caution}


def _order(group: Json) -> tuple[bool, float]:
    """Return a sort key: confirmations before rankings, the best mean first, groups without a completed seed last."""
    return group["kind"] == "ranking", -group["summary"]["mean"] if group["summary"] else math.inf


def _homes(frame: "pd.DataFrame") -> "pd.Series[str]":
    """Return the folder of the confirmation of each run."""
    return frame["run"].map(lambda run: str(Path(run).parent.parent))  # …/<name>/seeds/<seed>


def _groups(name: str, home: Path, runs: "pd.DataFrame") -> list[Json]:
    """Return one group per kind of final score; normally all seeds of a confirmation have the same kind."""
    sizes = runs["parameters"].dropna()
    kind, source = str(runs["kind"].iloc[0]), str(confirmed(home).get("source", ""))
    parameters = None if sizes.empty else int(sizes.iloc[0])
    about = {"name": name, "kind": kind, "source": source, "runs": len(runs), "parameters": parameters}
    completed = runs[(runs["status"] == str(Status.COMPLETED)) & runs["seed"].notna()]
    groups = []
    for (split, weights), ended in ended_with(completed).items():
        scored = completed[ended]
        accuracies = [float(accuracy) for accuracy in scored[score_column(split, weights, "accuracy", "last")]]
        seeds = [int(seed) for seed in scored["seed"]]
        found = {"seeds": seeds, "accuracies": accuracies, "summary": _summary(accuracies)}
        groups.append(about | {"split": split, "weights": weights} | found)
    return groups or [about | {"split": None, "weights": None, "seeds": [], "accuracies": [], "summary": None}]
