"""Early stopping of a confirmation by interim analyses, so that seeds are spent on the candidates that need them.

Repeated tests have a higher error rate than a single test, so each interim analysis has its own limit (the form of
O'Brien & Fleming 1979). All together have an error rate of 2.5 %, like the lower bound of a 95 % interval;
tests/confirmation/test_interim.py checks this by simulation.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from mnist_compact.common.statistics import threshold_text

LIMITS = {5: 0.00002, 8: 0.0006, 12: 0.0040, 16: 0.0107, 20: 0.0202}  # seeds → one-sided p below which it stops
SEEDS = max(LIMITS)
FUTILE_FROM = 8  # seeds from which a mean that is not above the threshold stops the confirmation


@dataclass(slots=True, frozen=True)
class InterimAnalysis:
    """A test of the first seeds of a confirmation against the threshold.

    Attributes:
        seeds: Number of seeds.
        mean: Mean accuracy in per cent.
        p: p value of a one-sided t-test against the threshold.
        threshold: Accuracy in per cent.
    """

    seeds: int
    mean: float
    p: float
    threshold: float

    @classmethod
    def at(cls, accuracies: Sequence[float], threshold: float) -> "InterimAnalysis":
        """Analyse the accuracies (per cent) of as many seeds as one of `LIMITS` is for."""
        from scipy.stats import t

        n, mean, sd = len(accuracies), statistics.fmean(accuracies), statistics.stdev(accuracies)
        assert n in LIMITS
        if sd == 0:
            return cls(n, mean, 0.0 if mean > threshold else 1.0, threshold)
        return cls(n, mean, float(t.sf((mean - threshold) / (sd / n**0.5), n - 1)), threshold)

    @property
    def significant(self) -> bool:
        """Whether the mean is shown to be above the threshold."""
        return self.p < LIMITS[self.seeds]

    @property
    def futile(self) -> bool:
        """Whether the mean is not above the threshold after enough seeds."""
        not_above = self.mean <= self.threshold + 1e-9  # the same tolerance as in `statistics.above`
        return not self.significant and self.seeds >= FUTILE_FROM and not_above

    @property
    def finished(self) -> bool:
        """Whether no more seeds are trained."""
        return self.significant or self.futile or self.seeds == SEEDS

    def describe(self) -> str:
        """Describe the result in one line."""
        limit = f"one-sided p = {self.p:.2g}, limit after {self.seeds} of {SEEDS} seeds: {LIMITS[self.seeds]:g}"
        claim = f"mean > {threshold_text(self.threshold)}"
        if self.significant:
            return f"{claim}: yes, {limit}"
        if self.futile:
            return f"{claim}: not shown, stopped as futile after {self.seeds} of {SEEDS} seeds, mean {self.mean:.3f}"
        return f"{claim}: {'not shown' if self.finished else 'undecided'}, {limit}"
