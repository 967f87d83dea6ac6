"""The per-epoch metrics of a run (metrics.csv), and what is read off them."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

FILENAME = "metrics.csv"
CONVERGED_WITHIN = 0.1  # percentage points
CONVERGENCE_RULE = (
    f"Epochs to converge: the first epoch whose evaluation accuracy (raw weights) lies within {CONVERGED_WITHIN:g} "
    "percentage points of that run's best."
)

Row = dict[str, float]


def first_converged(epochs: Sequence[int], accuracies: Sequence[float]) -> int | None:
    """The first epoch whose accuracy (per cent) lies within CONVERGED_WITHIN of the best; None without a finite one."""
    finite = [accuracy for accuracy in accuracies if math.isfinite(accuracy)]
    if not finite:
        return None
    threshold = max(finite) - CONVERGED_WITHIN - 1e-9  # 99.0 - 0.1 is a little more than 98.9 in binary
    return next(epoch for epoch, accuracy in zip(epochs, accuracies, strict=True) if accuracy >= threshold)


def epochs_to_converge(folder: Path) -> int | None:
    """`first_converged` of the evaluation accuracy under raw weights in the run folder's metrics.csv."""
    header, rows = _read_rows(folder)
    split = evaluation_split(header)
    if split is None:
        return None
    return first_converged([int(row["epoch"]) for row in rows], [row[f"{split}_accuracy"] for row in rows])


def evaluation_split(columns: Sequence[str]) -> str | None:
    """The split (test, holdout or synthetic) that these metrics columns evaluate on; None without an evaluation."""
    splits = [name.removesuffix("_accuracy") for name in columns if name.endswith("_accuracy")]
    return next((split for split in splits if split != "train" and not split.endswith("_averaged")), None)


def read_metrics(folder: Path | str) -> "pd.DataFrame":
    """One row per finished epoch, in order; no row (but an `epoch` column) when metrics.csv is missing or empty.

    A line that a kill cut short is left out, and of an epoch done again after a continuation the later row counts.
    `epoch` and the counts of images (correct, total) are Int64, the rest float64.
    """
    import pandas as pd

    header, rows = _read_rows(Path(folder))
    frame = pd.DataFrame(rows, columns=header or ["epoch"], dtype="float64")
    return frame.astype(
        {name: "Int64" for name in frame.columns if name == "epoch" or name.endswith(("_correct", "_total"))}
    )


def _read_rows(folder: Path) -> tuple[list[str], list[Row]]:
    try:
        text = (folder / FILENAME).read_text(errors="replace")
    except OSError:
        return [], []
    # Only a line with its end was written whole: of "99.41" a cut may leave a perfectly readable "9".
    lines = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
    header, *body = list(csv.reader(lines)) or [[]]
    if "epoch" not in header:
        return [], []
    by_epoch: dict[int, Row] = {}
    for cells in body:
        row = _parse_row(header, cells)
        if row is not None:
            by_epoch[int(row["epoch"])] = row
    return header, [by_epoch[epoch] for epoch in sorted(by_epoch)]


def _parse_row(header: list[str], cells: list[str]) -> Row | None:
    """The numbers of one line, an empty cell as NaN; None for a line that is not a complete row of numbers."""
    if len(cells) != len(header):
        return None
    try:
        row = {name: float(cell) if cell else math.nan for name, cell in zip(header, cells, strict=True)}
    except ValueError:
        return None
    return row if row["epoch"].is_integer() else None
