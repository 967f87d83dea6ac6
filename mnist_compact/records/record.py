"""The record of one run on disk: the only contract between training and the reports.

Its file is one of several in a run's folder: see `run_files`.

Accuracies are in per cent, losses are mean cross-entropy in nats (without label smoothing), times in seconds.

Versions of the schema. Within one, keys may be missing or unknown: a reader takes the default or passes over them, so a
new field with a default needs no new version.

    1   neither `evaluated` nor `final` of a score: both follow from the names of the splits and the configuration
    2   both are written, with `normalisation` and `continuations`
    3   `config.machine` holds what were `train.device`, `train.threads` and `data.root`, the last as `data_root`
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
from mnist_compact.records.migrations import MIGRATIONS

SCHEMA_VERSION = 3


class Status(StrEnum):
    """How far a run came. A process killed outright leaves RUNNING behind."""

    RUNNING = "running"
    COMPLETED = "completed"
    STOPPED = "stopped"  # ended early by whoever watched its scores
    INTERRUPTED = "interrupted"  # Ctrl-C: what was done is on disk
    DIVERGED = "diverged"  # the loss was not finite
    FAILED = "failed"  # any other exception; `reason` holds its message


class RecordError(UserError):
    """A file that is not a record this version can read."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Score:
    """One measured result and exactly what it belongs to."""

    split: str  # train, or the images evaluated: test, holdout, fashion_test, synthetic
    weights: str  # raw or averaged
    at: str  # last (epoch) or best (epoch by accuracy on this split, with these weights)
    epoch: int  # counted from 1
    accuracy: float
    loss: float
    correct: int
    total: int
    final: bool = False  # the one that counts: evaluated split, last epoch done, averaged weights if that epoch has any


@dataclass(kw_only=True, slots=True, frozen=True)
class NetworkFacts:
    """Counts of the network for one image. Every learned or frozen weight is a parameter; buffers are not."""

    parameters: int
    trainable_parameters: int
    macs: int
    receptive_field: int | None  # px, of one unit before the final pooling and the head; None: unknown
    input_shape: list[int]  # channels, height, width


@dataclass(kw_only=True, slots=True, frozen=True)
class Normalisation:
    """Of the training images' pixels, scaled to [0, 1]: a network's input is (pixel - mean) / std."""

    mean: float
    std: float


@dataclass(kw_only=True, slots=True, frozen=True)
class Continuation:
    """Where a run was taken up again. Planned for more epochs than before, it is no longer as if run in one go."""

    after_epoch: int
    planned_before: int  # epochs in all
    planned: int
    started_at: str
    environment: dict[str, Any]


@dataclass(kw_only=True, slots=True)
class RunRecord:
    """Everything later readers need to know of one run.

    `config` is the form that `mnist_compact.config.conversion.from_record` turns back into a runnable configuration.
    `confusion[actual][predicted]` counts evaluation images under the weights of the final score.
    """

    schema_version: int = SCHEMA_VERSION
    status: Status
    reason: str = ""
    config: dict[str, Any]
    overrides: list[str] = field(default_factory=list)
    evaluated: str  # the split that the network is scored on
    classes: list[str] = field(default_factory=list)  # names by label; none of a record from before they were kept
    normalisation: Normalisation | None = None  # None: written by version 1
    scores: list[Score] = field(default_factory=list)
    epochs_done: int = 0
    network: NetworkFacts
    confusion: list[list[int]] | None = None
    seconds: float = 0.0  # spent in training and evaluation, over all continuations
    started_at: str | None = None  # ISO 8601 with time zone
    finished_at: str | None = None
    # Where it was begun: versions, processor, threads, device, git commit and whether the tree was dirty.
    environment: dict[str, Any] = field(default_factory=dict)
    continuations: list[Continuation] = field(default_factory=list)

    @property
    def final(self) -> Score | None:
        """The score that counts, once there is one."""
        return final_of(self.scores)

    @property
    def lengthened(self) -> Continuation | None:
        """Where the run was first continued for more epochs than it was planned for, if it was.

        One that began again with its first epoch is as if run in one go since.
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
        return self.continuations[-1].environment if self.continuations else self.environment

    def score(self, split: str, *, weights: str = "raw", at: str = "last") -> Score | None:
        """The score of exactly this split, these weights and this epoch choice, if it was measured."""
        wanted = (split, weights, at)
        return next((score for score in self.scores if (score.split, score.weights, score.at) == wanted), None)

    def __repr__(self) -> str:
        """A few lines: what was run, how it ended, and every score. `dataclasses.asdict` gives all of it."""
        chosen = [f"{key} {self._option(key)}" for key in ("model", "optim", "data", "seed") if key in self.config]
        scores = [
            f"  {score.split}, {score.weights} weights, {score.at} epoch ({score.epoch}): {score.accuracy:.2f} % "
            f"({score.correct:,} of {score.total:,}), loss {score.loss:.4f}"
            for score in self.scores
        ]
        return "\n".join([f"RunRecord: {', '.join(chosen)}", *(f"  {line}" for line in self._summary()), *scores])

    def _repr_html_(self) -> str:
        """In a notebook: a row a score, and the rest in words."""
        import pandas as pd

        from mnist_compact.common.tables import to_html_fragment

        return to_html_fragment(pd.DataFrame([asdict(score) for score in self.scores]), self._summary())

    def _option(self, key: str) -> Any:
        """The name of the option of a config group, or the value of a key that is none."""
        value = self.config[key]
        return value.get("name") if isinstance(value, dict) else value

    def _summary(self) -> list[str]:
        size = f"{self.network.parameters:,} parameters, {self.network.macs:,} multiply-accumulates per image"
        ended = f"{self.status} after {counted(self.epochs_done, 'epoch')}, {self.seconds:.1f} s"
        return [ended, *filter(None, [self.reason]), size]

    def write(self, folder: Path) -> None:
        with replacing(folder / RECORD) as path:
            path.write_text(self._as_json(), encoding="utf-8")

    def write_in_place(self, folder: Path) -> None:
        """For a folder that has a record, and takes no new files any more."""
        with (folder / RECORD).open("r+", encoding="utf-8") as file:
            file.write(self._as_json())
            file.truncate()

    def _as_json(self) -> str:
        return json.dumps(asdict(self), indent=1, allow_nan=False) + "\n"

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read `folder`/result.json.

        Raises RecordError when it is missing, damaged or of another schema version, and when its figures contradict
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
    return next((score for score in scores if score.final), None)


def objective(record: RunRecord) -> float | None:
    """What a run returns to sweepers: the final score's accuracy, in per cent.

    None, which they take for a failure, where there is none, and for a run that has diverged.
    """
    final = record.final
    return None if final is None or record.status is Status.DIVERGED else final.accuracy


def _parsed(raw: Mapping[str, Any]) -> dict[str, Any]:
    parsed = fields_of(RunRecord, raw, "the record")
    parsed["status"] = Status(raw["status"])
    parsed["network"] = NetworkFacts(**fields_of(NetworkFacts, raw["network"], "network"))
    for key, cls in (("scores", Score), ("continuations", Continuation)):
        entries = enumerate(_list_of(raw, key))
        parsed[key] = [cls(**fields_of(cls, entry, f"{key}[{place}]")) for place, entry in entries]
    if raw.get("normalisation") is not None:
        parsed["normalisation"] = Normalisation(**fields_of(Normalisation, raw["normalisation"], "normalisation"))
    return parsed


def _list_of(raw: Mapping[str, Any], key: str) -> list[Any]:
    entries = raw.get(key, [])
    if not isinstance(entries, list):
        raise ValueError(f"{key} must be a list, got {entries!r}")
    return entries
