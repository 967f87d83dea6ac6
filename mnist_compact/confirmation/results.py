"""The results of a confirmation: the scores of its seeds, their summary, the conclusion about the threshold."""

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
from mnist_compact.confirmation.seed_pool import seed_folder
from mnist_compact.records.correct_bits import read_bits
from mnist_compact.records.record import RecordError, RunRecord, Score, Status

if TYPE_CHECKING:
    import pandas as pd


@dataclass(slots=True, frozen=True)
class SeedResult:
    """The run of one seed.

    Attributes:
        seed: The seed.
        status: Status of the run: completed or diverged.
        score: The final score.
        raw: The score of the raw weights after the last epoch.
        seconds: Duration of training and evaluation.
        parameters: Number of parameters of the network.
        machine: The processor and the number of cores, or the GPU.
        started_at: Time at which the run was started, ISO 8601 with time zone.
        bits: Packed bits of the images that were classified correctly (see `records.correct_bits`). None if the record
            is from an earlier version.
    """

    seed: int
    status: str
    score: Score | None
    raw: Score | None
    seconds: float
    parameters: int | None
    machine: str
    started_at: str | None
    bits: bytes | None


@dataclass(slots=True, frozen=True)
class SeedResults:
    """The results of the requested seeds that have ended.

    Attributes:
        confirmation: The confirmation.
        seeds: One result for each requested seed that has ended.
        requested: The requested seeds.
        plan: The preregistration, if there is one.
        threshold: Accuracy in per cent that the mean is compared with.
        interim: The last interim analysis, if the confirmation could stop early.
        excluded: For each seed whose record exists but does not count, the reason.
    """

    confirmation: Confirmation
    seeds: list[SeedResult]
    requested: list[int]
    plan: Preregistration | None = None
    threshold: float = THRESHOLD
    interim: InterimAnalysis | None = None
    excluded: Sequence[str] = ()

    @classmethod
    def gather(cls, folder: Path, seeds: list[int], threshold: float | None = None) -> "SeedResults":
        """Read the results of the seeds whose runs have ended.

        Args:
            folder: Folder of the confirmation.
            seeds: The requested seeds.
            threshold: Accuracy in per cent that the mean is compared with; None means that of the preregistration, or
                99.4 without one.

        Raises:
            ConfigError: The folder holds no confirmation, or its preregistration cannot be read.
        """
        confirmation = Confirmation.read(folder)
        plan = Preregistration.read(folder / PLAN) if (folder / PLAN).exists() else None
        if threshold is None:
            threshold = THRESHOLD if plan is None else plan.threshold
        results, excluded = [], []
        for seed in seeds:
            try:
                results.append(_result(folder, seed, confirmation.split))
            except RecordError as error:
                if (seed_folder(folder, seed) / RECORD).exists():
                    excluded.append(f"seed {seed} does not count: {error}")
        ended = [result for result in results if result is not None]
        return cls(confirmation, ended, seeds, plan, threshold, excluded=excluded)

    @property
    def completed(self) -> list[SeedResult]:
        """The results of the seeds that completed their run."""
        return [result for result in self.seeds if result.status == Status.COMPLETED]

    @property
    def accuracies(self) -> list[float]:
        """The accuracies of the completed seeds in per cent."""
        return [result.score.accuracy for result in self.completed if result.score is not None]

    def accuracy_by_seed(self) -> dict[int, float]:
        """Return the accuracy of each completed seed in per cent."""
        return {result.seed: result.score.accuracy for result in self.completed if result.score is not None}

    @property
    def failed(self) -> int:
        """Number of requested seeds without a score."""
        return len(self.requested) - len(self.accuracies)

    @property
    def weights(self) -> str:
        """The weights that the scores are of: averaged or raw."""
        averaged = any(result.score is not None and result.score.weights == "averaged" for result in self.completed)
        return "averaged" if averaged else "raw"

    def summary(self) -> Summary:
        """Summarise the accuracies.

        Raises:
            ConfigError: No seed was completed.
        """
        if not self.accuracies:
            raise ConfigError([f"no seed of {self.confirmation.name} has been completed"])
        return Summary.of(self.accuracies)

    def mean_loss(self) -> float:
        """Return the mean log-loss of the completed seeds."""
        return statistics.fmean(result.score.loss for result in self.completed if result.score is not None)

    def mean_calibrated_loss(self) -> float | None:
        """The mean calibrated log-loss of the completed seeds; None if records of an earlier version lack it."""
        losses = [result.score.calibrated_loss for result in self.completed if result.score is not None]
        known = [loss for loss in losses if loss is not None]
        return statistics.fmean(known) if known and len(known) == len(losses) else None

    def minutes(self) -> dict[str, float]:
        """Return the mean duration of a run in minutes, for each machine."""
        seconds: dict[str, list[float]] = {}
        for result in self.completed:
            seconds.setdefault(result.machine, []).append(result.seconds)
        return {machine: statistics.fmean(times) / 60 for machine, times in seconds.items()}

    def above(self) -> int:
        """Return the number of seeds above the threshold. A seed that diverged is not above it."""
        return above(self.accuracies, self.threshold)

    def on_new_digits(self) -> tuple[float, float] | None:
        """Compute the interval of the mean over new seeds on new images (see `bootstrap`).

        Returns:
            The bounds in per cent. None if there is only one seed, if a seed was not completed, or if it is not known
            which images a seed classified correctly.
        """
        bits = [result.bits for result in self.completed if result.bits is not None]
        totals = {result.score.total for result in self.completed if result.score is not None}
        if len(bits) < max(2, len(self.requested)) or len(totals) != 1:
            return None
        from mnist_compact.confirmation.bootstrap import crossed_interval, unpacked

        return crossed_interval(unpacked(bits, totals.pop()))

    def conclusion(self) -> str:
        """State whether the mean is above the threshold, at the confidence of the interval."""
        claim, threshold = f"mean > {threshold_text(self.threshold)}", self.threshold
        diverged = len(self.seeds) - len(self.accuracies)
        if diverged:
            return f"{claim}: no, {diverged} of {counted(len(self.requested), 'seed')} diverged"
        if self.failed:
            return f"{claim}: not shown, {self.failed} of {counted(len(self.requested), 'seed')} could not be trained"
        if self.interim is not None:
            return self.interim.describe()
        summary = self.summary()
        if summary.low is None or summary.high is None:
            return f"{claim}: not shown, a single seed has no interval"
        if summary.low > threshold:
            return f"{claim}: yes, lower bound {summary.low:.3f}{summary.caution}"
        if summary.high <= threshold + 1e-9:  # the same tolerance as in `above`
            return f"{claim}: no, upper bound {summary.high:.3f}{summary.caution}"
        return f"{claim}: not shown, interval {summary.low:.3f} to {summary.high:.3f}{summary.caution}"

    def deviations(self) -> list[str]:
        """List how the confirmation differs from its preregistration; empty without a preregistration."""
        if self.plan is None:
            return []
        started = {result.seed: result.started_at for result in self.seeds if result.started_at is not None}
        # A confirmation that stopped early was planned with all the seeds of its limits.
        seeds = self.requested if self.interim is None else self.confirmation.seeds(max(LIMITS))
        return self.plan.deviations(
            self.confirmation, seeds, self.threshold, stop_early=self.interim is not None, started=started
        )

    def notes(self) -> list[str]:
        """List excluded seeds, the interval for new images, and whether the preregistration was followed."""
        interval, lines = self.on_new_digits(), [*self.excluded]
        if interval is not None:
            bounds = f"{100 * CONFIDENCE:g} % interval {interval[0]:.3f} to {interval[1]:.3f}"
            lines.append(f"new seeds on new images: {bounds} (seeds and images resampled){self.summary().caution}")
        if self.plan is not None:
            about = f"preregistration of {self.plan.planned_at} (configuration {self.plan.digest[:12]})"
            deviations = self.deviations()
            lines.append(f"{about}: {'; '.join(['not followed', *deviations]) if deviations else 'followed'}")
        return lines

    def __repr__(self) -> str:
        """Return the summary and the conclusion, without the seeds."""
        return to_plain_text(self)

    def _repr_html_(self) -> str:
        """Show every seed, their summary and the conclusion in a notebook."""
        return to_html(self)


def _result(folder: Path, seed: int, split: str) -> SeedResult | None:
    """Return the result of a seed, or None if its run has not ended. Raises RecordError."""
    run = seed_folder(folder, seed)
    record = RunRecord.read(run)
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
        started_at=record.started_at,
        bits=None if score is None else read_bits(run, correct=score.correct, total=score.total),
    )


def _machine(environment: dict[str, Any]) -> str:
    """Return the GPU, or the processor and the number of cores that were used."""
    device, threads = environment.get("device", "cpu"), environment.get("threads", 1)
    cores = "one core" if threads == 1 else f"{threads} cores"
    return f"{cores} of {environment.get('processor', 'unknown')}" if device == "cpu" else device


def to_html(seed_results: SeedResults) -> str:
    """Return every seed, their summary and the conclusion, for a notebook."""
    from mnist_compact.common.tables import to_html_fragment

    *above, last = [seeds_table(seed_results), *([summary_table(seed_results)] if seed_results.accuracies else [])]
    return "".join([*map(to_html_fragment, above), to_html_fragment(last, sentences(seed_results))])


def to_plain_text(seed_results: SeedResults) -> str:
    """Return the summary and the conclusion, for `print`."""
    from mnist_compact.common.tables import to_text

    table = to_text(summary_table(seed_results)) if seed_results.accuracies else ""
    return table + "\n".join(sentences(seed_results))


def sentences(seed_results: SeedResults) -> list[str]:
    """Return what was measured, the notes and the conclusion."""
    about, notes = seed_results.confirmation, seed_results.notes()
    if about.split == "test" and seed_results.plan is None:
        notes.append("no preregistration was written before the test images were read")
    measured = f"{about.source}: {about.split} accuracy in per cent at the last epoch, {seed_results.weights} weights"
    return [measured, *notes, seed_results.conclusion()]


def seeds_table(seed_results: SeedResults) -> "pd.DataFrame":
    """Return one row for each requested seed that has ended."""
    import pandas as pd

    averaged, calibrated = seed_results.weights == "averaged", seed_results.mean_calibrated_loss() is not None
    rows = [
        {
            "seed": result.seed,
            "status": str(result.status),
            "accuracy %": None if score is None else score.accuracy,
            "loss": None if score is None else score.loss,
            **({"calibrated loss": None if score is None else score.calibrated_loss} if calibrated else {}),
            **({"raw accuracy %": None if raw is None else raw.accuracy} if averaged else {}),
            "seconds": result.seconds,
        }
        for result in seed_results.seeds
        for score, raw in [(result.score, result.raw) if result in seed_results.completed else (None, None)]
    ]
    return pd.DataFrame(rows)


def rounds_to_html(rounds: list[tuple[int, list[SeedResults]]]) -> str:
    """Return all rounds of a ranking, with the seeds of each, for a notebook."""
    from mnist_compact.common.tables import to_html_fragment

    return "".join(
        to_html_fragment(ranking_table(candidates), [round_title(number, seeds, candidates)])
        for number, (seeds, candidates) in enumerate(rounds, 1)
    )


def rounds_to_plain_text(rounds: list[tuple[int, list[SeedResults]]]) -> str:
    """Return all rounds of a ranking, for `print`."""
    from mnist_compact.common.tables import to_text

    return "\n".join(
        f"{round_title(number, seeds, candidates)}\n{to_text(ranking_table(candidates))}"
        for number, (seeds, candidates) in enumerate(rounds, 1)
    )


def round_title(number: int, seeds: int, candidates: list[SeedResults]) -> str:
    """Return the title of the table of a round."""
    few = f"; with fewer than {FEWEST} seeds an interval is only an indication" if seeds < FEWEST else ""
    return f"round {number}: {counted(len(candidates), 'candidate')}, {counted(seeds, 'seed')} each{few}"


def ranking_table(candidates: list[SeedResults]) -> "pd.DataFrame":
    """Return one row for each candidate of a ranking."""
    import pandas as pd

    rows = [
        {
            "trial": seed_results.confirmation.source.removeprefix("trial "),
            "weights": seed_results.weights,
            **(_summary(seed_results) if seed_results.accuracies else {"n": 0}),
        }
        for seed_results in candidates
    ]
    return pd.DataFrame(rows)


def summary_table(seed_results: SeedResults) -> "pd.DataFrame":
    """Return the summary as a table of one row."""
    import pandas as pd

    return pd.DataFrame([_summary(seed_results)])


def _summary(seed_results: SeedResults) -> dict[str, object]:
    summary, calibrated_loss = seed_results.summary(), seed_results.mean_calibrated_loss()
    return {
        "n": summary.n,
        "mean": summary.mean,
        "sd": summary.sd,
        "min": summary.minimum,
        "max": summary.maximum,
        "95 % low": summary.low,
        "95 % high": summary.high,
        f"seeds > {threshold_text(seed_results.threshold)}": f"{seed_results.above()}/{len(seed_results.requested)}",
        "loss": seed_results.mean_loss(),
        **({} if calibrated_loss is None else {"calibrated loss": calibrated_loss}),
        "parameters": seed_results.completed[0].parameters,
    }
