"""Replays over seeds: what each contender's search costs until it has what the stock sweeper's trials found."""

import math
import multiprocessing
import statistics
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from benchmarks.search.curves import Curve, Curves
from benchmarks.search.replay import Cost, Play, Replay, with_barrier, without_barrier
from benchmarks.timing import Spread
from mnist_compact.search.counts import quieten
from mnist_compact.search.snapshot import ConfigSnapshot

STOCK = "stock"
STOCK_TRIALS = 24
WORKERS = 2
MOST_TRIALS = 96  # whole trials' worth of epochs, after which a search counts as never getting there
DRAWS = 10_000  # of the bootstrap


@dataclass(slots=True, frozen=True)
class Replays:
    """The same target for all: what the stock sweeper's trials have found in the median of its replays."""

    target: float
    costs: Mapping[str, Sequence[Cost | None]]  # contender → seed by seed


@dataclass(slots=True, frozen=True)
class Contest:
    curves: Curves
    stock: ConfigSnapshot
    ours: Mapping[str, ConfigSnapshot]  # contender → its snapshot study
    workers: int

    def play_stock(self, seed: int) -> Replay:
        quieten()
        return with_barrier(self.stock, self.deal(), seed=seed, workers=self.workers, trials=MOST_TRIALS)

    def play_ours(self, told: tuple[str, int, float]) -> Cost | None:
        """What a contender's search of this seed costs until it has the target; None for one that never got there."""
        quieten()
        name, seed, target = told
        most = MOST_TRIALS * self.curves.epochs
        snapshot = self.ours[name]
        played = without_barrier(
            snapshot, self.deal(), seed=seed, workers=self.workers, target=target, most_epochs=most
        )
        return played.until(target)

    def deal(self) -> Play:
        """Each point's curve once, for the proposal that it is nearest to: none is played again."""
        left = dict(self.curves.at)

        def play(overrides: list[str]) -> Curve | None:
            return left.pop(self.curves.question.nearest(overrides, left)) if left else None

        return play

    def replays(self, count: int, processes: int) -> Replays:
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            stock = list(_told(pool.imap(self.play_stock, range(count)), STOCK, count))
            target = statistics.median(played.best_of(STOCK_TRIALS) for played in stock)
            costs = {STOCK: [played.until(target) for played in stock]}
            for name in self.ours:
                told = [(name, seed, target) for seed in range(count)]
                costs[name] = list(_told(pool.imap(self.play_ours, told), name, count))
        return Replays(target, costs)


T = TypeVar("T")


def _told(results: Iterable[T], name: str, count: int) -> Iterator[T]:
    """The same, with a line of progress on a terminal."""
    for done, result in enumerate(results, start=1):
        if sys.stderr.isatty():
            print(f"\r\033[K{name}: {done}/{count}", end="", file=sys.stderr, flush=True)
        yield result
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)


@dataclass(slots=True, frozen=True)
class SearchStatus:
    """A contender over all replays. Ratios are of its median to the stock sweeper's, with 95 % intervals."""

    name: str
    epochs: float  # median
    seconds: float  # median
    epochs_ratio: Spread
    seconds_ratio: Spread
    unreached: float  # part of the replays; they count as infinite

    @classmethod
    def of(cls, name: str, costs: Mapping[str, Sequence[Cost | None]]) -> "SearchStatus":
        mine, theirs = costs[name], costs[STOCK]
        epochs, stock_epochs = ([math.inf if cost is None else cost.epochs for cost in who] for who in (mine, theirs))
        seconds, stock_seconds = (
            [math.inf if cost is None else cost.seconds for cost in who] for who in (mine, theirs)
        )
        return cls(
            name=name,
            epochs=statistics.median(epochs),
            seconds=statistics.median(seconds),
            epochs_ratio=ratio_of_medians(epochs, stock_epochs),
            seconds_ratio=ratio_of_medians(seconds, stock_seconds),
            unreached=sum(cost is None for cost in mine) / len(mine),
        )


def ratio_of_medians(first: Sequence[float], second: Sequence[float]) -> Spread:
    """With, as lowest and highest, its 95 % interval: percentiles of the bootstrap over the replays of each."""
    generator = np.random.default_rng(0)
    medians = []
    for values in (first, second):
        given = np.asarray(values, dtype=float)
        medians.append(np.median(given[generator.integers(len(given), size=(DRAWS, len(given)))], axis=1))
    low, high = np.quantile(medians[0] / medians[1], (0.025, 0.975), method="inverted_cdf")  # infinite: no mean of two
    return Spread(statistics.median(first) / statistics.median(second), float(low), float(high))
