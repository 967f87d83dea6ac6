"""The columns of the table of runs. To add a column, add an entry to COLUMNS."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from mnist_compact.records.discovery import Origin
from mnist_compact.records.metrics import epochs_to_converge
from mnist_compact.records.migrations import option_name
from mnist_compact.records.record import RunRecord, Status
from mnist_compact.records.settings import GROUPS

TIMESTAMP = "datetime64[us]"  # in UTC and without a time zone, which Excel and Stata do not support
# A run that was resumed for more epochs than planned differs from a run that was planned for all of them.
LENGTHENED = ("lengthened_from", "lengthened_after")

# Measure of a Score → (dtype, the epoch choices that have a column); the epoch of `last` is `epochs_done`.
SCORE_MEASURES = {
    "accuracy": ("Float64", ("last", "best")),  # per cent
    "loss": ("Float64", ("last", "best")),  # nats
    "calibrated_loss": ("Float64", ("last",)),  # nats
    "epoch": ("Int64", ("best",)),
}

_SCORE_NAME = re.compile(
    r"(?P<split>[a-z][a-z0-9_]*?)_((?P<weights>averaged)_)?(?P<measure>accuracy|calibrated_loss|loss|epoch)_(?P<at>last|best)"
)
UNREADABLE = "unreadable"  # the status of a folder whose record cannot be read
# The reason to show for records without one.
REASONS = {Status.RUNNING: "still running, or killed", Status.STOPPED: "pruned: ended early by its search"}


@dataclass(kw_only=True, slots=True, frozen=True)
class FoundRun:
    """A run folder with its record; `label` is the folder relative to the path that the user gave."""

    label: str
    folder: Path
    origin: Origin
    record: RunRecord

    def option(self, group: str) -> Any:
        """Return the name of the option of a config group; None if the group is not in the record."""
        chosen = self.record.config.get(group)
        return option_name(chosen) if isinstance(chosen, dict) else chosen


@dataclass(kw_only=True, slots=True, frozen=True)
class Column:
    """One column.

    Attributes:
        name: The name.
        dtype: The pandas dtype.
        about: The meaning and the unit, for help texts.
        read: Returns the value of a run.
    """

    name: str
    dtype: str
    about: str
    read: Callable[[FoundRun], Any]


def _option_of(group: str) -> Callable[[FoundRun], Any]:
    return lambda run: run.option(group)


COLUMNS = (
    Column(name="run", dtype="string", about="run folder", read=lambda run: run.label),
    Column(
        name="kind",
        dtype="string",
        about="run, grid, trial, ranking or confirmation",
        read=lambda run: run.origin.kind,
    ),
    Column(name="study", dtype="string", about="study that a trial belongs to", read=lambda run: run.origin.study),
    Column(name="trial", dtype="Int64", about="number of a trial in its study", read=lambda run: run.origin.trial),
    Column(
        name="confirmation",
        dtype="string",
        about="confirmation or ranking candidate that a run belongs to",
        read=lambda run: run.origin.confirmation,
    ),
    Column(
        name="status",
        dtype="string",
        about="running, completed, stopped (pruned), interrupted, diverged, failed or unreadable",
        read=lambda run: str(run.record.status),
    ),
    Column(
        name="reason",
        dtype="string",
        about="why the run was not completed or cannot be read",
        read=lambda run: run.record.reason or REASONS.get(run.record.status),
    ),
    Column(
        name="experiment",
        dtype="string",
        about="named experiment, if one was used",
        read=lambda run: run.record.config.get("experiment"),
    ),
    *(
        Column(name=group, dtype="string", about=f"option of the config group {group}", read=_option_of(group))
        for group in GROUPS
    ),
    Column(name="seed", dtype="Int64", about="seed of the run", read=lambda run: run.record.config.get("seed")),
    Column(
        name="evaluated",
        dtype="string",
        about="split on which the run is scored",
        read=lambda run: run.record.evaluated,
    ),
    Column(
        name="final_weights",
        dtype="string",
        about="weights of the final score: raw or averaged",
        read=lambda run: run.record.final.weights if run.record.final else None,
    ),
    Column(name="epochs_done", dtype="Int64", about="finished epochs", read=lambda run: run.record.epochs_done),
    Column(
        name="lengthened_from",
        dtype="Int64",
        about="originally planned epochs, if the run was resumed for more",
        read=lambda run: run.record.lengthened.planned_before if run.record.lengthened else None,
    ),
    Column(
        name="lengthened_after",
        dtype="Int64",
        about="finished epochs when it was resumed for more",
        read=lambda run: run.record.lengthened.after_epoch if run.record.lengthened else None,
    ),
    Column(
        name="epochs_to_converge",
        dtype="Int64",
        about="first epoch within 0.1 points of the best evaluation accuracy (raw weights)",
        read=lambda run: epochs_to_converge(run.folder, run.record.evaluated),
    ),
    Column(
        name="seconds", dtype="Float64", about="time of training and evaluation, s", read=lambda run: run.record.seconds
    ),
    Column(
        name="parameters",
        dtype="Int64",
        about="number of learned and frozen weights",
        read=lambda run: run.record.network.parameters,
    ),
    Column(
        name="trainable_parameters",
        dtype="Int64",
        about="number of learned weights",
        read=lambda run: run.record.network.trainable_parameters,
    ),
    Column(
        name="macs", dtype="Int64", about="multiply-accumulates per image", read=lambda run: run.record.network.macs
    ),
    Column(
        name="receptive_field",
        dtype="Int64",
        about="receptive field of a unit before the head, px",
        read=lambda run: run.record.network.receptive_field,
    ),
    Column(
        name="started_at",
        dtype=TIMESTAMP,
        about="time of the start, UTC",
        read=lambda run: datetime.fromisoformat(run.record.started_at) if run.record.started_at else None,
    ),
    Column(
        name="finished_at",
        dtype=TIMESTAMP,
        about="time of the end, UTC",
        read=lambda run: datetime.fromisoformat(run.record.finished_at) if run.record.finished_at else None,
    ),
)
COLUMN_NAMES = tuple(column.name for column in COLUMNS)


@cache
def score_column(split: str, weights: str, measure: str, at: str) -> str:
    """Return the column name of a score, such as `test_averaged_accuracy_last`; raw weights are not named."""
    return "_".join([split, *([] if weights == "raw" else [weights]), measure, at])


@dataclass(slots=True, frozen=True)
class ScoreColumn:
    """The parts of the name of a score column."""

    split: str
    weights: str  # raw or averaged
    measure: str
    at: str

    @classmethod
    def of(cls, name: str) -> "ScoreColumn | None":
        """Parse a column name; None if it is not a score column."""
        match = _SCORE_NAME.fullmatch(name)
        return cls(match["split"], match["weights"] or "raw", match["measure"], match["at"]) if match else None


def evaluated(name: str) -> ScoreColumn | None:
    """Parse the name of an evaluation accuracy column; None for every other column, including training accuracy."""
    score = ScoreColumn.of(name)
    return score if score and score.measure == "accuracy" and score.split != "train" else None


def is_setting(name: str) -> bool:
    """Return whether a column holds a setting of the configuration; the options of the groups are not settings."""
    return name not in COLUMN_NAMES and ScoreColumn.of(name) is None
