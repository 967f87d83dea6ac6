"""Comparison of two runs: differences of their configurations and environments, and the results of both."""

from pathlib import Path
from typing import TYPE_CHECKING

from mnist_compact.common.run_files import RECORD
from mnist_compact.common.wording import counted
from mnist_compact.records.discovery import Origin, run_folders
from mnist_compact.records.record import RecordError, RunRecord
from mnist_compact.records.settings import GROUPS
from mnist_compact.reports.cells import Cell, cells_of, flat
from mnist_compact.reports.columns import COLUMNS, TIMESTAMP, FoundRun, is_setting

if TYPE_CHECKING:
    import pandas as pd

CHOICES = ("experiment", *GROUPS, "seed")  # part of the configuration, like the settings; other columns are results
MOST_NAMED = 10  # runs in an error message


def difference(a: Path | str, b: Path | str) -> "pd.DataFrame":
    """Compare two runs.

    Args:
        a: The first run folder.
        b: The second run folder.

    Returns:
        Columns `key`, `A` and `B`. The rows are the run folders, the options and settings that differ, the status, the
        measures and the scores of both runs, and the differences of their environments (versions, threads, commit, …).
        Units are those of `load_runs`.

    Raises:
        RecordError: If a folder has no readable record.
    """
    import pandas as pd

    (cells_a, environment_a), (cells_b, environment_b) = _read(Path(a)), _read(Path(b))
    rows: list[tuple[str, Cell, Cell]] = [("run", str(a), str(b))]
    pairs = {key: (cells_a.get(key), cells_b.get(key)) for key in dict.fromkeys([*cells_a, *cells_b]) if key != "run"}
    chosen = [key for key in pairs if key in CHOICES or is_setting(key)]
    rows += [(key, *pairs[key]) for key in chosen if pairs[key][0] != pairs[key][1]]
    rows += [(key, *pair) for key, pair in pairs.items() if key not in chosen and pair != (None, None)]
    for key in dict.fromkeys([*environment_a, *environment_b]):
        if environment_a.get(key) != environment_b.get(key):
            rows.append((key, environment_a.get(key), environment_b.get(key)))
    return pd.DataFrame(rows, columns=["key", "A", "B"], dtype="object")


def _read(folder: Path) -> tuple[dict[str, Cell], dict[str, Cell]]:
    """Return the cells of the run, with times as text, and those of its environment."""
    record = _record(folder)
    if not isinstance(record.config, dict) or not isinstance(record.environment, dict):
        raise RecordError(f"{folder}: config and environment must be mappings")
    origin = Origin.of(str(folder.resolve()))
    cells = cells_of(FoundRun(label=str(folder), folder=folder, origin=origin, record=record))
    times = {column.name: getattr(record, column.name) for column in COLUMNS if column.dtype == TIMESTAMP}
    return cells | times, flat("environment.", record.environment)


def _record(folder: Path) -> RunRecord:
    """Read the record; for a folder of several runs, such as a grid's, the error names them."""
    if not (folder / RECORD).exists():
        runs = sorted(run.label for run in run_folders(folder) if run.path != str(folder.resolve()) and not run.fault)
        if runs:
            more = f" and {len(runs) - MOST_NAMED} more" if len(runs) > MOST_NAMED else ""
            raise RecordError(
                f"{folder} is not a run folder, but contains {counted(len(runs), 'run')}. "
                f"Choose one of them: {', '.join(runs[:MOST_NAMED])}{more}"
            )
    return RunRecord.read(folder)
