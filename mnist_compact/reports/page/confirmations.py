"""Confirmations as the page shows them: every seed's score, with mean and interval, a panel a split and weights."""

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


def confirmations(frame: "pd.DataFrame", whole: "pd.DataFrame") -> Json:
    """`groups`: of each confirmation, or part in a ranking, and final score (split, weights) in a `load_runs` table the
    seeds and accuracies of completed runs, their summary, how many runs there are, which kind of the two it is, and
    where the configuration came from; the best first.

    All runs of a confirmation count that are in the table `whole`, which `frame` may be chosen from: by a part of them,
    chosen by their scores, it would be another.
    """
    seeds = whole[whole["kind"].isin(["confirmation", "ranking"])]
    found = seeds[_places(seeds).isin(_places(frame))]
    groups = [
        group
        for (name, place), runs in found.groupby([found["confirmation"], _places(found)], sort=False)
        for group in _groups(str(name), Path(str(place)), runs)
    ]
    groups.sort(key=_order)
    return {"groups": groups, "confidence": 100 * CONFIDENCE}


def _summary(accuracies: list[float]) -> Json:
    summary = Summary.of(accuracies)
    return asdict(summary) | {"caution": summary.caution}


def _order(group: Json) -> tuple[bool, float]:
    """Rankings after what was confirmed; of either the best mean first, and those without a seed last."""
    return group["kind"] == "ranking", -group["summary"]["mean"] if group["summary"] else math.inf


def _places(frame: "pd.DataFrame") -> "pd.Series[str]":
    """The folder of each run's confirmation, if it is of one."""
    return frame["run"].map(lambda run: str(Path(run).parent.parent))  # …/<name>/seeds/<seed>


def _groups(name: str, place: Path, runs: "pd.DataFrame") -> list[Json]:
    """One for each kind of final score; among the seeds of a confirmation there should be one."""
    sizes = runs["parameters"].dropna()
    kind, source = str(runs["kind"].iloc[0]), str(confirmed(place).get("source", ""))
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
