"""What the seeds of a confirmation say: their scores, a summary, a verdict against a threshold."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_compact.common.errors import ConfigError
from mnist_compact.common.run_files import RECORD
from mnist_compact.common.statistics import CONFIDENCE, FEWEST, THRESHOLD, Summary, above, threshold_text
from mnist_compact.common.wording import counted
from mnist_compact.confirmation.confirmation import Confirmation
from mnist_compact.confirmation.interim import LIMITS, InterimAnalysis
from mnist_compact.confirmation.preregistration import FILENAME as PLAN
from mnist_compact.confirmation.preregistration import Preregistration
from mnist_compact.confirmation.seed_pool import home_of
from mnist_compact.records.correct_bits import read_bits
from mnist_compact.records.record import RecordError, RunRecord, Score, Status

if TYPE_CHECKING:
    import pandas as pd


@dataclass(slots=True, frozen=True)
class SeedResult:
    """One seed's run. `score` is the final one."""

    seed: int
    status: str
    score: Score | None
    raw: Score | None  # the last epoch's own weights
    seconds: float
    parameters: int | None
    machine: str  # in words
    begun_at: str | None  # ISO 8601 with time zone
    bits: bytes | None  # which images it got right (see results.correctness); None in records of earlier versions


@dataclass(slots=True, frozen=True)
class SeedResults:
    """Of the seeds asked for those that have ended."""

    confirmation: Confirmation
    seeds: list[SeedResult]
    wanted: list[int]  # the seeds asked for
    plan: Preregistration | None = None  # that was written before
    threshold: float = THRESHOLD  # per cent, that the claim is about
    early: InterimAnalysis | None = None  # where it was to end as soon as the seeds tell
    refused: Sequence[str] = ()  # why a seed whose record is there does not count, a sentence for each

    @classmethod
    def gather(cls, folder: Path, seeds: list[int], threshold: float = THRESHOLD) -> "SeedResults":
        """Of those among `seeds` whose run can be read and has ended."""
        confirmation = Confirmation.read(folder)
        plan = Preregistration.read(folder / PLAN) if (folder / PLAN).exists() else None
        found, refused = [], []
        for seed in seeds:
            try:
                found.append(_result(folder, seed, confirmation.split))
            except RecordError as error:
                if (home_of(folder, seed) / RECORD).exists():
                    refused.append(f"seed {seed} does not count: {error}")
        ended = [result for result in found if result is not None]
        return cls(confirmation, ended, seeds, plan, threshold, refused=refused)

    @property
    def asked(self) -> int:
        return len(self.wanted)

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

    def minutes(self) -> dict[str, float]:
        """A run took, on average, by the machine that it ran on."""
        seconds: dict[str, list[float]] = {}
        for result in self.completed:
            seconds.setdefault(result.machine, []).append(result.seconds)
        return {machine: statistics.fmean(times) / 60 for machine, times in seconds.items()}

    def above(self) -> int:
        """How many seeds have more than the threshold; one that diverged has not."""
        return above(self.accuracies, self.threshold)

    def on_new_digits(self) -> tuple[float, float] | None:
        """The interval, in per cent, of the mean over new seeds on new images of the kind, beside that of new seeds on
        these: see `resampling`. None where a seed's bits are not known, one was not completed, or there is one alone.
        """
        bits = [result.bits for result in self.completed if result.bits is not None]
        totals = {result.score.total for result in self.completed if result.score is not None}
        if len(bits) < max(2, self.asked) or len(totals) != 1:
            return None
        from mnist_compact.confirmation.bootstrap import crossed_interval, unpacked

        return crossed_interval(unpacked(bits, totals.pop()))

    def verdict(self) -> str:
        """Whether the mean is above the threshold, at the interval's confidence, in words."""
        claim, threshold = f"mean > {threshold_text(self.threshold)}", self.threshold
        diverged = len(self.seeds) - len(self.accuracies)
        if diverged:
            return f"{claim}: no, {diverged} of {self.asked} seeds diverged"
        if self.failed:
            return f"{claim}: not shown, {self.failed} of {self.asked} seeds could not be trained"
        if self.early is not None:
            return self.early.told()
        summary = self.summary()
        if summary.low is None or summary.high is None:
            return f"{claim}: not shown, one seed has no interval"
        if summary.low > threshold:
            return f"{claim}: yes, lower bound {summary.low:.3f}{summary.caution}"
        if summary.high <= threshold + 1e-9:  # as in `above`
            return f"{claim}: no, upper bound {summary.high:.3f}{summary.caution}"
        return f"{claim}: not shown, interval {summary.low:.3f} to {summary.high:.3f}{summary.caution}"

    def deviations(self) -> list[str]:
        """In what this is not what was planned; none without a plan."""
        if self.plan is None:
            return []
        begun = {result.seed: result.begun_at for result in self.seeds if result.begun_at is not None}
        # One that ended early was to have all the seeds its limits are for.
        seeds = self.wanted if self.early is None else self.confirmation.seeds(max(LIMITS))
        return self.plan.deviations(
            self.confirmation, seeds, self.threshold, stop_early=self.early is not None, begun=begun
        )

    def notes(self) -> list[str]:
        """What stands beside the verdict: refused records, the interval for new digits if it is known, the plan."""
        interval, found = self.on_new_digits(), [*self.refused]
        if interval is not None:
            told = f"{100 * CONFIDENCE:g} % interval {interval[0]:.3f} to {interval[1]:.3f}"
            found.append(f"on new digits, too: {told} (seeds and images resampled){self.summary().caution}")
        if self.plan is not None:
            planned = f"planned at {self.plan.planned_at} (configuration {self.plan.digest[:12]})"
            deviations = self.deviations()
            found.append(f"{planned}: {'; '.join(['not followed', *deviations]) if deviations else 'followed'}")
        return found

    def __repr__(self) -> str:
        """The summary and the verdict, without the seeds."""
        return to_plain_text(self)

    def _repr_html_(self) -> str:
        """In a notebook: every seed, their summary, the verdict."""
        return to_html(self)


def _result(folder: Path, seed: int, split: str) -> SeedResult | None:
    """None for a run that has not ended. Raises RecordError."""
    home = home_of(folder, seed)
    record = RunRecord.read(home)
    if record.status not in (Status.COMPLETED, Status.DIVERGED):
        return None
    score = record.final
    return SeedResult(
        seed=seed,
        status=record.status,
        score=score,
        raw=record.score(split),
        seconds=record.seconds,
        parameters=record.network.parameters,
        machine=_machine(record.environment),
        begun_at=record.started_at,
        bits=None if score is None else read_bits(home, correct=score.correct, total=score.total),
    )


def _machine(environment: dict[str, Any]) -> str:
    """The GPU, or the cores that were in use."""
    device, threads = environment.get("device", "cpu"), environment.get("threads", 1)
    cores = "one core" if threads == 1 else f"{threads} cores"
    return f"{cores} of {environment.get('processor', 'unknown')}" if device == "cpu" else device


def to_html(seed_results: SeedResults) -> str:
    """Every seed, their summary and the verdict, for a notebook."""
    from mnist_compact.common.tables import to_html_fragment

    *above, last = [seeds_table(seed_results), *([summary_table(seed_results)] if seed_results.accuracies else [])]
    return "".join([*map(to_html_fragment, above), to_html_fragment(last, sentences(seed_results))])


def to_plain_text(seed_results: SeedResults) -> str:
    """The summary and the verdict, for `print`."""
    from mnist_compact.common.tables import to_text

    table = to_text(summary_table(seed_results)) if seed_results.accuracies else ""
    return table + "\n".join(sentences(seed_results))


def sentences(seed_results: SeedResults) -> list[str]:
    """What was measured, what is to be known of it, the verdict."""
    about, notes = seed_results.confirmation, seed_results.notes()
    if about.split == "test" and seed_results.plan is None:
        notes.append("no plan was written before the test images were read")
    measured = f"{about.source}: {about.split} accuracy in per cent at the last epoch, {seed_results.weights} weights"
    return [measured, *notes, seed_results.verdict()]


def seeds_table(seed_results: SeedResults) -> "pd.DataFrame":
    """One row for each seed asked for."""
    import pandas as pd

    averaged = seed_results.weights == "averaged"
    rows = [
        {
            "seed": result.seed,
            "status": str(result.status),
            "accuracy %": None if score is None else score.accuracy,
            "loss": None if score is None else score.loss,
            **({"raw accuracy %": None if raw is None else raw.accuracy} if averaged else {}),
            "seconds": result.seconds,
        }
        for result in seed_results.seeds
        for score, raw in [(result.score, result.raw) if result in seed_results.completed else (None, None)]
    ]
    return pd.DataFrame(rows)


def rounds_to_html(rounds: list[tuple[int, list[SeedResults]]]) -> str:
    """All rounds of a ranking, with the seeds of each, for a notebook."""
    from mnist_compact.common.tables import to_html_fragment

    return "".join(
        to_html_fragment(standings_table(standings), [round_title(number, seeds, standings)])
        for number, (seeds, standings) in enumerate(rounds, 1)
    )


def rounds_to_plain_text(rounds: list[tuple[int, list[SeedResults]]]) -> str:
    """All rounds of a ranking, for `print`."""
    from mnist_compact.common.tables import to_text

    return "\n".join(
        f"{round_title(number, seeds, standings)}\n{to_text(standings_table(standings))}"
        for number, (seeds, standings) in enumerate(rounds, 1)
    )


def round_title(number: int, seeds: int, standings: list[SeedResults]) -> str:
    few = f"; with fewer than {FEWEST} seeds an interval is only an indication" if seeds < FEWEST else ""
    return f"round {number}: {counted(len(standings), 'candidate')}, {counted(seeds, 'seed')} each{few}"


def standings_table(standings: list[SeedResults]) -> "pd.DataFrame":
    """One row for each candidate of a ranking."""
    import pandas as pd

    rows = [
        {
            "trial": seed_results.confirmation.source.removeprefix("trial "),
            "weights": seed_results.weights,
            **(_summary(seed_results) if seed_results.accuracies else {"n": 0}),
        }
        for seed_results in standings
    ]
    return pd.DataFrame(rows)


def summary_table(seed_results: SeedResults) -> "pd.DataFrame":
    """One row."""
    import pandas as pd

    return pd.DataFrame([_summary(seed_results)])


def _summary(seed_results: SeedResults) -> dict[str, object]:
    summary = seed_results.summary()
    return {
        "n": summary.n,
        "mean": summary.mean,
        "sd": summary.sd,
        "min": summary.minimum,
        "max": summary.maximum,
        "95 % low": summary.low,
        "95 % high": summary.high,
        f"seeds > {threshold_text(seed_results.threshold)}": f"{seed_results.above()}/{seed_results.asked}",
        "loss": seed_results.mean_loss(),
        "parameters": seed_results.completed[0].parameters,
    }
