"""Details of single runs as JSON for the page: curves, layers, confusion matrix and worst mistakes."""

import base64
import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_compact.common.bounded_read import read_bytes
from mnist_compact.common.run_files import LAYERS, MISTAKES
from mnist_compact.common.shapes import SIDE
from mnist_compact.records.checks import is_square_of_counts
from mnist_compact.records.metrics import read_rows
from mnist_compact.records.record import RecordError, RunRecord
from mnist_compact.reports.plots import Mistakes, read_mistakes

if TYPE_CHECKING:
    import numpy as np

MOST_WITH_MISTAKES = 100  # runs; about 5 kB each
MISTAKES_ON_PAGE, SPRITES_IN_A_ROW = 24, 8  # per run
MOST_DIGITS = 15  # of an integer that JavaScript numbers represent exactly

Json = dict[str, Any]


def details(runs: Sequence[str], scores: Sequence[Sequence[float | None]]) -> Json:
    """Collect the details of runs.

    Args:
        runs: The run folders.
        scores: For each kind of score one value per run.

    Returns:
        `curves`, `layers` and `confusions` of the runs in order, null for a run without them; `classes`, the class
        names of each run, null if they are the numbers; `mistakes` by position of the run, null if they cannot be read.
        Mistakes are included for at most MOST_WITH_MISTAKES runs, the best by each score in turn;
        `more_with_mistakes` lists the other runs that have some.
    """
    folders = [Path(run) for run in runs]
    with_mistakes = [position for position, folder in enumerate(folders) if (folder / MISTAKES).exists()]
    records = [_record(folder) for folder in folders]
    chosen = {*islice(filter({*with_mistakes}.__contains__, _best_in_turn(scores)), MOST_WITH_MISTAKES)}
    return {
        "curves": _shared([_curves(folder) for folder in folders], "header", "values"),
        "layers": _layers(folders),
        "classes": [_classes(record) for record in records],
        "confusions": [_confusion(record) for record in records],
        "mistakes": {position: _mistakes(folders[position]) for position in sorted(chosen)},
        "most_with_mistakes": MOST_WITH_MISTAKES,
        "more_with_mistakes": [position for position in with_mistakes if position not in chosen],
        "sprites": {"in_a_row": SPRITES_IN_A_ROW, "side_px": SIDE},
    }


def _best_in_turn(scores: Sequence[Sequence[float | None]]) -> Iterator[int]:
    """Yield the best run by each score, then the second best by each, and so on; each run once."""
    ranked = [
        sorted(
            (position for position, value in enumerate(values) if value is not None),
            key=lambda position: -(values[position] or 0),
        )
        for values in scores
    ]
    seen = set[int]()
    for rank in range(max(map(len, ranked), default=0)):
        for order in ranked:
            if rank < len(order) and order[rank] not in seen:
                seen.add(order[rank])
                yield order[rank]


def _curves(folder: Path) -> tuple[tuple[str, ...], list[list[float | None]]] | None:
    """Return the header and the columns of metrics.csv, rounded to six significant digits, which suffice for curves."""
    header, rows = read_rows(folder)
    if not rows:
        return None
    columns = [[_short(value) for value in column] for column in zip(*rows, strict=True)]
    return tuple(header), columns


def _short(value: float) -> float | int | None:
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() else float(f"{value:.6g}")


def _shared(pairs: Sequence[tuple[tuple[str, ...], Any] | None], head: str, body: str) -> Json:
    """Store headers that several runs share only once; each run holds the index of its header."""
    heads: dict[tuple[str, ...], int] = {}
    runs = [None if pair is None else {head: heads.setdefault(pair[0], len(heads)), body: pair[1]} for pair in pairs]
    return {"heads": [*heads], "runs": runs}


def _layers(folders: Sequence[Path]) -> Json:
    """Return the distinct layer tables, and for each run the index of its table."""
    texts: dict[str, int] = {}
    indices: list[int | None] = []
    for folder in folders:
        try:
            text = read_bytes(folder / LAYERS).decode(errors="replace")
        except OSError:
            indices.append(None)
        else:
            indices.append(texts.setdefault(text, len(texts)))
    return {"tables": [_layer_table(text) for text in texts], "of": indices}


def _layer_table(text: str) -> Json:
    header, *rows = list(_csv_lines(text)) or [[]]
    complete = [row for row in rows if len(row) == len(header)]
    return {"columns": header, "rows": [[_number_or_text(cell) for cell in row] for row in complete]}


def _csv_lines(text: str) -> Iterator[list[str]]:
    """Yield the cells of every valid CSV line; zero bytes after a power failure, for instance, make a cell too long."""
    reader = csv.reader(text.splitlines())
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error:
            continue


def _number_or_text(cell: str) -> int | str:
    return int(cell) if cell.isdecimal() and len(cell) <= MOST_DIGITS else cell


def _record(folder: Path) -> RunRecord | None:
    try:
        return RunRecord.read(folder)
    except (RecordError, RecursionError):
        return None


def _classes(record: RunRecord | None) -> list[str] | None:
    names = record.classes if record else []
    return [*map(str, names)] if names != [*map(str, range(len(names)))] else None


def _confusion(record: RunRecord | None) -> list[list[int]] | None:
    counts = record.confusion if record else None
    return counts if is_square_of_counts(counts) else None


def _mistakes(folder: Path) -> Json | None:
    """Return all images as one PNG with SPRITES_IN_A_ROW in a row, and the label, prediction and confidence of each."""
    try:
        mistakes = read_mistakes(folder)
    except ValueError:
        return None
    shown = min(len(mistakes.index), MISTAKES_ON_PAGE)
    facts = [_facts(mistakes, position) for position in range(shown)]
    return {"png": _sprite(mistakes.image[:shown]) if shown else "", "images": facts}


def _facts(mistakes: Mistakes, position: int) -> Mapping[str, float]:
    return {
        "index": int(mistakes.index[position]),
        "label": int(mistakes.label[position]),
        "predicted": int(mistakes.predicted[position]),
        "confidence": round(float(mistakes.confidence[position]), 4),
    }


def _sprite(images: "np.ndarray[Any, Any]") -> str:
    """Combine images, shape (n, height, width), values 0 to 255, into one dark-on-light PNG, encoded in base64."""
    import numpy as np
    from matplotlib.image import imsave

    n, height, width = images.shape
    rows = math.ceil(n / SPRITES_IN_A_ROW)
    sheet = np.full((rows * height, SPRITES_IN_A_ROW * width), 255, dtype=np.uint8)
    for position, image in enumerate(images):
        top, left = height * (position // SPRITES_IN_A_ROW), width * (position % SPRITES_IN_A_ROW)
        sheet[top : top + height, left : left + width] = 255 - image
    png = io.BytesIO()
    imsave(png, sheet, cmap="gray", vmin=0, vmax=255, format="png")
    return base64.b64encode(png.getvalue()).decode()
