"""Comparisons of confirmations, paired by seed: is a difference significant, also when several are compared at once?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mnist_compact.common.errors import ConfigError
from mnist_compact.common.statistics import Summary
from mnist_compact.common.wording import counted
from mnist_compact.confirmation.confirmation import Confirmation
from mnist_compact.confirmation.results import SeedResults
from mnist_compact.records.record import Status

LEVEL = 0.05


def sign_flip_p(differences: Sequence[int]) -> float:
    """Compute the two-sided p value of an exact sign-flip test.

    If two configurations are equal, the sign of each difference is arbitrary (Fisher 1935, §21). The p value is the
    share of the 2ⁿ sign patterns whose sum is at least as far from 0 as the observed one. The computation goes through
    the distribution of the sums, so hundreds of seeds take no longer than a few.

    Args:
        differences: One difference for each pair, in images.

    Returns:
        A value in (0, 1].
    """
    import numpy as np

    reach = sum(map(abs, differences))
    chances = np.zeros(2 * reach + 1)  # of the sums -reach … reach
    chances[reach] = 1.0
    for difference in differences:
        chances = (np.roll(chances, difference) + np.roll(chances, -difference)) / 2
    as_extreme = np.abs(np.arange(-reach, reach + 1)) >= abs(sum(differences))
    return min(1.0, float(chances[as_extreme].sum()))


def holm(ps: Sequence[float]) -> list[float]:
    """Correct the p values of several comparisons (Holm 1979).

    The corrected values control the probability of at least one false positive, whatever the dependence between the
    comparisons.

    Args:
        ps: One p value for each comparison.

    Returns:
        The corrected p values in the order of `ps`.

    Example:
        >>> holm([0.01, 0.04, 0.02])
        [0.03, 0.04, 0.04]
    """
    corrected, highest = [0.0] * len(ps), 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[index]))
        corrected[index] = highest
    return corrected


@dataclass(slots=True, frozen=True)
class Comparison:
    """A comparison of two confirmations, paired by seed.

    Attributes:
        names: Names of the first and the second confirmation.
        n: Number of common seeds.
        difference: Summary of the differences first - second, in percentage points.
        p: p value of the exact sign-flip test.
        weights: Weights of the first and of the second confirmation: averaged or raw.
        corrected_p: p value corrected for all comparisons that were made at once.
        comparisons: Number of comparisons that were made at once.
    """

    names: tuple[str, str]
    n: int
    difference: Summary
    p: float
    weights: tuple[str, str]
    corrected_p: float
    comparisons: int = 1

    @classmethod
    def between(cls, first: SeedResults, second: SeedResults) -> "Comparison":
        """Compare two confirmations.

        Raises:
            ConfigError: The splits differ, fewer than two seeds are common, or a seed diverged.
        """
        cls.check(second, first.confirmation, [result.seed for result in first.seeds])
        _check_none_diverged(first)
        one, other = ({result.seed: result.score for result in each.completed} for each in (first, second))
        pairs = [(one[seed], other[seed]) for seed in sorted(one.keys() & other.keys())]
        scores = [(a, b) for a, b in pairs if a is not None and b is not None]
        names = first.confirmation.name, second.confirmation.name
        if any(a.total != b.total for a, b in scores):
            raise ConfigError([f"{names[0]} and {names[1]} are scored on different numbers of images"])
        images = [a.correct - b.correct for a, b in scores]
        points = Summary.of([round(a.accuracy - b.accuracy, 6) for a, b in scores], least=-100.0)
        p = sign_flip_p(images)
        return cls(names, len(scores), points, p, (first.weights, second.weights), corrected_p=p)

    @staticmethod
    def check(other: SeedResults, confirmation: Confirmation, seeds: list[int]) -> None:
        """Check before any training that a confirmation can be compared with `other`.

        Args:
            other: The results to compare with.
            confirmation: The confirmation whose `seeds` will be trained.
            seeds: The seeds.

        Raises:
            ConfigError: The splits differ, fewer than two seeds are common, or a seed of `other` diverged.
        """
        names = f"{confirmation.name} and {other.confirmation.name}"
        if confirmation.split != other.confirmation.split:
            splits = f"{confirmation.split} and {other.confirmation.split}"
            raise ConfigError([f"{names} are scored on different splits: {splits}"])
        _check_none_diverged(other)
        common = len(other.accuracy_by_seed().keys() & set(seeds))
        if common < 2:
            raise ConfigError([f"a paired comparison needs at least two common seeds; {names} would have {common}"])

    def describe(self) -> str:
        """Describe the difference, its interval and the test in one sentence."""
        summary = self.difference
        weights = "" if len(set(self.weights)) == 1 else f" ({self.weights[0]} - {self.weights[1]} weights)"
        difference = (
            f"{self.names[0]} - {self.names[1]}{weights}: {summary.mean:+.3f} points over {self.n} common seeds"
        )
        spread = "the same difference for every seed"
        if summary.sd:
            spread = f"95 % interval [{summary.low:+.3f}, {summary.high:+.3f}]"
        correction = ""
        if self.comparisons > 1:
            correction = f", {self.corrected_p:.2g} after Holm's correction for {self.comparisons} comparisons"
        return f"{difference}, {spread}; exact sign-flip p = {self.p:.2g}{correction}: {self._conclusion()}"

    def _conclusion(self) -> str:
        if self.corrected_p < LEVEL:
            return "significant"
        smallest = 2.0 ** (1 - self.n)  # the smallest p value that n pairs can give
        return f"{self.n} seeds are too few for a significant result" if smallest >= LEVEL else "not significant"

    def _repr_html_(self) -> str:
        """Show the sentence of `describe` in a notebook."""
        import html

        return f"<p>{html.escape(self.describe())}</p>"


def compare(first: SeedResults, *others: SeedResults) -> list[Comparison]:
    """Compare the results of one confirmation with those of others, paired by seed.

    Args:
        first: The results that the others are subtracted from.
        others: One or more other confirmations on the same split. Holm's correction is applied to their p values.

    Returns:
        One comparison for each of `others`, in their order.

    Raises:
        ConfigError: The splits differ, fewer than two seeds are common, or a seed diverged.
    """
    comparisons = [Comparison.between(first, other) for other in others]
    corrected = holm([each.p for each in comparisons])
    n = len(comparisons)
    return [replace(each, corrected_p=p, comparisons=n) for each, p in zip(comparisons, corrected, strict=True)]


def _check_none_diverged(seed_results: SeedResults) -> None:
    diverged = [result.seed for result in seed_results.seeds if result.status != Status.COMPLETED]
    if diverged:
        requested = counted(len(seed_results.requested), "seed")
        seeds = f"{len(diverged)} of {requested} of {seed_results.confirmation.name} diverged"
        raise ConfigError([f"{seeds}: a comparison of the other seeds would be biased upward"])
