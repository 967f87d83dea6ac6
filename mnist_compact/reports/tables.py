"""Tables of runs: all runs, all epochs, the standard comparison, and the differences within a grid."""

import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_compact.common.garbage import collection_paused
from mnist_compact.records.metrics import read_metrics, read_rows, typed
from mnist_compact.records.settings import GROUPS
from mnist_compact.reports.cells import Cell, dtype_of, proper
from mnist_compact.reports.columns import (
    COLUMN_NAMES,
    COLUMNS,
    LENGTHENED,
    SCORE_MEASURES,
    UNREADABLE,
    ScoreColumn,
    evaluated,
    is_setting,
)
from mnist_compact.reports.loading import Rows, read_runs

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["UNREADABLE", "common_folder", "compare_runs", "load_runs", "read_metrics", "reference_comparison"]


def load_runs(*paths: Path | str) -> "pd.DataFrame":
    """Load every run folder at or under some paths into a table.

    The rows of many runs are cached in the searched folder (see `cache`), so that they load faster the next time.

    Args:
        paths: Folders to search. A folder that is reached from several paths is one row.

    Returns:
        One row per run folder, by time of start and then by path. The columns are those of `columns.COLUMNS`; then one
        column for each kind of score, named by split, weights, measure and epoch choice (`test_averaged_accuracy_last`;
        raw weights are not named); then every setting under its key on the command line, sorted. A run whose record is
        missing or unreadable has the status "unreadable" and a reason, and comes last.

    Raises:
        ValueError: If a path is not a folder.

    Example:
        >>> load_runs("outputs")[["run", "parameters", "test_accuracy_last"]]  # doctest: +SKIP
    """
    with collection_paused():
        return _table(read_runs(map(Path, paths)))


def _table(rows: Rows) -> "pd.DataFrame":
    import pandas as pd

    cells = dict(zip(rows.names, zip_longest(*rows.cells), strict=False))
    missing = (None,) * len(rows.cells)
    series = {column.name: _series(cells.get(column.name, missing), column.dtype) for column in COLUMNS}
    # A column without values comes from cached runs that no longer exist.
    others = [name for name in cells if name not in COLUMN_NAMES and any(cell is not None for cell in cells[name])]
    for name in sorted(others, key=_rank):
        score, kinds = ScoreColumn.of(name), set(map(type, cells[name])) - {type(None)}
        series[proper(name)] = _series(cells[name], SCORE_MEASURES[score.measure][0] if score else dtype_of(kinds))
    return pd.DataFrame(series)


def _series(cells: Sequence[Cell], dtype: str) -> "pd.Series[Any]":
    import pandas as pd

    with suppress(OverflowError):  # a number from a foreign record that is too large for the column
        if dtype != "string" or _is_plain(cells):
            return pd.Series(cells, dtype=dtype)
    return pd.Series([None if cell is None else proper(str(cell)) for cell in cells], dtype="string")


def _is_plain(cells: Sequence[Cell]) -> bool:
    """Return whether a column holds only text that `proper` would not change; checked for the whole column at once."""
    try:
        return "".join(cell for cell in cells if cell is not None).isascii()  # type: ignore[misc]
    except TypeError:  # it holds numbers
        return False


def _rank(name: str) -> tuple[Any, ...]:
    """Sort key of a column: scores first (training, then by split, raw before averaged), then settings by group."""
    score = ScoreColumn.of(name)
    if score:
        measure = [*SCORE_MEASURES].index(score.measure)
        return -1, score.split != "train", score.split, score.weights != "raw", score.at != "last", measure
    group, parts = name.partition(".")[0], re.split(r"(\d+)", name)
    natural = [(len(part) if part.isdecimal() else 0, part) for part in parts]  # conv2 before conv10
    return GROUPS.index(group) if group in GROUPS else len(GROUPS), natural


def epochs_of(frame: "pd.DataFrame", carried: Iterable[str] = ()) -> "pd.DataFrame":
    """Load the epochs of runs into a table.

    Args:
        frame: A `load_runs` table.
        carried: Columns of `frame` to add to every row; a column of metrics.csv with the same name takes precedence.

    Returns:
        One row per finished epoch: `run`, then the columns of metrics.csv. Accuracies are in per cent, losses in nats,
        seconds are those of the epoch. Each split and kind of weights has separate columns.
    """
    import pandas as pd

    tables: dict[tuple[str, ...], list[list[str | float]]] = {}
    for run in frame["run"]:
        header, rows = read_rows(Path(run))
        tables.setdefault(("run", *header), []).extend([run, *row] for row in rows)
    parts = [pd.DataFrame(rows, columns=list(names)) for names, rows in tables.items() if rows]
    epochs = pd.concat(parts or [pd.DataFrame(columns=["run", "epoch"])], ignore_index=True)
    numbers = dict.fromkeys([name for name in epochs.columns if name != "run"], "Float64")
    epochs = typed(epochs.astype({"run": "string", **numbers}))
    added = [name for name in dict.fromkeys(carried) if name not in epochs.columns]
    order = dict(zip(frame["run"], range(len(frame)), strict=True))
    epochs = epochs.sort_values(["run", "epoch"], key=lambda cells: cells.map(order) if cells.name == "run" else cells)
    return epochs.merge(frame[["run", *added]], on="run", how="left") if added else epochs.reset_index(drop=True)


def reference_comparison(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return the standard comparison of runs, with the columns of the reference program.

    Args:
        frame: A `load_runs` table.

    Returns:
        One row per run. Accuracies are in per cent; each split and kind of weights has separate columns, which are
        present if some run has a value. `experiment` is present if some run has one, `data` if it differs. `run` is
        relative to `common_folder(frame)`.
    """
    import pandas as pd

    names = [name for name in frame.columns if (score := ScoreColumn.of(name)) and score.measure == "accuracy"]
    scores = {_as_words(name): frame[name] for name in sorted(names, key=_score_rank) if frame[name].notna().any()}
    field_px = frame["receptive_field"].astype("string")
    return pd.DataFrame(
        {
            "run": short_names(frame),
            **({"experiment": frame["experiment"]} if frame["experiment"].notna().any() else {}),
            **({"data": frame["data"]} if frame["data"].nunique() > 1 else {}),
            **{name: frame[name] for name in ("model", "seed", "parameters")},
            "receptive field": field_px + "×" + field_px,
            **scores,
            "epochs to converge": frame["epochs_to_converge"],
            "optimizer": frame["optim"],
            "scheduler": frame["scheduler"],
            "augmentation": frame["augment"],
            "epochs": frame["epochs_done"],
            "status": frame["status"],
        }
    ).reset_index(drop=True)


def by_importance(comparison: "pd.DataFrame") -> list[str]:
    """Return the columns of a `reference_comparison`, the most important first.

    The order is the run, its status if some run is not completed, the evaluation accuracies after the last epoch, the
    choices of the configuration, and the rest.
    """
    names = list(comparison.columns)
    last = [name for name in names if name.endswith("accuracy last %") and not name.startswith("train ")]
    what = ["parameters", "model", "seed", "status", "optimizer", "scheduler", "augmentation", "experiment", "epochs"]
    status = [] if (comparison["status"] == "completed").all() else ["status"]
    leading = ["run", *status, *last, *(name for name in what if name in names)]
    return leading + [name for name in names if name not in leading]


def _score_rank(name: str) -> tuple[bool, str, bool, str]:
    """Sort key of an accuracy: training first, then by split, raw before averaged weights, best before last."""
    score = ScoreColumn.of(name)
    assert score is not None
    return score.split != "train", score.split, score.weights != "raw", score.at


def _as_words(name: str) -> str:
    return f"{name.replace('_', ' ')} %"


def compare_runs(folders: Iterable[Path | str]) -> "pd.DataFrame":
    """Compare runs by what differs in their configurations.

    Args:
        folders: The run folders.

    Returns:
        One row per run in order of start: the run, the options and settings that differ, the evaluation accuracies
        (per cent), parameters, seconds and status. The settings of a group are compared only between runs with the
        same option of the group, because the settings of different models differ anyway.

    Raises:
        ValueError: If a path is not a folder.
    """
    frame = load_runs(*folders)
    scores = [name for name in frame.columns if evaluated(name)]
    chosen = ["run", *differing(frame), *scores, "parameters", "seconds", "status"]
    return frame.assign(run=short_names(frame))[chosen]


def differing(frame: "pd.DataFrame") -> list[str]:
    """Return the options, settings and lengthening that differ between readable runs, as in `compare_runs`."""
    readable = frame[frame["status"] != UNREADABLE]
    named = ("experiment", *GROUPS, "seed", *LENGTHENED)
    options = [name for name in named if readable[name].nunique(dropna=False) > 1]
    return options + [name for name in frame.columns if is_setting(name) and _varies(readable, name)]


def _varies(frame: "pd.DataFrame", key: str) -> bool:
    group = key.partition(".")[0]
    if group not in GROUPS:
        return bool(frame[key].nunique(dropna=False) > 1)
    return bool((frame.groupby(group, dropna=False)[key].nunique(dropna=False) > 1).any())


def common_folder(frame: "pd.DataFrame") -> str:
    """Return the deepest folder that contains every run folder of the table; "" if there is none."""
    parents = {os.path.dirname(run) for run in frame["run"]}
    if not parents or len({os.path.isabs(parent) for parent in parents}) > 1:
        return ""
    return str(os.path.commonpath(parents))


def short_names(frame: "pd.DataFrame") -> "pd.Series[str]":
    """Return the run folders relative to `common_folder`."""
    folder = common_folder(frame)
    return frame["run"].map(lambda run: os.path.relpath(run, folder) if folder else run).astype("string")
