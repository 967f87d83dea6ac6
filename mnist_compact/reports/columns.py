"""The columns of the table of runs, each defined once. To add one, add an entry to COLUMNS."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from mnist_compact.records.discovery import Origin
from mnist_compact.records.metrics import epochs_to_converge
from mnist_compact.records.record import RunRecord, Status
from mnist_compact.records.settings import GROUPS

TIMESTAMP = "datetime64[us]"  # in UTC and without a zone, which Excel and Stata could not hold
# A run continued for more epochs than it was planned for took another course than one of so many from the start.
LENGTHENED = ("lengthened_from", "lengthened_after")

# measure of a Score -> (dtype, the epoch choices it is told for); the epoch of `last` is `epochs_done`
SCORE_MEASURES = {
    "accuracy": ("Float64", ("last", "best")),  # per cent
    "loss": ("Float64", ("last", "best")),  # nats
    "epoch": ("Int64", ("best",)),
}

_SCORE_NAME = re.compile(
    r"(?P<split>[a-z][a-z0-9_]*?)_((?P<weights>averaged)_)?(?P<measure>accuracy|loss|epoch)_(?P<at>last|best)"
)
UNREADABLE = "unreadable"  # the status of a folder whose record this program cannot read
# For records that give no reason themselves.
REASONS = {Status.RUNNING: "under way, or killed outright", Status.STOPPED: "pruned: its search ended it early"}


@dataclass(kw_only=True, slots=True, frozen=True)
class FoundRun:
    """A run folder whose record could be read. `label` is the folder as reached from the path the user gave."""

    label: str
    folder: Path
    origin: Origin
    record: RunRecord

    def option(self, group: str) -> Any:
        """The name of the option chosen in a config group; None when the group has none."""
        chosen = self.record.config.get(group)
        return chosen.get("name") if isinstance(chosen, dict) else chosen


@dataclass(kw_only=True, slots=True, frozen=True)
class Column:
    """One column: what it is called, its pandas dtype, what it means and in which unit, and where it comes from."""

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
        about="run, grid, trial, ranking (of a search's best) or confirmation",
        read=lambda run: run.origin.kind,
    ),
    Column(name="study", dtype="string", about="study of a trial", read=lambda run: run.origin.study),
    Column(name="trial", dtype="Int64", about="number of a trial in its study", read=lambda run: run.origin.trial),
    Column(
        name="confirmation",
        dtype="string",
        about="confirmation, or part in a ranking, that a run over a seed belongs to",
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
        about="why it was not completed or cannot be read",
        read=lambda run: run.record.reason or REASONS.get(run.record.status),
    ),
    Column(
        name="experiment",
        dtype="string",
        about="named experiment, if one was chosen",
        read=lambda run: run.record.config.get("experiment"),
    ),
    *(
        Column(name=group, dtype="string", about=f"option chosen in the group {group}", read=_option_of(group))
        for group in GROUPS
    ),
    Column(name="seed", dtype="Int64", about="seed of the run", read=lambda run: run.record.config.get("seed")),
    Column(name="evaluated", dtype="string", about="split it is scored on", read=lambda run: run.record.evaluated),
    Column(
        name="final_weights",
        dtype="string",
        about="weights of its final score: raw or averaged",
        read=lambda run: run.record.final.weights if run.record.final else None,
    ),
    Column(name="epochs_done", dtype="Int64", about="epochs finished", read=lambda run: run.record.epochs_done),
    Column(
        name="lengthened_from",
        dtype="Int64",
        about="epochs it was first planned for, if it was continued for more",
        read=lambda run: run.record.lengthened.planned_before if run.record.lengthened else None,
    ),
    Column(
        name="lengthened_after",
        dtype="Int64",
        about="epochs it had done by then",
        read=lambda run: run.record.lengthened.after_epoch if run.record.lengthened else None,
    ),
    Column(
        name="epochs_to_converge",
        dtype="Int64",
        about="first epoch within 0.1 points of the best evaluation accuracy, raw weights",
        read=lambda run: epochs_to_converge(run.folder, run.record.evaluated),
    ),
    Column(name="seconds", dtype="Float64", about="training and evaluation, s", read=lambda run: run.record.seconds),
    Column(
        name="parameters",
        dtype="Int64",
        about="learned and frozen weights",
        read=lambda run: run.record.network.parameters,
    ),
    Column(
        name="trainable_parameters",
        dtype="Int64",
        about="learned weights",
        read=lambda run: run.record.network.trainable_parameters,
    ),
    Column(name="macs", dtype="Int64", about="multiply-adds for an image", read=lambda run: run.record.network.macs),
    Column(
        name="receptive_field",
        dtype="Int64",
        about="of a unit before the head, px",
        read=lambda run: run.record.network.receptive_field,
    ),
    Column(
        name="started_at",
        dtype=TIMESTAMP,
        about="UTC",
        read=lambda run: datetime.fromisoformat(run.record.started_at) if run.record.started_at else None,
    ),
    Column(
        name="finished_at",
        dtype=TIMESTAMP,
        about="UTC",
        read=lambda run: datetime.fromisoformat(run.record.finished_at) if run.record.finished_at else None,
    ),
)
COLUMN_NAMES = tuple(column.name for column in COLUMNS)


@cache
def score_column(split: str, weights: str, measure: str, at: str) -> str:
    """The one column for this split, these weights, this measure and epoch choice; raw weights go unnamed."""
    return "_".join([split, *([] if weights == "raw" else [weights]), measure, at])


@dataclass(slots=True, frozen=True)
class ScoreColumn:
    """What the name of a column of scores says."""

    split: str
    weights: str  # raw or averaged
    measure: str
    at: str

    @classmethod
    def of(cls, name: str) -> "ScoreColumn | None":
        """None for a column that is none of scores."""
        match = _SCORE_NAME.fullmatch(name)
        return cls(match["split"], match["weights"] or "raw", match["measure"], match["at"]) if match else None


def evaluated(name: str) -> ScoreColumn | None:
    """What an evaluation accuracy column holds; None for every other column, training accuracy among them."""
    score = ScoreColumn.of(name)
    return score if score and score.measure == "accuracy" and score.split != "train" else None


def is_setting(name: str) -> bool:
    """Whether a column of the table holds a setting of the configuration other than a group's option."""
    return name not in COLUMN_NAMES and ScoreColumn.of(name) is None
