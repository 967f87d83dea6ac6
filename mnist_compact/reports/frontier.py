"""The frontier: mean test accuracy of confirmations over the number of parameters, beside published single runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_compact.common.atomic import replacing
from mnist_compact.common.errors import UserError
from mnist_compact.common.statistics import FEWEST, THRESHOLD
from mnist_compact.reports.confirmations import confirmations
from mnist_compact.reports.plots import DPI
from mnist_compact.reports.published import published

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Json = dict[str, Any]
SPLIT = "test"
OURS, OTHERS, QUIET = "tab:blue", "0.35", "0.5"
LOWEST, LARGEST = 98.6, 10_000  # published results with a lower accuracy in per cent, or more parameters, are not drawn
TICKS = (500, 700, 1_000, 1_500, 2_000, 3_000, 4_000, 6_000, 8_000, 10_000)


def draw_frontier(frame: "pd.DataFrame", all_runs: "pd.DataFrame", path: Path) -> int:
    """Write the frontier of the confirmations in a `load_runs` table as a PNG file.

    Args:
        frame: The selected runs; a confirmation with one of them is drawn with all its seeds, if it was scored on the
            test images and has at least five completed seeds.
        all_runs: The table that `frame` was selected from.
        path: The file.

    Returns:
        The number of confirmations drawn.

    Raises:
        UserError: The table has no such confirmation.
        OSError: The file cannot be written.
    """
    points = frontier_points(frame, all_runs)
    if not points:
        raise UserError(f"there is no confirmation on the {SPLIT} images with at least {FEWEST} completed seeds")
    with replacing(path) as temporary:
        # Without matplotlib's version in the metadata the same data gives the same file.
        frontier_figure(points, published()).savefig(temporary, dpi=DPI, format="png", metadata={"Software": None})
    return len(points)


def frontier_points(frame: "pd.DataFrame", all_runs: "pd.DataFrame") -> list[Json]:
    """Return the confirmations that belong to the figure, smallest first, as `confirmations` describes them.

    Those with fewer than five completed seeds are left out, because their intervals are only an indication.
    """
    chosen = [
        group
        for group in confirmations(frame, all_runs)["groups"]
        if group["kind"] == "confirmation" and group["split"] == SPLIT and group["summary"]["n"] >= FEWEST
    ]
    return sorted(chosen, key=lambda group: (group["parameters"], -group["summary"]["mean"]))


def best_by_size(points: list[Json]) -> list[Json]:
    """Return the points, smallest first, whose mean is above that of every smaller one."""
    best: list[Json] = []
    for point in points:
        if not best or point["summary"]["mean"] > best[-1]["summary"]["mean"]:
            best.append(point)
    return best


def frontier_figure(points: list[Json], results: list[Json]) -> "Figure":
    """Draw means with their 95 % intervals and the range of the seeds over the number of parameters.

    Args:
        points: Confirmations, from `frontier_points`.
        results: Published results, from `published`.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullLocator

    figure = Figure(figsize=(10, 6), layout="constrained")
    axis = figure.subplots()
    best = best_by_size(points)
    axis.plot(*_means(best), color=OURS, linewidth=1, zorder=2)
    for point in points:
        summary, size = point["summary"], point["parameters"]
        axis.plot([size, size], [summary["minimum"], summary["maximum"]], color=OURS, linewidth=1, alpha=0.5, zorder=2)
        axis.plot([size, size], [summary["low"], summary["high"]], color=OURS, linewidth=4, alpha=0.5, zorder=2)
    axis.plot(*_means(points), "o", color=OURS, markersize=4, zorder=3, label="this project: mean of fresh seeds")
    for point in best:
        axis.annotate(
            f"{point['name']}\n{point['summary']['mean']:.2f} %",
            (point["parameters"], point["summary"]["maximum"]),
            xytext=(0, 4),
            textcoords="offset points",
            ha="left" if point is best[-1] else "right",  # the largest two often lie close together
            fontsize=8,
            color=OURS,
        )
    others = [
        (result["parameters"], result["accuracy"])
        for result in results
        if result["accuracy"] >= LOWEST and result["parameters"] <= LARGEST and not result["bound"]
    ]
    label = "published: single figures, most of one run"
    axis.plot(*zip(*others, strict=True), "D", color=OTHERS, fillstyle="none", markersize=6, label=label)
    axis.axhline(THRESHOLD, color=QUIET, linestyle="--", linewidth=1, zorder=0)
    axis.set_xscale("log")
    sizes = [point["parameters"] for point in points] + [size for size, _ in others]
    axis.set_xlim(min(sizes) / 1.15, max(sizes) * 1.15)
    axis.set_xticks([tick for tick in TICKS if min(sizes) / 1.15 <= tick <= max(sizes) * 1.15])
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axis.set_xlabel("parameters")
    axis.set_ylabel("test accuracy, last epoch (%)")
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(fontsize=9, frameon=False, loc="lower right")
    axis.set_title("Accuracy and size: mean, 95 % interval (wide line) and range of the seeds (thin line)", fontsize=11)
    return figure


def _means(points: list[Json]) -> tuple[list[int], list[float]]:
    return [point["parameters"] for point in points], [point["summary"]["mean"] for point in points]
