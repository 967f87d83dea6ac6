"""The learning curves of a run: loss and accuracy on the training and evaluation split."""

import math
from typing import TYPE_CHECKING

from mnist_compact.common.statistics import THRESHOLD
from mnist_compact.records.metrics import Columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RAW, AVERAGED, QUIET = "tab:blue", "tab:orange", "0.5"


def curves_figure(metrics: Columns, title: str, evaluated: str) -> "Figure":
    """Draw loss and accuracy over the epochs.

    Args:
        metrics: The columns of metrics.csv, from `read_columns`.
        title: The title of the figure.
        evaluated: The evaluated split.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    split = evaluated if f"{evaluated}_accuracy" in metrics else None
    figure = Figure(figsize=(11, 7.5), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True)
    rows = ("train", split) if split else ("train",)
    best_epochs = []
    for row, name in zip(axes, rows, strict=False):
        for axis, measure in zip(row, ("loss", "accuracy"), strict=True):
            best_epochs.append(_draw_curve(axis, metrics, name, measure))
    for axis in axes.flat:
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        if split and (best := best_epochs[-1]) is not None:
            axis.axvline(best, color=QUIET, linestyle=":", linewidth=1, zorder=0)
    for axis in axes[-1]:
        axis.set_xlabel("epoch")
        if split is None:
            axis.set_axis_off()
    figure.suptitle(f"{title}\n{_summary(metrics, split)}", fontsize=12, parse_math=False)
    return figure


def _draw_curve(axis: "Axes", metrics: Columns, split: str, measure: str) -> int | None:
    """Draw one panel; for an evaluation accuracy return the epoch of the best value of the raw weights."""
    epochs = metrics["epoch"]
    kind = "training" if split == "train" else split
    axis.set_title(f"{kind} {measure}", fontsize=11)
    axis.set_ylabel("loss (nats)" if measure == "loss" else "accuracy (%)")
    best_raw: int | None = None
    shown: list[float] = []
    lines = [("raw weights", f"{split}_{measure}", RAW), ("averaged weights", f"{split}_averaged_{measure}", AVERAGED)]
    for label, column, colour in lines:
        values = metrics.get(column, [])
        if all(map(math.isnan, values)):
            continue
        shown += filter(math.isfinite, values)
        best = _best(metrics, column) if measure == "accuracy" and split != "train" else None
        if best is not None:
            axis.plot(*best, marker="*", markersize=13, color=colour, linestyle="none", zorder=3)
            label = f"{label}: best {best[1]:.2f} % in epoch {best[0]}"
            best_raw = best[0] if colour == RAW else best_raw
        axis.plot(epochs, values, color=colour, marker="." if len(epochs) <= 40 else None, label=label)
    if shown:
        _scale(axis, shown, measure)
    if len(axis.get_lines()) > 1:
        axis.legend(fontsize=9, frameon=False, loc="upper right" if measure == "loss" else "best")
    return best_raw


def _scale(axis: "Axes", values: list[float], measure: str) -> None:
    if measure == "loss":
        # A logarithmic axis over less than a factor of ten has too few labelled ticks.
        if 0 < 10 * min(values) < max(values):
            _log_scale(axis)
        return
    low, high = accuracy_limits(values)
    axis.set_ylim(low, high)
    below = sum(value < low for value in values)
    if below:
        points = "point" if below == 1 else "points"
        axis.set_title(f"{axis.get_title()}  ({below} {points} below, down to {min(values):.1f} %)", fontsize=11)
    if low <= THRESHOLD <= high:
        axis.axhline(THRESHOLD, color=QUIET, linestyle="--", linewidth=1, zorder=0)
        axis.annotate(
            f"{THRESHOLD} %",
            (0.01, THRESHOLD),
            xycoords=("axes fraction", "data"),
            va="bottom",
            fontsize=8,
            color=QUIET,
        )


def _log_scale(axis: "Axes") -> None:
    """Set a logarithmic scale with plain numbers as tick labels."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())


def accuracy_limits(values: list[float]) -> tuple[float, float]:
    """Return axis limits (per cent) that show the better values in detail.

    At most a fifth of the values, which are early epochs with much lower accuracies, fall below the limits.
    """
    ordered = sorted(values)
    best, median = ordered[-1], ordered[len(ordered) // 2]
    low = max(ordered[0], min(ordered[len(ordered) // 5], best - 6 * (best - median)))
    margin = max(0.08 * (best - low), 0.05)
    return low - margin, min(best + margin, 100 + margin / 2)


def _best(metrics: Columns, column: str) -> tuple[int, float] | None:
    """Return epoch and value of the first maximum; None without a finite value."""
    finite = [
        (int(epoch), value)
        for epoch, value in zip(metrics["epoch"], metrics[column], strict=True)
        if math.isfinite(value)
    ]
    return max(finite, key=lambda point: point[1], default=None)


def _summary(metrics: Columns, split: str | None) -> str:
    best = _best(metrics, f"{split}_accuracy") if split else None
    if best is None:
        return "no evaluation"
    last = metrics[f"{split}_accuracy"][-1]
    return f"{split} accuracy, raw weights: last {last:.2f} %, best {best[1]:.2f} % (epoch {best[0]})"
