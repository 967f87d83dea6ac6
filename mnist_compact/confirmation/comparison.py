"""Two confirmations paired by seed: is the difference more than noise? Also where several are compared at once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mnist_compact.common.errors import ConfigError
from mnist_compact.common.statistics import Summary
from mnist_compact.confirmation.confirmation import Confirmation
from mnist_compact.confirmation.results import SeedResults
from mnist_compact.records.record import Status

LEVEL = 0.05


def sign_flip_p(differences: Sequence[int]) -> float:
    """Two-sided and exact: of the 2ⁿ ways to give these differences their signs the share whose sum is as far from 0.

    Were two configurations alike, either might have been called the first, for each seed anew (Fisher 1935, §21). By
    the distribution of the sums, so that hundreds of seeds take no longer than a few.
    """
    import numpy as np

    reach = sum(map(abs, differences))
    chances = np.zeros(2 * reach + 1)  # of the sums -reach … reach
    chances[reach] = 1.0
    for difference in differences:
        chances = (np.roll(chances, difference) + np.roll(chances, -difference)) / 2
    as_far = np.abs(np.arange(-reach, reach + 1)) >= abs(sum(differences))
    return min(1.0, float(chances[as_far].sum()))


def holm(ps: Sequence[float]) -> list[float]:
    """p of comparisons made at once, such that among equals one below a level is found as seldom as that level says.

    However they depend on one another (Holm 1979).

    >>> holm([0.01, 0.04, 0.02])
    [0.03, 0.04, 0.04]
    """
    corrected, highest = [0.0] * len(ps), 0.0
    for rank, place in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[place]))
        corrected[place] = highest
    return corrected


@dataclass(slots=True, frozen=True)
class Comparison:
    """Mean of the differences first - second in points, its interval, and an exact sign-flip test's p."""

    names: tuple[str, str]
    n: int  # seeds in common
    difference: Summary
    p: float
    weights: tuple[str, str]  # whose scores are compared: averaged or raw, of first and second
    corrected_p: float  # the same for a comparison that was made alone
    among: int = 1  # comparisons made at once

    @classmethod
    def between(cls, first: SeedResults, second: SeedResults) -> "Comparison":
        """Raises ConfigError for scores of different splits, fewer than two common seeds, or one that diverged."""
        cls.check(second, first.confirmation, [result.seed for result in first.seeds])
        _check_none_diverged(first)
        one, other = ({result.seed: result.score for result in some.completed} for some in (first, second))
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
        """Raises ConfigError where `confirmation`, once its `seeds` are trained, could not be compared with `other`."""
        names = f"{confirmation.name} and {other.confirmation.name}"
        if confirmation.split != other.confirmation.split:
            splits = f"{confirmation.split} and {other.confirmation.split}"
            raise ConfigError([f"{names} are scored on different splits: {splits}"])
        _check_none_diverged(other)
        common = len(other.accuracy_by_seed().keys() & set(seeds))
        if common < 2:
            raise ConfigError([f"{names} would have {common} of two seeds in common that a paired comparison needs"])

    def told(self) -> str:
        summary = self.difference
        unlike = "" if len(set(self.weights)) == 1 else f" ({self.weights[0]} - {self.weights[1]} weights)"
        found = f"{self.names[0]} - {self.names[1]}{unlike}: {summary.mean:+.3f} points over {self.n} common seeds"
        spread = "the same for each"
        if summary.sd:
            spread = f"95 % interval [{summary.low:+.3f}, {summary.high:+.3f}]"
        holms = f", {self.corrected_p:.2g} by Holm for {self.among} comparisons" if self.among > 1 else ""
        return f"{found}, {spread}; exact sign-flip p = {self.p:.2g}{holms}: {self._finding()}"

    def _finding(self) -> str:
        if self.corrected_p < LEVEL:
            return "more than noise"
        # A test that finds nothing does not find that there is nothing.
        least = 2.0 ** (1 - self.n)
        return f"{self.n} seeds are too few to show anything" if least >= LEVEL else "not shown to be more than noise"

    def _repr_html_(self) -> str:
        """In a notebook: the sentence."""
        import html

        return f"<p>{html.escape(self.told())}</p>"


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
    found = holm([each.p for each in comparisons])
    return [replace(each, corrected_p=p, among=len(comparisons)) for each, p in zip(comparisons, found, strict=True)]


def _check_none_diverged(seed_results: SeedResults) -> None:
    lost = [result.seed for result in seed_results.seeds if result.status != Status.COMPLETED]
    if lost:
        found = f"{len(lost)} of {seed_results.asked} seeds of {seed_results.confirmation.name} diverged"
        raise ConfigError([f"{found}: a comparison of the others would flatter it"])
