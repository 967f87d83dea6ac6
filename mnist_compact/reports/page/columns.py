"""The table of runs as JSON for the scripts of the page: columns with their number formats and cells."""

import math
from typing import TYPE_CHECKING, Any

from mnist_compact.common.tables import WITH_THOUSANDS, decimals_of
from mnist_compact.records.settings import GROUPS
from mnist_compact.reports.column_names import final_scores
from mnist_compact.reports.columns import COLUMNS, evaluated, score_column
from mnist_compact.reports.tables import short_names

if TYPE_CHECKING:
    import pandas as pd

EXACT_IN_JAVASCRIPT = 2**53  # a larger integer is shown as text
SHOWN_FIRST = ("run", "model", "parameters")
SHOWN_LAST = ("epochs_to_converge", "epochs_done", "seconds", "status")
ORIGIN = ("kind", "study", "trial", "confirmation", "experiment")

Json = dict[str, Any]


def runs_table(frame: "pd.DataFrame") -> Json:
    """Convert a `load_runs` table to JSON.

    Args:
        frame: The table.

    Returns:
        `count`: the number of runs. `columns`: the columns that have a value, each with `values`, one cell per run, and
        `shown`, whether it is visible at first. `scores`: the evaluation accuracies, the most frequent final score
        first.
    """
    about = {column.name: column.about for column in COLUMNS}
    frame = frame.assign(run=short_names(frame)).dropna(axis="columns", how="all")
    scores = _scores(frame)
    shown = _shown(frame, scores)
    rest = [name for name in frame.columns if name not in shown]
    columns = [
        column(name, frame[name]) | {"about": about.get(name, ""), "shown": name in shown} for name in [*shown, *rest]
    ]
    return {"count": len(frame), "columns": columns, "scores": scores}


def column(name: str, values: "pd.Series[Any]") -> Json:
    """Convert a column to JSON: kind (number, truth or text), number format and values.

    Missing and non-finite values are null.
    """
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    cells = _cells(values)
    if is_bool_dtype(values):
        return {"name": name, "kind": "truth", "values": cells}
    if is_numeric_dtype(values) and all(cell is None or abs(cell) <= EXACT_IN_JAVASCRIPT for cell in cells):
        shape = {"decimals": decimals_of(name), "grouped": name in WITH_THOUSANDS}
        return {"name": name, "kind": "number", **shape, "values": cells}
    return {"name": name, "kind": "text", "values": [None if cell is None else _text(cell) for cell in cells]}


def _cells(values: "pd.Series[Any]") -> list[Any]:
    missing = values.isna()
    cells = [None if is_missing else cell for cell, is_missing in zip(values.tolist(), missing, strict=True)]
    return [None if isinstance(cell, float) and not math.isfinite(cell) else cell for cell in cells]


def _text(cell: Any) -> str:
    return f"{cell:%Y-%m-%d %H:%M:%S} UTC" if hasattr(cell, "strftime") else str(cell)


def _scores(frame: "pd.DataFrame") -> list[Json]:
    """Return column, split, weights and epoch choice of the evaluation accuracies, the most frequent one first."""
    final = final_scores(frame)
    ranked = sorted(final, key=lambda score: -final[score])
    names = [score_column(split, weights, "accuracy", "last") for split, weights in ranked]
    others = [name for name in frame.columns if evaluated(name) and name not in names]
    parsed = {name: evaluated(name) for name in [*names, *others] if name in frame.columns}
    return [
        {"column": name, "split": score.split, "weights": score.weights, "at": score.at}
        for name, score in parsed.items()
        if score is not None
    ]


def _shown(frame: "pd.DataFrame", scores: list[Json]) -> list[str]:
    """Return the columns that are visible at first: size, scores, options that differ and the origin of the runs."""
    options = [name for name in GROUPS if name != "model" and _varies(frame, name, dropna=True)]
    origin = [name for name in ORIGIN if _varies(frame, name, dropna=False)]
    names = [*SHOWN_FIRST, *(score["column"] for score in scores), "seed", *options, *SHOWN_LAST, *origin]
    return [name for name in names if name in frame.columns]


def _varies(frame: "pd.DataFrame", name: str, *, dropna: bool) -> bool:
    return name in frame.columns and bool(frame[name].nunique(dropna=dropna) > 1)
