"""The cells of one run's row, checked so that an unusual record cannot break the table."""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from mnist_compact.records.record import RecordError
from mnist_compact.records.settings import GROUPS
from mnist_compact.reports.columns import COLUMNS, SCORE_MEASURES, TIMESTAMP, FoundRun, is_setting, score_column

# A time is in µs since 1970 in UTC. Cells survive a round trip through JSON unchanged.
Cell = str | int | float | bool | None

_KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "Int64": (int,),
    "Float64": (int, float),
    TIMESTAMP: (datetime,),
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST = 2**63 - 1  # the largest Int64


def cells_of(run: FoundRun) -> dict[str, Cell]:
    """Return the cells of a run by column: COLUMNS, then scores, then settings.

    Raises:
        RecordError: If a value has a wrong type; the message names the column.
    """
    cells: dict[str, Cell] = {}
    for column in COLUMNS:
        try:
            cells[column.name] = _checked(column.read(run), column.dtype)
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise RecordError(f"{run.folder}: {column.name} cannot be read: {error}") from error
    return cells | _score_cells(run) | config_cells(run.record.config)


def _score_cells(run: FoundRun) -> dict[str, Cell]:
    cells: dict[str, Cell] = {}
    for score in run.record.scores:
        for measure, (dtype, epoch_choices) in SCORE_MEASURES.items():
            if score.at not in epoch_choices:
                continue
            name = "a score"
            try:
                name = score_column(score.split, score.weights, measure, score.at)
                cells.setdefault(name, _checked(getattr(score, measure), dtype))
            except TypeError as error:
                raise RecordError(f"{run.folder}: {name} cannot be read: {error}") from error
    return cells


def config_cells(config: Mapping[str, Any]) -> dict[str, Cell]:
    """Return every setting under its key on the command line (`optim.lr`); the options are in COLUMNS."""
    cells: dict[str, Cell] = {}
    for key, value in config.items():
        if key in GROUPS and isinstance(value, dict):
            settings = {name: setting for name, setting in value.items() if name not in ("name", "kind")}
            _flatten(f"{key}.", settings, cells)
        elif is_setting(key):
            _flatten("", {key: value}, cells)
    return cells


def flat(prefix: str, tree: Mapping[str, Any]) -> dict[str, Cell]:
    """Flatten nested JSON to cells by dotted key, each key beginning with `prefix`."""
    cells: dict[str, Cell] = {}
    _flatten(prefix, tree, cells)
    return cells


def proper(text: str) -> str:
    """Replace lone surrogates, as in a folder name that is not UTF-8, with escape sequences."""
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()


def _flatten(prefix: str, settings: Mapping[str, Any], cells: dict[str, Cell]) -> None:
    for key, value in settings.items():
        if type(value) not in (dict, list):
            cells[prefix + key] = value
        elif value and isinstance(value, dict):
            _flatten(f"{prefix}{key}.", value, cells)
        else:
            cells[prefix + key] = _compact(value)


def _compact(value: list[Any] | dict[str, Any]) -> str:
    """Return a list in the notation of the command line, `[16,8]`; nested values as JSON."""
    if isinstance(value, dict) or any(isinstance(item, list | dict) for item in value):
        return json.dumps(value, separators=(",", ":"))
    return f"[{','.join(str(item) for item in value)}]"


def _checked(value: Any, dtype: str) -> Cell:
    """Return `value` as a cell of this dtype. Raises TypeError, which names the value, if its type is wrong."""
    if value is None or (type(value) is str and dtype == "string"):
        return value
    if isinstance(value, bool) or not isinstance(value, _KINDS[dtype]):
        raise TypeError(f"{value!r} is not of the kind {dtype}")
    if isinstance(value, int) and abs(value) > _MOST:
        raise TypeError(f"{value!r} is too large")
    if isinstance(value, float) and not math.isfinite(value):
        raise TypeError(f"{value!r} is not finite")
    if isinstance(value, datetime):
        value = (value.astimezone(UTC) - _EPOCH) // timedelta(microseconds=1)
    cell: Cell = value
    return cell


def dtype_of(kinds: set[type]) -> str:
    """Return the narrowest nullable dtype for the values of one setting; mixed types become text."""
    if kinds == {bool}:
        return "boolean"
    if kinds == {int}:
        return "Int64"
    return "Float64" if kinds and kinds <= {int, float} else "string"
