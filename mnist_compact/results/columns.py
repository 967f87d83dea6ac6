"""The columns of the table of runs, each defined once. To add one, add an entry to COLUMNS."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mnist_compact.results.metrics import epochs_to_converge
from mnist_compact.results.record import RecordError, RunRecord

# The config groups, in the order their columns stand. `name` in a group is the option that the user typed.
GROUPS = ("model", "data", "augment", "optim", "scheduler", "train", "budget")
TIMESTAMP = "datetime64[us, UTC]"

# measure of a Score -> (dtype, the epoch choices it is told for); the epoch of `last` is `epochs_done`
SCORE_MEASURES = {
    "accuracy": ("Float64", ("last", "best")),  # per cent
    "loss": ("Float64", ("last", "best")),  # nats
    "epoch": ("Int64", ("best",)),
}

_SCORE_NAME = re.compile(r"(?P<split>[a-z]+)(_averaged)?_(?P<measure>accuracy|loss|epoch)_(last|best)")

Cell = str | int | float | bool | datetime | None


@dataclass(kw_only=True, slots=True, frozen=True)
class FoundRun:
    """A run folder whose record could be read. `label` is the folder as reached from the path the user gave."""

    label: str
    folder: Path
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
        name="status",
        dtype="string",
        about="running, completed, interrupted, diverged, failed or unreadable",
        read=lambda run: str(run.record.status),
    ),
    Column(
        name="reason",
        dtype="string",
        about="why it failed or cannot be read",
        read=lambda run: run.record.reason or None,
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
    Column(name="epochs_done", dtype="Int64", about="epochs finished", read=lambda run: run.record.epochs_done),
    Column(
        name="epochs_to_converge",
        dtype="Int64",
        about="first epoch within 0.1 points of the best evaluation accuracy, raw weights",
        read=lambda run: epochs_to_converge(run.folder),
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
        name="started_at", dtype=TIMESTAMP, about="UTC", read=lambda run: datetime.fromisoformat(run.record.started_at)
    ),
    Column(
        name="finished_at",
        dtype=TIMESTAMP,
        about="UTC",
        read=lambda run: datetime.fromisoformat(run.record.finished_at) if run.record.finished_at else None,
    ),
)
COLUMN_NAMES = tuple(column.name for column in COLUMNS)


def fixed_cells(run: FoundRun) -> dict[str, Cell]:
    """The cells of COLUMNS. Raises RecordError naming the column for a value of the wrong kind."""
    cells: dict[str, Cell] = {}
    for column in COLUMNS:
        try:
            cells[column.name] = _checked(column.read(run), column.dtype)
        except (TypeError, ValueError, AttributeError) as error:
            raise RecordError(f"{run.folder}: {column.name} cannot be read: {error}") from error
    return cells


def score_column(split: str, weights: str, measure: str, at: str) -> str:
    """The one column for this split, these weights, this measure and epoch choice; raw weights go unnamed."""
    return "_".join([split, *([] if weights == "raw" else [weights]), measure, at])


def evaluated_split(name: str) -> str | None:
    """The split of an evaluation accuracy column; None for every other column, training accuracy among them."""
    match = _SCORE_NAME.fullmatch(name)
    return match["split"] if match and match["measure"] == "accuracy" and match["split"] != "train" else None


def is_setting(name: str) -> bool:
    """Whether a column of the table holds a setting of the configuration other than a group's option."""
    return name not in COLUMN_NAMES and not _SCORE_NAME.fullmatch(name)


def score_cells(run: FoundRun) -> dict[str, tuple[str, Cell]]:
    """Column name -> (dtype, value) for every score of the record. Raises RecordError for a value of the wrong kind."""
    cells: dict[str, tuple[str, Cell]] = {}
    for score in run.record.scores:
        for measure, (dtype, told_at) in SCORE_MEASURES.items():
            if score.at not in told_at:
                continue
            name = score_column(score.split, score.weights, measure, score.at)
            try:
                cells.setdefault(name, (dtype, _checked(getattr(score, measure), dtype)))
            except TypeError as error:
                raise RecordError(f"{run.folder}: {name} cannot be read: {error}") from error
    return cells


def config_cells(config: dict[str, Any]) -> dict[str, Cell]:
    """Every setting under the key it has on the command line (`optim.lr`); the options themselves are in COLUMNS."""
    cells: dict[str, Cell] = {}
    for key, value in config.items():
        if key in GROUPS and isinstance(value, dict):
            settings = {name: setting for name, setting in value.items() if name not in ("name", "kind")}
            cells.update(_flatten(f"{key}.", settings))
        else:
            cells.update(_flatten("", {key: value}))
    return {key: value for key, value in cells.items() if key not in COLUMN_NAMES}


def dtype_of(values: list[Cell]) -> str:
    """The narrowest nullable dtype for the settings of one key over many runs; mixed kinds become text."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return "boolean"
    if kinds == {int}:
        return "Int64"
    return "Float64" if kinds and kinds <= {int, float} else "string"


def _flatten(prefix: str, settings: dict[str, Any]) -> dict[str, Cell]:
    cells: dict[str, Cell] = {}
    for key, value in settings.items():
        if isinstance(value, dict) and value:
            cells.update(_flatten(f"{prefix}{key}.", value))
        else:
            cells[f"{prefix}{key}"] = _compact(value)
    return cells


def _compact(value: Any) -> Cell:
    """A list as the command line writes it, `[16,8]`; anything deeper as JSON."""
    if isinstance(value, list) and not any(isinstance(item, list | dict) for item in value):
        return f"[{','.join(str(item) for item in value)}]"
    if isinstance(value, list | dict):
        return json.dumps(value, separators=(",", ":"))
    scalar: Cell = value
    return scalar


def _checked(value: Any, dtype: str) -> Cell:
    """`value` if a column of this dtype can hold it; a TypeError naming the value otherwise."""
    kinds: dict[str, tuple[type, ...]] = {
        "string": (str,),
        "Int64": (int,),
        "Float64": (int, float),
        TIMESTAMP: (datetime,),
    }
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, kinds[dtype]):
        raise TypeError(f"{value!r} is not of the kind {dtype}")
    cell: Cell = value.astimezone(UTC) if isinstance(value, datetime) else value  # type: ignore[assignment]
    return cell
