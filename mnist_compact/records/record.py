"""The record of one run on disk, result.json: the only contract between training and the reports.

`run_files` lists the other files of a run folder. Accuracies are in per cent, losses are mean cross-entropy in nats
(without label smoothing), times in seconds.

Schema versions:

    1   has neither `evaluated` nor `final` in a score; both follow from the names of the splits and the configuration
    2   adds both, `normalisation` and `continuations`
    3   moves `train.device`, `train.threads` and `data.root` to `config.machine`, the last as `data_root`

Readers use the default of a missing key and ignore unknown keys, so a new field with a default needs no new version.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from mnist_compact.common.atomic import replacing
from mnist_compact.common.bounded_read import read_json
from mnist_compact.common.errors import UserError
from mnist_compact.common.run_files import RECORD
from mnist_compact.common.versioned_json import fields_of
from mnist_compact.common.wording import counted
from mnist_compact.records.checks import contradictions_of, faults_of
from mnist_compact.records.migrations import MIGRATIONS, option_name

SCHEMA_VERSION = 3


class Status(StrEnum):
    """The status of a run."""

    RUNNING = "running"  # the run has not ended, or its process was killed
    COMPLETED = "completed"  # all planned epochs were trained
    STOPPED = "stopped"  # pruned: ended early by a callback
    INTERRUPTED = "interrupted"  # Ctrl-C; the finished epochs are on disk
    DIVERGED = "diverged"  # the loss was not finite
    FAILED = "failed"  # any other exception; `reason` holds its message


class RecordError(UserError):
    """A file is not a record that this version can read."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Score:
    """One score with its split, weights and epoch."""

    split: str  # train, or the evaluated images: test, holdout, fashion_test, fashion_holdout, synthetic
    weights: str  # raw or averaged
    at: str  # last (epoch) or best (epoch by accuracy on this split, with these weights)
    epoch: int  # counted from 1
    accuracy: float  # in per cent: 100 × correct / total
    loss: float  # mean cross-entropy in nats, without label smoothing
    calibrated_loss: float | None = None  # loss after one temperature was fitted on the same images; null for train
    correct: int  # correctly classified images
    total: int  # classified images
    final: bool = False  # the final score: evaluated split, last epoch, averaged weights if that epoch has any


@dataclass(kw_only=True, slots=True, frozen=True)
class NetworkFacts:
    """The size of the network and its cost for one image.

    Every learned or frozen weight counts as a parameter; buffers do not.
    """

    parameters: int  # learned and frozen weights
    trainable_parameters: int  # learned weights
    macs: int  # multiply-accumulate operations for one image
    receptive_field: int | None  # px, of a unit before the final pooling and the head; None: unknown
    input_shape: list[int]  # channels, height, width


@dataclass(kw_only=True, slots=True, frozen=True)
class Normalisation:
    """Mean and standard deviation of the training pixels in [0, 1]; the network's input is (pixel - mean) / std."""

    mean: float  # between 0 and 1
    std: float  # above 0


@dataclass(kw_only=True, slots=True, frozen=True)
class Continuation:
    """A point at which a run was resumed.

    A run that is resumed for more epochs than planned differs from a run that was planned for all of them.
    """

    after_epoch: int  # finished epochs when the run was resumed; 0: it began again
    planned_before: int  # planned epochs in all, before the run was resumed
    planned: int  # planned epochs in all, from then on
    started_at: str  # ISO 8601 with time zone
    environment: dict[str, Any]  # of the machine that resumed the run; the same keys as in `environment` of the record


@dataclass(kw_only=True, slots=True)
class RunRecord:
    """The complete record of one run.

    `mnist_compact.config.conversion.from_record` turns `config` back into a runnable configuration.
    `confusion[actual][predicted]` counts evaluation images, classified by the weights of the final score.
    """

    schema_version: int = SCHEMA_VERSION  # version of this schema with which the record was written
    status: Status  # how the run ended, or that it has not ended
    reason: str = ""  # why the run was not completed; empty for a completed run
    config: dict[str, Any]  # the complete configuration: every group with its option's name and all its keys
    overrides: list[str] = field(default_factory=list)  # the arguments of the command line
    evaluated: str  # the split on which the network is scored
    classes: list[str] = field(default_factory=list)  # names by label; empty in older records
    normalisation: Normalisation | None = None  # None in records of version 1
    scores: list[Score] = field(default_factory=list)  # last and best epoch, for each split and kind of weights
    epochs_done: int = 0  # finished epochs
    network: NetworkFacts  # size and cost of the network
    confusion: list[list[int]] | None = None  # rows: actual class, columns: predicted class; None before the run ends
    seconds: float = 0.0  # training and evaluation time, summed over all continuations
    started_at: str | None = None  # UTC, ISO 8601 with time zone
    finished_at: str | None = None  # UTC, ISO 8601 with time zone; None before the run ends
    environment: dict[str, Any] = field(default_factory=dict)  # at the start: versions, processor, threads, device, git
    # commit and whether the working tree was dirty
    continuations: list[Continuation] = field(default_factory=list)  # one for each time the run was resumed

    @property
    def final(self) -> Score | None:
        """The final score; None before the run has one."""
        return final_of(self.scores)

    @property
    def lengthened(self) -> Continuation | None:
        """The first continuation for more epochs than planned; None if there is none.

        Continuations before a restart at the first epoch do not count, because the restart trains from the beginning.
        """
        found = None
        for each in self.continuations:
            if each.after_epoch == 0:
                found = None
            elif found is None and each.planned > each.planned_before:
                found = each
        return found

    @property
    def latest_environment(self) -> dict[str, Any]:
        """The environment of the last continuation, or of the start."""
        return self.continuations[-1].environment if self.continuations else self.environment

    def score(self, split: str, *, weights: str = "raw", at: str = "last") -> Score | None:
        """Return the score of this split, these weights and this epoch choice; None if it was not measured.

        Args:
            split: train, test, holdout, fashion_test or synthetic.
            weights: raw or averaged.
            at: last or best.
        """
        key = (split, weights, at)
        return next((score for score in self.scores if (score.split, score.weights, score.at) == key), None)

    def __repr__(self) -> str:
        """Return a summary of a few lines; `dataclasses.asdict` gives all fields."""
        chosen = [f"{key} {self._option(key)}" for key in ("model", "optim", "data", "seed") if key in self.config]
        scores = [
            f"  {score.split}, {score.weights} weights, {score.at} epoch ({score.epoch}): {score.accuracy:.2f} % "
            f"({score.correct:,} of {score.total:,}), loss {score.loss:.4f}"
            for score in self.scores
        ]
        return "\n".join([f"RunRecord: {', '.join(chosen)}", *(f"  {line}" for line in self._summary()), *scores])

    def _repr_html_(self) -> str:
        """Show one row per score and a summary in a notebook."""
        import pandas as pd

        from mnist_compact.common.tables import to_html_fragment

        return to_html_fragment(pd.DataFrame([asdict(score) for score in self.scores]), self._summary())

    def _option(self, key: str) -> Any:
        """Return the name of a config group's option, or the value of a key that is not a group."""
        value = self.config[key]
        return option_name(value) if isinstance(value, dict) else value

    def _summary(self) -> list[str]:
        size = f"{self.network.parameters:,} parameters, {self.network.macs:,} multiply-accumulates per image"
        ended = f"{self.status} after {counted(self.epochs_done, 'epoch')}, {self.seconds:.1f} s"
        return [ended, *filter(None, [self.reason]), size]

    def write(self, folder: Path) -> None:
        """Write result.json into the run folder, in one step."""
        with replacing(folder / RECORD) as path:
            path.write_text(self._as_json(), encoding="utf-8")

    def write_in_place(self, folder: Path) -> None:
        """Overwrite result.json directly, for a folder in which no new file can be created."""
        with (folder / RECORD).open("r+", encoding="utf-8") as file:
            file.write(self._as_json())
            file.truncate()

    def _as_json(self) -> str:
        return json.dumps(asdict(self), indent=1, allow_nan=False) + "\n"

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read result.json of a run folder, migrated to the present schema version.

        Raises:
            RecordError: If the file is missing, damaged or of an unknown schema version, or if its figures contradict
                one another or correct.bits.
        """
        path = folder / RECORD
        try:
            raw = read_json(path)
        except OSError as error:
            raise RecordError(f"{folder} is not a run folder: {path.name} cannot be read ({error.strerror})") from error
        except ValueError as error:
            raise RecordError(f"{path} is damaged: {error}") from error
        version = raw.get("schema_version") if isinstance(raw, dict) else None
        if type(version) is not int or version not in (*MIGRATIONS, SCHEMA_VERSION):
            known = ", ".join(map(str, (*MIGRATIONS, SCHEMA_VERSION)))
            raise RecordError(f"{path} has schema version {version!r}; this program reads {known}")
        try:
            for old in range(version, SCHEMA_VERSION):
                MIGRATIONS[old](raw)
            raw["schema_version"] = SCHEMA_VERSION
            record = cls(**_parsed(raw))
        except KeyError as error:
            raise RecordError(f"{path} is damaged: {error} is missing") from error
        except (AttributeError, TypeError, ValueError) as error:
            raise RecordError(f"{path} is damaged: {error}") from error
        if faults := faults_of(record):
            raise RecordError(f"{path} is damaged: {'; '.join(faults)}")
        if contradictions := contradictions_of(record, folder):
            raise RecordError(f"{path} contradicts itself: {'; '.join(contradictions)}")
        return record


def final_of(scores: Iterable[Score]) -> Score | None:
    """Return the final score among `scores`; None if there is none."""
    return next((score for score in scores if score.final), None)


def objective(record: RunRecord) -> float | None:
    """Return the objective of a run for sweepers: the accuracy of the final score in per cent.

    Returns:
        The accuracy; None, which sweepers treat as a failure, if the run has diverged or has no final score.
    """
    final = record.final
    return None if final is None or record.status is Status.DIVERGED else final.accuracy


def _parsed(raw: Mapping[str, Any]) -> dict[str, Any]:
    parsed = fields_of(RunRecord, raw, "the record")
    parsed["status"] = Status(raw["status"])
    parsed["network"] = NetworkFacts(**fields_of(NetworkFacts, raw["network"], "network"))
    for key, cls in (("scores", Score), ("continuations", Continuation)):
        entries = enumerate(_list_of(raw, key))
        parsed[key] = [cls(**fields_of(cls, entry, f"{key}[{position}]")) for position, entry in entries]
    if raw.get("normalisation") is not None:
        parsed["normalisation"] = Normalisation(**fields_of(Normalisation, raw["normalisation"], "normalisation"))
    return parsed


def _list_of(raw: Mapping[str, Any], key: str) -> list[Any]:
    entries = raw.get(key, [])
    if not isinstance(entries, list):
        raise ValueError(f"{key} must be a list, got {entries!r}")
    return entries
