"""Several runs of one configuration in a few numbers."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

CONFIDENCE = 0.95
FEWEST = 5  # scores; an interval of fewer is only an indication, for their spread says little about the spread of all
THRESHOLD = 99.4  # per cent: the mission is for more, which is at least 9,941 of 10,000


@dataclass(slots=True, frozen=True)
class Summary:
    """Of scores over seeds: standard deviation with n - 1, and Student's t-interval of the mean.

    The interval ends where scores do. One score alone has neither; both are None then.
    """

    n: int
    mean: float
    sd: float | None
    minimum: float
    maximum: float
    low: float | None
    high: float | None

    @classmethod
    def of(cls, scores: Sequence[float], *, least: float = 0.0, most: float = 100.0) -> Self:
        """Sum up scores that lie from `least` to `most` by their nature. Raises ValueError for no scores at all."""
        if not scores:
            raise ValueError("a summary needs at least one score")
        n, mean = len(scores), statistics.fmean(scores)
        if n == 1:
            return cls(n, mean, None, mean, mean, None, None)
        from scipy.stats import t

        sd = statistics.stdev(scores)
        half = float(t.ppf((1 + CONFIDENCE) / 2, n - 1)) * sd / n**0.5
        return cls(n, mean, sd, min(scores), max(scores), max(least, mean - half), min(most, mean + half))

    @property
    def caution(self) -> str:
        """The words ` (only an indication …)` to stand behind an interval of few scores, or none."""
        return f" (only an indication: fewer than {FEWEST} seeds)" if self.n < FEWEST else ""


def threshold_text(threshold: float) -> str:
    """With two decimals, as accuracies have, or as many as it needs.

    >>> threshold_text(99.4), threshold_text(99.405)
    ('99.40', '99.405')
    """
    return f"{threshold:.2f}" if round(threshold, 2) == threshold else f"{threshold:g}"


def minutes_text(minutes: dict[str, float]) -> str:
    """Of a run, by the machine it ran on.

    >>> minutes_text({"one core of X": 3.6, "a GPU": 0.4})
    '3.6 minutes on one core of X, 0.4 on a GPU'
    """
    return ", ".join(f"{time:.1f} on {machine}" for machine, time in minutes.items()).replace(" on", " minutes on", 1)


def above(accuracies: Iterable[float], threshold: float) -> int:
    """How many accuracies (per cent) are above the threshold, rounding errors of binary numbers aside."""
    return sum(accuracy > threshold + 1e-9 for accuracy in accuracies)
