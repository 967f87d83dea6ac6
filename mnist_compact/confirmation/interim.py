"""A confirmation that ends as soon as its seeds tell: for candidates, to spend seeds on those that need them.

A test looked at five times errs more often than once, so each look has a limit of its own (O'Brien & Fleming's form);
together they err in 2.5 % of the cases, as the lower bound of a 95 % interval does. tests/confirm simulate it.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from mnist_compact.common.statistics import threshold_text

LIMITS = {5: 0.00002, 8: 0.0006, 12: 0.0040, 16: 0.0107, 20: 0.0202}  # seeds → one-sided p that ends it
SEEDS = max(LIMITS)
GIVE_UP_FROM = 8  # seeds: with a mean that is not above the threshold, it ends


@dataclass(slots=True, frozen=True)
class InterimAnalysis:
    """At the accuracies (per cent) of the first `seeds` seeds."""

    seeds: int
    mean: float
    p: float  # one-sided, of a t-test against the threshold
    threshold: float

    @classmethod
    def at(cls, accuracies: Sequence[float], threshold: float) -> "InterimAnalysis":
        """There must be a limit for so many."""
        from scipy.stats import t

        n, mean, sd = len(accuracies), statistics.fmean(accuracies), statistics.stdev(accuracies)
        assert n in LIMITS
        if sd == 0:
            return cls(n, mean, 0.0 if mean > threshold else 1.0, threshold)
        return cls(n, mean, float(t.sf((mean - threshold) / (sd / n**0.5), n - 1)), threshold)

    @property
    def above(self) -> bool:
        """Whether the mean is shown to be above the threshold."""
        return self.p < LIMITS[self.seeds]

    @property
    def given_up(self) -> bool:
        return (
            not self.above and self.seeds >= GIVE_UP_FROM and self.mean <= self.threshold + 1e-9
        )  # as `summary.above`

    @property
    def ended(self) -> bool:
        return self.above or self.given_up or self.seeds == SEEDS

    def told(self) -> str:
        limit = f"one-sided p = {self.p:.2g}, limit after {self.seeds} of {SEEDS} seeds: {LIMITS[self.seeds]:g}"
        claim = f"mean > {threshold_text(self.threshold)}"
        if self.above:
            return f"{claim}: yes, {limit}"
        if self.given_up:
            return f"{claim}: given up after {self.seeds} of {SEEDS} seeds, mean {self.mean:.3f}"
        return f"{claim}: {'not shown' if self.ended else 'open'}, {limit}"
