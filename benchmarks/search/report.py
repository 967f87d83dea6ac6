"""The results of the replays as text for README.md and as one record."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from benchmarks.search.contest import MOST_TRIALS, STOCK_TRIALS, WORKERS, ContenderResult, Replays
from benchmarks.search.curves import Curves
from benchmarks.timing import Must, Spread, machine_line


def as_record(
    curves: Curves, replays: Replays, results: Sequence[ContenderResult], musts: Sequence[Must]
) -> dict[str, Any]:
    return {
        "environment": curves.environment,
        "rank_correlations": rank_correlations(curves),
        "target": replays.target,
        "costs": {name: [cost and asdict(cost) for cost in costs] for name, costs in replays.costs.items()},
        "standings": [asdict(result) for result in results],
        "musts": [must.record() for must in musts],
    }


def as_text(
    curves: Curves, replays: Replays, results: Sequence[ContenderResult], musts: Sequence[Must]
) -> Iterator[str]:
    seconds = Spread.of(curve.trial_s for curve in curves.at.values())
    final = Spread.of(curve.accuracies[-1] for curve in curves.at.values())
    yield f"recorded on {machine_line(curves.environment)}"
    length = f"{len(curves.at)} points of {curves.epochs} epochs"
    yield f"{length}: {seconds.text('.1f')} s per trial, final accuracy {final.text()} %"
    correlations = " ".join(f"{correlation:.2f}" for correlation in rank_correlations(curves))
    yield f"rank correlation of the score at each epoch with the last: {correlations}"
    count = len(next(iter(replays.costs.values())))
    yield f"{count} replays with {WORKERS} workers until {replays.target:.2f} % is first reached, the median of what"
    most = MOST_TRIALS * curves.epochs
    yield f"stock's {STOCK_TRIALS} trials find; medians with 95 % intervals; never: not within {most:,} epochs\n"
    width = max(len(result.name) for result in results)
    columns = ("epochs ours/stock", "seconds ours/stock")
    yield f"{'':{width}} {'epochs':>8} {'seconds':>8} {columns[0]:>20} {columns[1]:>20} {'never':>6}"
    for result in results:
        ratios = f"{result.epochs_ratio.text():>20} {result.seconds_ratio.text():>20}"
        yield f"{result.name:{width}} {result.epochs:8.0f} {result.seconds:8.0f} {ratios} {result.unreached:6.0%}"
    yield ""
    yield from (must.text() for must in musts)


def rank_correlations(curves: Curves) -> list[float]:
    """Return Spearman's rank correlation of the score at each epoch with the final score."""
    scores = pd.DataFrame([curve.accuracies for curve in curves.at.values()]).rank()
    return [float(scores[epoch].corr(scores.iloc[:, -1])) for epoch in scores]
