"""Two runs side by side: what differs in their configurations, and what came of each."""

from pathlib import Path
from typing import TYPE_CHECKING

from mnist_compact.records.discovery import Origin
from mnist_compact.records.record import RecordError, RunRecord
from mnist_compact.records.settings import GROUPS
from mnist_compact.reports.cells import Cell, cells_of, flat
from mnist_compact.reports.columns import COLUMNS, TIMESTAMP, FoundRun, is_setting

if TYPE_CHECKING:
    import pandas as pd

ASKED = ("experiment", *GROUPS, "seed")  # what was chosen, beside the settings; the other columns came of it


def difference(a: Path | str, b: Path | str) -> "pd.DataFrame":
    """Columns `key`, `A`, `B`: the run folders; options and settings that differ; status, measures and scores of both;
    and of the environment (versions, threads, commit, …) what differs.

    What a run lacks is missing; units are those of `load_runs`. Raises RecordError for a folder without a record.
    """
    import pandas as pd

    (of_a, around_a), (of_b, around_b) = _read(Path(a)), _read(Path(b))
    rows: list[tuple[str, Cell, Cell]] = [("run", str(a), str(b))]
    keys = [*dict.fromkeys([*of_a, *of_b])]
    asked = [key for key in keys if key in ASKED or is_setting(key)]
    came = [key for key in keys if key not in asked and key != "run"]
    rows += [(key, of_a.get(key), of_b.get(key)) for key in asked if of_a.get(key) != of_b.get(key)]
    rows += [
        (key, of_a.get(key), of_b.get(key)) for key in came if of_a.get(key) is not None or of_b.get(key) is not None
    ]
    around = [key for key in dict.fromkeys([*around_a, *around_b]) if around_a.get(key) != around_b.get(key)]
    rows += [(key, around_a.get(key), around_b.get(key)) for key in around]
    return pd.DataFrame(rows, columns=["key", "A", "B"], dtype="object")


def _read(folder: Path) -> tuple[dict[str, Cell], dict[str, Cell]]:
    """The cells of the run, times as text, and of its environment."""
    record = RunRecord.read(folder)
    if not isinstance(record.config, dict) or not isinstance(record.environment, dict):
        raise RecordError(f"{folder}: config and environment must be mappings")
    origin = Origin.of(str(folder.resolve()))
    cells = cells_of(FoundRun(label=str(folder), folder=folder, origin=origin, record=record))
    times = {column.name: getattr(record, column.name) for column in COLUMNS if column.dtype == TIMESTAMP}
    return cells | times, flat("environment.", record.environment)
