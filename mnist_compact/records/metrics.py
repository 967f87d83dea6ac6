"""The per-epoch metrics of a run (metrics.csv) and the epochs to converge."""

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
Columns = dict[str, list[float]]  # name → one value per finished epoch


def first_converged(epochs: Sequence[int], accuracies: Sequence[float]) -> int | None:
    """Return the first epoch whose accuracy is within CONVERGED_WITHIN of the best.

    Args:
        epochs: The epochs, counted from 1.
        accuracies: The accuracy of each epoch in per cent.

    Returns:
        The epoch; None if no accuracy is finite.
    """
    finite = [accuracy for accuracy in accuracies if math.isfinite(accuracy)]
    if not finite:
        return None
    threshold = max(finite) - CONVERGED_WITHIN - 1e-9  # 99.0 - 0.1 is slightly more than 98.9 in binary
    return next(epoch for epoch, accuracy in zip(epochs, accuracies, strict=True) if accuracy >= threshold)


def epochs_to_converge(folder: Path, evaluated: str) -> int | None:
    """Apply `first_converged` to the accuracy of the raw weights on the evaluated split in metrics.csv."""
    header, rows = read_rows(folder)
    if f"{evaluated}_accuracy" not in header:
        return None
    epoch, accuracy = header.index("epoch"), header.index(f"{evaluated}_accuracy")
    return first_converged([int(row[epoch]) for row in rows], [row[accuracy] for row in rows])


def read_columns(folder: Path) -> Columns:
    """Read metrics.csv like `read_metrics`, but into lists, which saves the 60 MB of memory that pandas takes."""
    header, rows = read_rows(folder)
    return {name: [row[position] for row in rows] for position, name in enumerate(header)}


def read_metrics(folder: Path | str) -> "pd.DataFrame":
    """Read metrics.csv of a run folder.

    An incomplete last line is ignored. If an epoch was repeated after the run was resumed, the later row counts.

    Args:
        folder: The run folder.

    Returns:
        One row per finished epoch in order; `epoch` and the counts of images (correct, total) are Int64, the other
        columns float64. If the file is missing or empty, the frame has an `epoch` column and no rows.
    """
    import pandas as pd

    header, rows = read_rows(Path(folder))
    return typed(pd.DataFrame(rows, columns=header or ["epoch"], dtype="float64"))


def typed(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Convert `epoch` and the counts of images to Int64."""
    counts = [name for name in frame.columns if name == "epoch" or name.endswith(("_correct", "_total"))]
    return frame.astype(dict.fromkeys(counts, "Int64"))


def read_rows(folder: Path) -> tuple[list[str], list[Row]]:
    """Read the header and the rows of metrics.csv, as `read_metrics` does; both empty if the file cannot be read."""
    try:
        text = read_bytes(folder / METRICS).decode(errors="replace")
    except OSError:
        return [], []
    # Only a line with a line end is complete: a kill can cut "99.41" down to a valid "9".
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
    """Return the numbers of one line, NaN for an empty cell; an empty list if a cell is not a number."""
    try:
        return [*map(float, cells)] if all(cells) else [float(cell or math.nan) for cell in cells]
    except ValueError:
        return []
