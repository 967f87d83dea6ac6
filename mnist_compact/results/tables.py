"""Tables made of records: all runs, the reference programme's comparison, and what differs within a multirun."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_compact.results.columns import (
    COLUMNS,
    GROUPS,
    Cell,
    FoundRun,
    config_cells,
    dtype_of,
    evaluated_split,
    fixed_cells,
    is_setting,
    score_cells,
    score_column,
)
from mnist_compact.results.metrics import read_metrics
from mnist_compact.results.record import FILENAME, RecordError, RunRecord

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["UNREADABLE", "common_folder", "compare_runs", "load_runs", "read_metrics", "reference_comparison"]

UNREADABLE = "unreadable"  # the status of a folder whose record this program cannot read


@dataclass(kw_only=True, slots=True)
class _Row:
    path: str
    fixed: dict[str, Cell]
    scores: dict[str, tuple[str, Cell]] = field(default_factory=dict)
    config: dict[str, Cell] = field(default_factory=dict)

    def order(self) -> tuple[bool, datetime, str]:
        started = self.fixed.get("started_at")
        if isinstance(started, datetime):
            return False, started, self.path
        return True, datetime.max.replace(tzinfo=UTC), self.path  # unreadable ones at the end


def load_runs(*paths: Path | str) -> "pd.DataFrame":
    """One row for every run folder at or under `paths`, by time of start, then by path.

    Columns: those of `columns.COLUMNS`, always; then for every score in any record one column that names split,
    weights, measure and epoch choice (`test_averaged_accuracy_last`; raw weights go unnamed); then every setting under
    its key of the command line. A record that cannot be read is a row with status "unreadable" and the reason, at the
    end. A folder reached from several paths is one row. Raises ValueError for a path that is not a folder.
    """
    found: dict[Path, tuple[str, Path]] = {}
    for path in map(Path, paths):
        if not path.is_dir():
            raise ValueError(f"a path must be an existing folder, got {str(path)!r}")
        for file in path.rglob(FILENAME):
            found.setdefault(file.parent.resolve(), (str(file.parent), file.parent))
    rows = [_read_row(label, folder) for label, folder in found.values()]
    return _frame(sorted(rows, key=_Row.order))


def _read_row(label: str, folder: Path) -> _Row:
    try:
        record = RunRecord.read(folder)
        if not isinstance(record.config, dict):
            raise RecordError(f"{folder}: config is not a mapping")
        run = FoundRun(label=label, folder=folder, record=record)
        return _Row(path=label, fixed=fixed_cells(run), scores=score_cells(run), config=config_cells(record.config))
    except RecordError as error:
        return _Row(path=label, fixed={"run": label, "status": UNREADABLE, "reason": str(error)})


def _frame(rows: list[_Row]) -> "pd.DataFrame":
    import pandas as pd

    series = {
        column.name: pd.Series([row.fixed.get(column.name) for row in rows], dtype=column.dtype) for column in COLUMNS
    }
    for name, dtype in {name: dtype for row in rows for name, (dtype, _) in row.scores.items()}.items():
        series[name] = pd.Series([row.scores.get(name, (dtype, None))[1] for row in rows], dtype=dtype)
    # Stable, so that within a group the keys keep the order of the configuration.
    for name in sorted({name: None for row in rows for name in row.config}, key=_group_rank):
        cells = [row.config.get(name) for row in rows]
        dtype = dtype_of(cells)
        if dtype == "string":
            cells = [None if cell is None else str(cell) for cell in cells]
        series[name] = pd.Series(cells, dtype=dtype)
    return pd.DataFrame(series)


def _group_rank(key: str) -> int:
    group = key.partition(".")[0]
    return GROUPS.index(group) if group in GROUPS else len(GROUPS)


def reference_comparison(frame: "pd.DataFrame") -> "pd.DataFrame":
    """The reference programme's comparison of its models, made from `load_runs`.

    One row for each run and each split it was evaluated on, which the column `split` names; training and evaluation
    accuracy are per cent under raw weights. Columns for averaged weights are added only when some run has them, and
    `experiment` only when some run names one. `run` is relative to `common_folder(frame)`.
    """
    import pandas as pd

    rows = [
        _comparison_row(run, split)
        for run in frame.assign(run=_short_names(frame)).to_dict("records")
        for split in _evaluated_on(run)
    ]
    table = pd.DataFrame(rows, columns=list(_COMPARISON_DTYPES)).astype(_COMPARISON_DTYPES)
    optional = [name for name in _COMPARISON_DTYPES if name == "experiment" or name.startswith("averaged")]
    return table.drop(columns=[name for name in optional if table[name].isna().all()])


_COMPARISON_DTYPES = {
    "run": "string",
    "experiment": "string",
    "model": "string",
    "seed": "Int64",
    "parameters": "Int64",
    "receptive field": "string",
    "train accuracy best %": "Float64",
    "train accuracy last %": "Float64",
    "split": "string",
    "accuracy best %": "Float64",
    "accuracy last %": "Float64",
    "averaged accuracy best %": "Float64",
    "averaged accuracy last %": "Float64",
    "epochs to converge": "Int64",
    "optimizer": "string",
    "scheduler": "string",
    "augmentation": "string",
    "epochs": "Int64",
    "status": "string",
}


def _comparison_row(run: dict[Any, Any], split: str | None) -> dict[str, Any]:
    import pandas as pd

    def accuracy(split: str | None, at: str, weights: str = "raw") -> Any:
        return pd.NA if split is None else run.get(score_column(split, weights, "accuracy", at), pd.NA)

    field_px = run["receptive_field"]
    return {
        **{name: run[name] for name in ("run", "experiment", "model", "seed", "parameters", "scheduler", "status")},
        "receptive field": pd.NA if pd.isna(field_px) else f"{field_px}×{field_px}",
        "train accuracy best %": accuracy("train", "best"),
        "train accuracy last %": accuracy("train", "last"),
        "split": pd.NA if split is None else split,
        "accuracy best %": accuracy(split, "best"),
        "accuracy last %": accuracy(split, "last"),
        "averaged accuracy best %": accuracy(split, "best", "averaged"),
        "averaged accuracy last %": accuracy(split, "last", "averaged"),
        "epochs to converge": run["epochs_to_converge"],
        "optimizer": run["optim"],
        "augmentation": run["augment"],
        "epochs": run["epochs_done"],
    }


def _evaluated_on(run: dict[Any, Any]) -> list[str | None]:
    """The splits other than train that this row has an accuracy for; [None] when nothing was evaluated."""
    import pandas as pd

    splits = [split for name, cell in run.items() if (split := evaluated_split(name)) and pd.notna(cell)]
    return [*dict.fromkeys(splits)] or [None]


def compare_runs(folders: Iterable[Path | str]) -> "pd.DataFrame":
    """What differs among these run folders, and what came of it: a row a run, in order of start.

    Columns: the run, the options and settings that are not the same in all runs, the evaluation accuracies (per cent),
    parameters, seconds and status. A setting within a group counts only among runs with the same option of the group:
    where the models differ, the settings of each model are not news. Raises ValueError as `load_runs` does.
    """
    frame = load_runs(*folders)
    scores = [name for name in frame.columns if evaluated_split(name)]
    chosen = ["run", *_differing(frame), *scores, "parameters", "seconds", "status"]
    return frame.assign(run=_short_names(frame))[chosen]


def _differing(frame: "pd.DataFrame") -> list[str]:
    readable = frame[frame["status"] != UNREADABLE]
    options = [name for name in ("experiment", *GROUPS, "seed") if readable[name].nunique(dropna=False) > 1]
    return options + [name for name in frame.columns if is_setting(name) and _varies(readable, name)]


def _varies(frame: "pd.DataFrame", key: str) -> bool:
    group = key.partition(".")[0]
    if group not in GROUPS:
        return bool(frame[key].nunique(dropna=False) > 1)
    return bool((frame.groupby(group, dropna=False)[key].nunique(dropna=False) > 1).any())


def common_folder(frame: "pd.DataFrame") -> str:
    """The deepest folder that holds every run folder of the table; "" when there is none to name."""
    parents = {os.path.dirname(run) for run in frame["run"]}
    if not parents or len({os.path.isabs(parent) for parent in parents}) > 1:
        return ""
    return str(os.path.commonpath(parents))


def _short_names(frame: "pd.DataFrame") -> "pd.Series[str]":
    folder = common_folder(frame)
    return frame["run"].map(lambda run: os.path.relpath(run, folder) if folder else run).astype("string")
