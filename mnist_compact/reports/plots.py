"""Plots of one run: its learning curves, its confusion matrix and its worst mistakes.

Each `…_figure` builds a figure from plain data; each `draw_…` reads a run folder and writes a PNG file into it.
Figures are built without pyplot: no global state, no window, safe in any thread.
"""

import io
import math
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_compact.common.atomic import replacing
from mnist_compact.common.bounded_read import MIB, SMALL, read_bytes
from mnist_compact.common.run_files import CONFUSION_PICTURE, CURVES_PICTURE, MISTAKES, MISTAKES_PICTURE
from mnist_compact.common.shapes import SIDE
from mnist_compact.records.metrics import read_columns
from mnist_compact.records.record import RunRecord
from mnist_compact.reports.curves import QUIET, curves_figure

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

DPI = 120
MISTAKES_ON_SHEET, MISTAKES_IN_A_ROW = 40, 8
# The margins of a mistake in pixels of the image, the size of a pixel in inches, and the whole cell in pixels.
ABOVE, BESIDE, PIXEL_IN = 10, 3, 0.0389
CELL_HEIGHT, CELL_WIDTH = ABOVE + SIDE + 7, BESIDE + SIDE + BESIDE


@dataclass(kw_only=True, slots=True, frozen=True)
class Mistakes:
    """Misclassified evaluation images, most confident first; all arrays have the length n."""

    index: "np.ndarray[Any, Any]"  # index in the split
    label: "np.ndarray[Any, Any]"
    predicted: "np.ndarray[Any, Any]"
    confidence: "np.ndarray[Any, Any]"  # probability of `predicted`, 0 to 1
    image: "np.ndarray[Any, Any]"  # (n, 28, 28), 0 to 255


def draw_run(folder: Path | str) -> list[Path]:
    """Draw every plot for which the run folder has data; return the paths of the files."""
    folder = Path(folder)
    drawn = []
    if read_columns(folder).get("epoch"):
        drawn.append(draw_curves(folder))
    if RunRecord.read(folder).confusion is not None:
        drawn.append(draw_confusion(folder))
    if (folder / MISTAKES).exists():
        drawn.append(draw_mistakes(folder))
    return drawn


def draw_curves(folder: Path | str) -> Path:
    """Write curves.png.

    Raises:
        ValueError: If the run has no finished epoch.
        RecordError: If the record cannot be read.
    """
    record, metrics = RunRecord.read(Path(folder)), read_columns(Path(folder))
    if not metrics.get("epoch"):
        raise ValueError(f"{folder} has no curves: metrics.csv has no finished epoch")
    return _write(curves_figure(metrics, run_title(record), record.evaluated), Path(folder) / CURVES_PICTURE)


def draw_confusion(folder: Path | str) -> Path:
    """Write confusion.png.

    Raises:
        ValueError: If the record has no confusion matrix.
        RecordError: If the record cannot be read.
    """
    record = RunRecord.read(Path(folder))
    if record.confusion is None:
        raise ValueError(f"{folder} has no confusion matrix: the run did not reach its final evaluation")
    return _write(
        confusion_figure(record.confusion, f"{run_title(record)}\n{_final(record)}", record.classes),
        Path(folder) / CONFUSION_PICTURE,
    )


def draw_mistakes(folder: Path | str) -> Path:
    """Write mistakes.png.

    Raises:
        ValueError: If mistakes.npz is missing or damaged.
        RecordError: If the record cannot be read.
    """
    record = RunRecord.read(Path(folder))
    total = None if record.confusion is None else _errors(record.confusion)
    title = f"{run_title(record)}\n{_final(record)}"
    figure = mistakes_figure(read_mistakes(Path(folder)), title, record.classes, total=total)
    return _write(figure, Path(folder) / MISTAKES_PICTURE)


def run_title(record: RunRecord) -> str:
    """Return the title of a run: experiment or model, optimizer, parameters and seed."""

    def option(group: str) -> str:
        chosen = record.config.get(group)
        return str(chosen.get("name", "?")) if isinstance(chosen, dict) else "?"

    experiment = record.config.get("experiment")
    model = f"{experiment} ({option('model')})" if experiment else option("model")
    seed = record.config.get("seed", "?")
    return f"{model} · {option('optim')} · {record.network.parameters:,} parameters · seed {seed}"


def _final(record: RunRecord) -> str:
    """Return the images and the weights of the final evaluation."""
    averaged = record.final is not None and record.final.weights == "averaged"
    return f"{record.evaluated} images, final {'averaged ' if averaged else ''}weights"


def _errors(confusion: list[list[int]]) -> int:
    return sum(count for i, row in enumerate(confusion) for j, count in enumerate(row) if i != j)


def _name(label: int, classes: Sequence[str]) -> str:
    return classes[label] if 0 <= label < len(classes) else str(label)


def confusion_figure(confusion: list[list[int]], title: str, names: Sequence[str] = ()) -> "Figure":
    """Draw a confusion matrix. Only errors are coloured, so that a few among thousands are visible.

    Args:
        confusion: Counts by actual and predicted class, shape (classes, classes).
        title: The title of the figure.
        names: The names of the classes; a class without a name is shown by its number.
    """
    import numpy as np
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    counts = np.asarray(confusion)
    classes = len(counts)
    off = counts * (1 - np.eye(classes, dtype=counts.dtype))
    figure = Figure(figsize=(9, 8), layout="constrained")
    axis = figure.subplots()
    # The square root makes single errors visible and still shows differences between frequent ones.
    top = 1.5 * max(3, off.max())  # the darkest reds are not used: numbers are hard to read on them
    axis.imshow(np.ma.masked_equal(off, 0), cmap="Reds", norm=PowerNorm(0.5, vmin=0, vmax=top))
    for actual, predicted in np.argwhere(counts + np.eye(classes)):
        text = axis.text(predicted, actual, f"{counts[actual, predicted]}", ha="center", va="center", fontsize=10)
        text.set_color("white" if off[actual, predicted] > 0.36 * top else "black")
    for edge in np.arange(-0.5, classes):
        axis.axhline(edge, color="0.9", linewidth=1)
        axis.axvline(edge, color="0.9", linewidth=1)
    for i in range(classes):
        axis.add_patch(Rectangle((i - 0.5, i - 0.5), 1, 1, color="0.92"))
    for actual, (wrong, total) in enumerate(zip(off.sum(axis=1), counts.sum(axis=1), strict=True)):
        rate = f"{100 * wrong / total:.2f} %  ({wrong} of {total})" if total else "no image"
        axis.text(classes - 0.3, actual, rate, va="center", fontsize=9)
    axis.text(classes - 0.3, -0.75, "error", va="center", fontsize=9, color=QUIET)
    labels = [_name(label, names) for label in range(classes)]
    axis.set_xticks(range(classes), labels, rotation=0 if max(map(len, labels), default=0) < 3 else 40)
    axis.set_yticks(range(classes), labels)
    axis.set_xlabel("predicted class")
    axis.set_ylabel("actual class")
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    total, wrong = int(counts.sum()), _errors(confusion)
    rate = f"{wrong:,} of {total:,} wrong ({100 * wrong / total:.2f} %)" if total else "no image"
    figure.suptitle(f"{title}: {rate}", fontsize=12, parse_math=False)
    return figure


def read_mistakes(folder: Path) -> Mistakes:
    """Read mistakes.npz of a run folder.

    Raises:
        ValueError: If the file is missing or damaged, or its arrays have wrong shapes or types.
    """
    import numpy as np

    try:
        content = io.BytesIO(read_bytes(folder / MISTAKES))
        with zipfile.ZipFile(content) as archive:
            if sum(member.file_size for member in archive.infolist()) > SMALL:
                raise ValueError(f"larger than {SMALL // MIB:,} MiB when uncompressed")
        with np.load(content, allow_pickle=False) as arrays:
            mistakes = Mistakes(**{name: arrays[name] for name in (field.name for field in fields(Mistakes))})
        _check(mistakes)
    except Exception as error:  # for damaged archives zipfile, zlib and NumPy raise eight types
        raise ValueError(f"{folder / MISTAKES} cannot be read: {error}") from error
    return mistakes


def _check(mistakes: Mistakes) -> None:
    """Raise ValueError for arrays with other shapes or types than `Mistakes` states."""
    import numpy as np

    n = len(mistakes.index)
    for name in ("index", "label", "predicted"):
        numbers = getattr(mistakes, name)
        if numbers.shape != (n,) or numbers.dtype.kind not in "iu":
            raise ValueError(f"{name} must be {n} whole numbers")
    if mistakes.confidence.shape != (n,) or not np.isfinite(mistakes.confidence).all():
        raise ValueError(f"confidence must be {n} finite numbers")
    if mistakes.image.shape != (n, SIDE, SIDE) or mistakes.image.dtype != np.uint8:
        raise ValueError(f"image must be {n} images of {SIDE} × {SIDE} bytes")


def mistakes_figure(mistakes: Mistakes, title: str, names: Sequence[str] = (), *, total: int | None = None) -> "Figure":
    """Draw up to 40 mistakes in their order, each with label→prediction, confidence and index.

    Args:
        mistakes: The misclassified images.
        title: The title of the figure.
        names: The names of the classes; a class without a name is shown by its number.
        total: The number of all mistakes of the run; None: those given.
    """
    import numpy as np
    from matplotlib.figure import Figure

    count = min(len(mistakes.index), MISTAKES_ON_SHEET)
    total = len(mistakes.index) if total is None else total
    rows = max(1, math.ceil(count / MISTAKES_IN_A_ROW))
    width, height = 11.0, 1.1 + rows * CELL_HEIGHT * PIXEL_IN
    figure = Figure(figsize=(width, height))
    # One image for all mistakes: separate axes for each would take seconds.
    sheet = np.zeros((rows * CELL_HEIGHT, MISTAKES_IN_A_ROW * CELL_WIDTH), np.uint8)
    spans = (sheet.shape[1] * PIXEL_IN / width, sheet.shape[0] * PIXEL_IN / height)
    axis = figure.add_axes(((1 - spans[0]) / 2, 0.1 / height, *spans))
    axis.set_axis_off()
    for i in range(count):
        top, left = (i // MISTAKES_IN_A_ROW * CELL_HEIGHT + ABOVE, i % MISTAKES_IN_A_ROW * CELL_WIDTH + BESIDE)
        sheet[top : top + SIDE, left : left + SIDE] = mistakes.image[i]
        middle = left + SIDE / 2
        confidence = 100 * float(mistakes.confidence[i])
        label, predicted = (_name(int(classes[i]), names) for classes in (mistakes.label, mistakes.predicted))
        short = len(label) + len(predicted) < 5
        text = f"{label}→{predicted}  {confidence:.0f} %" if short else f"{label}\n→{predicted}  {confidence:.0f} %"
        axis.text(middle, top - 1, text, ha="center", va="bottom", fontsize=11 if short else 8, parse_math=False)
        index = f"#{mistakes.index[i]}"
        axis.text(middle, top + SIDE + 1, index, ha="center", va="top", fontsize=8, color=QUIET)
    edges = (0, sheet.shape[1], sheet.shape[0], 0)
    axis.imshow(sheet, cmap="gray_r", vmin=0, vmax=255, extent=edges, aspect="auto")
    if count:
        headline = f"{count} of {total} mistakes, most confident first (label→prediction, confidence, #index)"
    else:
        headline = "no mistakes"
        figure.text(0.5, 0.4, "Every image was classified correctly.", ha="center", fontsize=14, color=QUIET)
    figure.suptitle(f"{title}: {headline}", fontsize=12, parse_math=False)
    return figure


def _write(figure: "Figure", path: Path) -> Path:
    with replacing(path) as temporary:
        # Without matplotlib's version in the metadata the same data gives the same file.
        figure.savefig(temporary, dpi=DPI, format="png", metadata={"Software": None})
    return path
