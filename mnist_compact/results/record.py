"""The record of one run on disk: the only contract between training and the reports.

A run folder holds

    result.json             this record: status, configuration, scores, facts of the network, timing, environment
    config.yaml             the resolved configuration, for people
    metrics.csv             a row an epoch, flushed as it happens
    layers.csv              the layer table
    mistakes.npz            the evaluation images the final weights got wrong, surest first (see plots.py)
    weights/*.safetensors   last and best; averaged_last and averaged_best with averaged weights
    checkpoint.pt           all a continuation needs
    *.png                   curves, confusion matrix, worst mistakes

Accuracies are in per cent, losses are mean cross-entropy in nats (without label smoothing), times in seconds.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from mnist_compact.atomic import replacing

SCHEMA_VERSION = 1
FILENAME = "result.json"


class Status(StrEnum):
    """How far a run came. A process killed outright leaves RUNNING behind."""

    RUNNING = "running"
    COMPLETED = "completed"
    STOPPED = "stopped"  # ended early by whoever watched its scores
    INTERRUPTED = "interrupted"  # Ctrl-C: what was done is on disk
    DIVERGED = "diverged"  # the loss was not finite
    FAILED = "failed"  # any other exception; `reason` holds its message


class RecordError(ValueError):
    """A file that is not a record this version can read."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Score:
    """One measured result and exactly what it belongs to."""

    split: str  # train, test, holdout or synthetic
    weights: str  # raw or averaged
    at: str  # last (epoch) or best (epoch by accuracy on this split, with these weights)
    epoch: int  # counted from 1
    accuracy: float
    loss: float
    correct: int
    total: int


@dataclass(kw_only=True, slots=True, frozen=True)
class NetworkFacts:
    """Counts of the network for one image. Every learned or frozen weight is a parameter; buffers are not."""

    parameters: int
    trainable_parameters: int
    macs: int
    receptive_field: int  # px, of one unit before the final pooling and the head
    input_shape: list[int]  # channels, height, width


@dataclass(kw_only=True, slots=True)
class RunRecord:
    """Everything later readers need to know of one run.

    `config` is the form that `mnist_compact.config.from_record` turns back into a runnable configuration.
    `confusion[actual][predicted]` counts evaluation images under the final weights (averaged ones if there are any).
    """

    schema_version: int = SCHEMA_VERSION
    status: Status
    reason: str = ""
    config: dict[str, Any]
    overrides: list[str]
    scores: list[Score] = field(default_factory=list)
    epochs_done: int = 0
    network: NetworkFacts
    confusion: list[list[int]] | None = None
    seconds: float = 0.0  # spent in training and evaluation, over all continuations
    started_at: str  # ISO 8601 with time zone
    finished_at: str | None = None
    environment: dict[str, Any]  # versions, processor, threads, device, git commit and whether the tree was dirty

    def score(self, split: str, *, weights: str = "raw", at: str = "last") -> Score | None:
        """The score of exactly this split, these weights and this epoch choice, if it was measured."""
        wanted = (split, weights, at)
        return next((score for score in self.scores if (score.split, score.weights, score.at) == wanted), None)

    def write(self, folder: Path) -> None:
        with replacing(folder / FILENAME) as path:
            path.write_text(json.dumps(asdict(self), indent=1, allow_nan=False) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read `folder`/result.json. Raises RecordError when it is missing, damaged or of another schema version."""
        path = folder / FILENAME
        try:
            raw = json.loads(path.read_bytes())
        except OSError as error:
            raise RecordError(f"{folder} is not a run folder: {path.name} cannot be read ({error.strerror})") from error
        except ValueError as error:
            raise RecordError(f"{path} is damaged: {error}") from error
        version = raw.get("schema_version") if isinstance(raw, dict) else None
        if version != SCHEMA_VERSION:
            raise RecordError(f"{path} has schema version {version!r}; this program reads {SCHEMA_VERSION}")
        try:
            raw["status"] = Status(raw["status"])
            raw["scores"] = [Score(**score) for score in raw["scores"]]
            raw["network"] = NetworkFacts(**raw["network"])
            return cls(**raw)
        except (KeyError, TypeError, ValueError) as error:
            raise RecordError(f"{path} is damaged: {error}") from error


def final_score(scores: Sequence[Score]) -> Score:
    """On the evaluated split at the last epoch done, of the averaged weights once there are any."""
    final = [score for score in scores if score.at == "last" and score.split != "train"]
    return next((score for score in final if score.weights == "averaged"), final[0])


def objective(record: RunRecord) -> float:
    """What a run returns to sweepers: the final score's accuracy, in per cent."""
    return final_score(record.scores).accuracy
