"""What the seeds of a confirmation say: their scores, a summary, a verdict against a bar, a comparison of two."""

import statistics
from dataclasses import dataclass
from pathlib import Path

from mnist_compact.confirm.confirmation import Confirmation
from mnist_compact.confirm.crew import home_of
from mnist_compact.faults import ConfigError
from mnist_compact.results.record import RecordError, RunRecord, Score, Status
from mnist_compact.results.summary import Summary, above, bar_text


@dataclass(slots=True, frozen=True)
class SeedResult:
    """One seed's run. `score` is the final one."""

    seed: int
    status: str
    score: Score | None
    raw: Score | None  # the last epoch's own weights
    seconds: float
    parameters: int | None
    processor: str


@dataclass(slots=True, frozen=True)
class Evidence:
    """Of the seeds asked for those that have ended."""

    confirmation: Confirmation
    seeds: list[SeedResult]
    asked: int

    @classmethod
    def gather(cls, folder: Path, seeds: list[int]) -> "Evidence":
        """Of those among `seeds` whose run can be read and has ended."""
        confirmation = Confirmation.read(folder)
        found = (_result(folder, seed, confirmation.split) for seed in seeds)
        return cls(confirmation, [result for result in found if result is not None], len(seeds))

    @property
    def completed(self) -> list[SeedResult]:
        return [result for result in self.seeds if result.status == Status.COMPLETED]

    @property
    def accuracies(self) -> list[float]:
        return [result.score.accuracy for result in self.completed if result.score is not None]

    def accuracy_by_seed(self) -> dict[int, float]:
        return {result.seed: result.score.accuracy for result in self.completed if result.score is not None}

    @property
    def failed(self) -> int:
        """How many of the seeds asked for have no score to show."""
        return self.asked - len(self.accuracies)

    @property
    def weights(self) -> str:
        """averaged or raw: whose scores these are."""
        averaged = any(result.score is not None and result.score.weights == "averaged" for result in self.completed)
        return "averaged" if averaged else "raw"

    def summary(self) -> Summary:
        """Raises ConfigError where no seed was completed."""
        if not self.accuracies:
            raise ConfigError([f"no seed of {self.confirmation.name} has been completed"])
        return Summary.of(self.accuracies)

    def mean_loss(self) -> float:
        return statistics.fmean(result.score.loss for result in self.completed if result.score is not None)

    def above(self, bar: float) -> int:
        """How many seeds have more than `bar`; one that diverged has not."""
        return above(self.accuracies, bar)

    def verdict(self, bar: float) -> str:
        """Whether the mean is above `bar`, at the interval's confidence, in words."""
        claim = f"mean > {bar_text(bar)}"
        diverged = len(self.seeds) - len(self.accuracies)
        if diverged:
            return f"{claim}: no, {diverged} of {self.asked} seeds diverged"
        if self.failed:
            return f"{claim}: not shown, {self.failed} of {self.asked} seeds could not be trained"
        summary = self.summary()
        if summary.low is None or summary.high is None:
            return f"{claim}: not shown, one seed has no interval"
        if summary.low > bar:
            return f"{claim}: yes, lower bound {summary.low:.3f}"
        if summary.high <= bar + 1e-9:  # as in `above`
            return f"{claim}: no, upper bound {summary.high:.3f}"
        return f"{claim}: not shown, interval {summary.low:.3f} to {summary.high:.3f}"


@dataclass(slots=True, frozen=True)
class Comparison:
    """Paired by seed: mean of the differences first - second in points, its interval, and a paired t-test's p.

    Without a p where all differences are alike: scores are counts of images, so a few seeds may agree so by chance.
    """

    n: int
    difference: Summary
    p: float | None
    weights: tuple[str, str]  # whose scores are compared: averaged or raw, of first and second

    @classmethod
    def between(cls, first: Evidence, second: Evidence) -> "Comparison":
        """Raises ConfigError for scores of different splits, fewer than two common seeds, or one that diverged."""
        cls.check(second, first.confirmation, [result.seed for result in first.seeds])
        _check_none_diverged(first)
        one, other = first.accuracy_by_seed(), second.accuracy_by_seed()
        common = sorted(one.keys() & other.keys())
        from scipy.stats import ttest_rel

        differences = [round(one[seed] - other[seed], 6) for seed in common]
        p = None
        if len(set(differences)) > 1:
            p = float(ttest_rel([one[seed] for seed in common], [other[seed] for seed in common]).pvalue)
        return cls(len(common), Summary.of(differences), p, (first.weights, second.weights))

    @staticmethod
    def check(other: Evidence, confirmation: Confirmation, seeds: list[int]) -> None:
        """Raises ConfigError where `confirmation`, once its `seeds` are trained, could not be compared with `other`."""
        names = f"{confirmation.name} and {other.confirmation.name}"
        if confirmation.split != other.confirmation.split:
            splits = f"{confirmation.split} and {other.confirmation.split}"
            raise ConfigError([f"{names} are scored on different splits: {splits}"])
        _check_none_diverged(other)
        common = len(other.accuracy_by_seed().keys() & set(seeds))
        if common < 2:
            raise ConfigError([f"{names} would have {common} of two seeds in common that a paired comparison needs"])

    def told(self, first: str, second: str, level: float = 0.05) -> str:
        summary = self.difference
        unlike = "" if len(set(self.weights)) == 1 else f" ({self.weights[0]} - {self.weights[1]} weights)"
        found = f"{first} - {second}{unlike}: {summary.mean:+.3f} points over {self.n} common seeds"
        if self.p is None:
            return f"{found}, the same for each: without spread no test can tell it from noise"
        # A test that finds nothing does not find that there is nothing.
        finding = "more than noise" if self.p < level else "not shown to be more than noise"
        return (
            f"{found}, 95 % interval [{summary.low:+.3f}, {summary.high:+.3f}]; "
            f"paired t-test p = {self.p:.2g}: {finding}"
        )


def _check_none_diverged(evidence: Evidence) -> None:
    lost = [result.seed for result in evidence.seeds if result.status != Status.COMPLETED]
    if lost:
        found = f"{len(lost)} of {evidence.asked} seeds of {evidence.confirmation.name} diverged"
        raise ConfigError([f"{found}: a comparison of the others would flatter it"])


def _result(folder: Path, seed: int, split: str) -> SeedResult | None:
    try:
        record = RunRecord.read(home_of(folder, seed))
    except RecordError:
        return None
    if record.status not in (Status.COMPLETED, Status.DIVERGED):
        return None
    return SeedResult(
        seed=seed,
        status=record.status,
        score=record.final,
        raw=record.score(split),
        seconds=record.seconds,
        parameters=record.network.parameters,
        processor=record.environment.get("processor", "unknown"),
    )
