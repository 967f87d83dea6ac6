"""Replays over seeds: the cost of each contender's search until it reaches the stock sweeper's score."""

import math
import multiprocessing
import statistics
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from optuna.trial import FrozenTrial

from benchmarks.search.curves import Curve, Curves
from benchmarks.search.replay import Cost, Play, Replay, with_barrier, without_barrier
from benchmarks.timing import Spread
from mnist_compact.search.builders import space_of
from mnist_compact.search.counts import quieten
from mnist_compact.search.prior import prior_trials
from mnist_compact.search.snapshot import PRIOR, ConfigSnapshot
from mnist_compact.search.space import contains

STOCK = "stock"
STOCK_TRIALS = 24
WORKERS = 2
MOST_TRIALS = 96  # a search that has trained the epochs of this number of trials counts as never reaching the target
EARLIER_SEEDS = 1_000_000  # the seeds of the earlier studies begin here
DRAWS = 10_000  # bootstrap samples


@dataclass(slots=True, frozen=True)
class Replays:
    """The cost of all replays. The common target is the median, over its replays, of the stock sweeper's best score."""

    target: float
    costs: Mapping[str, Sequence[Cost | None]]  # contender → seed by seed


@dataclass(slots=True, frozen=True)
class Contest:
    curves: Curves
    stock: ConfigSnapshot
    ours: Mapping[str, ConfigSnapshot]  # contender → the config snapshot of its study
    workers: int
    earlier: Mapping[str, ConfigSnapshot] = field(default_factory=dict)  # contender → snapshot of its earlier study

    def play_stock(self, seed: int) -> Replay:
        quieten()
        return with_barrier(self.stock, self.deal(), seed=seed, workers=self.workers, trials=MOST_TRIALS)

    def play_ours(self, task: tuple[str, int, float]) -> Cost | None:
        """Return the cost of a search until it reaches the target, or None if it never does.

        The cost of an earlier study is not included, and its curves are not dealt again.

        Args:
            task: The contender's name, the seed and the target.
        """
        quieten()
        name, seed, target = task
        most = MOST_TRIALS * self.curves.epochs
        snapshot, play, prior = self.ours[name], self.deal(), list[FrozenTrial]()
        if name in self.earlier:
            before = without_barrier(
                self.earlier[name],
                play,
                seed=EARLIER_SEEDS + seed,
                workers=self.workers,
                target=math.inf,
                most_epochs=STOCK_TRIALS * self.curves.epochs,
            )
            prior = as_prior(before.found, snapshot)
        played = without_barrier(
            snapshot, play, seed=seed, workers=self.workers, target=target, most_epochs=most, prior=prior
        )
        return played.until(target)

    def deal(self) -> Play:
        """Return a function that gives each proposal the curve of the nearest point, and each curve only once."""
        left = dict(self.curves.at)

        def play(overrides: list[str]) -> Curve | None:
            return left.pop(self.curves.question.nearest(overrides, left)) if left else None

        return play

    def replays(self, count: int, processes: int) -> Replays:
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            stock = list(_with_progress(pool.imap(self.play_stock, range(count)), STOCK, count))
            target = statistics.median(played.best_of(STOCK_TRIALS) for played in stock)
            costs = {STOCK: [played.until(target) for played in stock]}
            for name in self.ours:
                tasks = [(name, seed, target) for seed in range(count)]
                costs[name] = list(_with_progress(pool.imap(self.play_ours, tasks), name, count))
        return Replays(target, costs)


def as_prior(found: Iterable[FrozenTrial], snapshot: ConfigSnapshot) -> list[FrozenTrial]:
    """Return the trials of an earlier study that are points of the space of a new study, as its prior trials."""
    space, entries = space_of(snapshot), []
    for trial in found:
        searched = space.searched_at(trial.params, lambda key: None)
        if all(contains(parameter.distribution, trial.params[parameter.key]) for parameter in searched):
            params = {parameter.name: trial.params[parameter.key] for parameter in searched}
            entries.append({"params": params, "values": trial.values, "constraints": {}})
    return prior_trials({**snapshot, PRIOR: entries}, space)


T = TypeVar("T")


def _with_progress(results: Iterable[T], name: str, count: int) -> Iterator[T]:
    """Yield the results, and show a line of progress on a terminal."""
    for done, result in enumerate(results, start=1):
        if sys.stderr.isatty():
            print(f"\r\033[K{name}: {done}/{count}", end="", file=sys.stderr, flush=True)
        yield result
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)


@dataclass(slots=True, frozen=True)
class ContenderResult:
    """The result of a contender over all replays.

    The ratios compare its median with the stock sweeper's, with 95 % intervals.
    """

    name: str
    epochs: float  # median
    seconds: float  # median
    epochs_ratio: Spread
    seconds_ratio: Spread
    unreached: float  # share of the replays that never reach the target; their cost counts as infinite

    @classmethod
    def of(cls, name: str, costs: Mapping[str, Sequence[Cost | None]]) -> "ContenderResult":
        own_costs, stock_costs = costs[name], costs[STOCK]
        epochs, stock_epochs = (
            [math.inf if cost is None else cost.epochs for cost in contender] for contender in (own_costs, stock_costs)
        )
        seconds, stock_seconds = (
            [math.inf if cost is None else cost.seconds for cost in contender] for contender in (own_costs, stock_costs)
        )
        return cls(
            name=name,
            epochs=statistics.median(epochs),
            seconds=statistics.median(seconds),
            epochs_ratio=ratio_of_medians(epochs, stock_epochs),
            seconds_ratio=ratio_of_medians(seconds, stock_seconds),
            unreached=sum(cost is None for cost in own_costs) / len(own_costs),
        )


def ratio_of_medians(first: Sequence[float], second: Sequence[float]) -> Spread:
    """Return the ratio of two medians with its 95 % interval: bootstrap percentiles over the replays of each."""
    generator = np.random.default_rng(0)
    medians = []
    for values in (first, second):
        given = np.asarray(values, dtype=float)
        medians.append(np.median(given[generator.integers(len(given), size=(DRAWS, len(given)))], axis=1))
    low, high = np.quantile(medians[0] / medians[1], (0.025, 0.975), method="inverted_cdf")  # infinite: no mean of two
    return Spread(statistics.median(first) / statistics.median(second), float(low), float(high))
