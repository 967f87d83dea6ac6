"""The per-epoch metrics of a run (metrics.csv), and what is read off them."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_compact.common.bounded_read import read_bytes
from mnist_compact.common.run_files import METRICS

if TYPE_CHECKING:
    import pandas as pd

CONVERGED_WITHIN = 0.1  # percentage points
CONVERGENCE_RULE = (
    f"Epochs to converge: the first epoch whose evaluation accuracy (raw weights) lies within {CONVERGED_WITHIN:g} "
    "percentage points of that run's best."
)

Row = list[float]  # in the order of the header
Columns = dict[str, list[float]]  # name → a value a finished epoch


def first_converged(epochs: Sequence[int], accuracies: Sequence[float]) -> int | None:
    """The first epoch whose accuracy (per cent) lies within CONVERGED_WITHIN of the best; None without a finite one."""
    finite = [accuracy for accuracy in accuracies if math.isfinite(accuracy)]
    if not finite:
        return None
    threshold = max(finite) - CONVERGED_WITHIN - 1e-9  # 99.0 - 0.1 is a little more than 98.9 in binary
    return next(epoch for epoch, accuracy in zip(epochs, accuracies, strict=True) if accuracy >= threshold)


def epochs_to_converge(folder: Path, evaluated: str) -> int | None:
    """`first_converged` of the accuracy on the evaluated split under raw weights in the run folder's metrics.csv."""
    header, rows = read_rows(folder)
    if f"{evaluated}_accuracy" not in header:
        return None
    epoch, accuracy = header.index("epoch"), header.index(f"{evaluated}_accuracy")
    return first_converged([int(row[epoch]) for row in rows], [row[accuracy] for row in rows])


def read_columns(folder: Path) -> Columns:
    """What `read_metrics` tells, as plain lists: a run draws its curves without the 60 MB that pandas takes."""
    header, rows = read_rows(folder)
    return {name: [row[place] for row in rows] for place, name in enumerate(header)}


def read_metrics(folder: Path | str) -> "pd.DataFrame":
    """One row per finished epoch, in order; no row (but an `epoch` column) when metrics.csv is missing or empty.

    A line that a kill cut short is left out, and of an epoch done again after a continuation the later row counts.
    `epoch` and the counts of images (correct, total) are Int64, the rest float64.
    """
    import pandas as pd

    header, rows = read_rows(Path(folder))
    return typed(pd.DataFrame(rows, columns=header or ["epoch"], dtype="float64"))


def typed(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Metrics with `epoch` and the counts of images as Int64."""
    counts = [name for name in frame.columns if name == "epoch" or name.endswith(("_correct", "_total"))]
    return frame.astype(dict.fromkeys(counts, "Int64"))


def read_rows(folder: Path) -> tuple[list[str], list[Row]]:
    """The header of metrics.csv and the lines under it, as `read_metrics` tells them."""
    try:
        text = read_bytes(folder / METRICS).decode(errors="replace")
    except OSError:
        return [], []
    # Only a line with its end was written whole: of "99.41" a cut may leave a perfectly readable "9".
    first, *lines = text.split("\n")[:-1] or [""]
    header = first.rstrip("\r").split(",")
    if "epoch" not in header:
        return [], []
    epoch, by_epoch = header.index("epoch"), dict[float, Row]()
    for line in lines:
        row = _parse_row(line.split(","))
        if len(row) == len(header) and row[epoch].is_integer():
            by_epoch[row[epoch]] = row
    return header, [by_epoch[number] for number in sorted(by_epoch)]


def _parse_row(cells: list[str]) -> Row:
    """The numbers of one line, an empty cell as NaN; none for a line that is not numbers alone."""
    try:
        return [*map(float, cells)] if all(cells) else [float(cell or math.nan) for cell in cells]
    except ValueError:
        return []
