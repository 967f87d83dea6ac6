"""Summary statistics of several runs of one configuration."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

CONFIDENCE = 0.95
FEWEST = 5  # scores; with fewer, the standard deviation is too uncertain and the interval is only an indication
THRESHOLD = 99.4  # per cent; the aim is a higher accuracy: at least 9,941 of 10,000 images


@dataclass(slots=True, frozen=True)
class Summary:
    """Summary of scores over seeds.

    Attributes:
        n: The number of scores.
        mean: Their mean.
        sd: Their standard deviation with n - 1; None for a single score.
        minimum: The lowest score.
        maximum: The highest score.
        low: The lower end of Student's t-interval of the mean, cut off at the lowest possible score; None for a single
            score.
        high: The upper end, likewise.
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
        """Summarize scores.

        Args:
            scores: At least one score.
            least: The lowest possible score.
            most: The highest possible score.

        Raises:
            ValueError: If there are no scores.
        """
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
        """The note ` (only an indication …)` that follows the interval of few scores, or an empty string."""
        return f" (only an indication: fewer than {FEWEST} seeds)" if self.n < FEWEST else ""


def normal_scores(values: Sequence[float]) -> list[float]:
    """Return the normal quantiles of the ranks of values, at (rank - 0.5) / n; equal values share their mean rank.

    Example:
        >>> [round(score, 3) for score in normal_scores([99.1, 99.3, 9.8])]
        [0.0, 0.967, -0.967]
    """
    from scipy.stats import rankdata

    quantile = statistics.NormalDist().inv_cdf
    return [quantile((rank - 0.5) / len(values)) for rank in rankdata(values)]


def threshold_text(threshold: float) -> str:
    """Return a threshold with two decimals, like accuracies, or with more if it needs them.

    Example:
        >>> threshold_text(99.4), threshold_text(99.405)
        ('99.40', '99.405')
    """
    return f"{threshold:.2f}" if round(threshold, 2) == threshold else f"{threshold:g}"


def minutes_text(minutes: dict[str, float]) -> str:
    """Return the minutes that a run takes on each machine, as text.

    Example:
        >>> minutes_text({"one core of X": 3.6, "a GPU": 0.4})
        '3.6 minutes on one core of X, 0.4 on a GPU'
    """
    return ", ".join(f"{time:.1f} on {machine}" for machine, time in minutes.items()).replace(" on", " minutes on", 1)


def above(accuracies: Iterable[float], threshold: float) -> int:
    """Return the number of accuracies (per cent) above the threshold, tolerant of binary rounding errors."""
    return sum(accuracy > threshold + 1e-9 for accuracy in accuracies)
