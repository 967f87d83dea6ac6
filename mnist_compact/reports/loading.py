"""Reading of run folders into rows of cells; unchanged runs come from a cache."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from mnist_compact.common.errors import UserError
from mnist_compact.records.discovery import Origin, RunFolder, run_folders
from mnist_compact.records.record import RecordError, RunRecord
from mnist_compact.reports import cache
from mnist_compact.reports.cells import Cell, cells_of
from mnist_compact.reports.columns import UNREADABLE, FoundRun


@dataclass(slots=True)
class Rows:
    """Rows of cells, one per run.

    Attributes:
        names: Column name → its position in a row; "run" is the first. New names are appended.
        cells: The rows; a row that was added before the last names is shorter.
    """

    names: dict[str, int] = field(default_factory=dict)
    cells: list[list[Cell]] = field(default_factory=list)

    def add(self, row: Mapping[str, Cell]) -> list[Cell]:
        """Append a row and return its list of cells."""
        if not row.keys() <= self.names.keys():
            for name in row:
                self.names.setdefault(name, len(self.names))
        self.cells.append([*map(row.get, self.names)])
        return self.cells[-1]

    def sort(self) -> None:
        """Sort by time of start, then by folder; rows without a start come last."""
        start = self.names.get("started_at", 0)

        def order(row: list[Cell]) -> tuple[bool, Cell, Cell]:
            started = row[start] if start and start < len(row) else None
            return started is None, started or 0, row[0]

        self.cells.sort(key=order)


def read_runs(paths: Iterable[Path]) -> Rows:
    """Read every run folder at or under the paths.

    Args:
        paths: Folders to search.

    Returns:
        One row per run folder, sorted.

    Raises:
        UserError: If a path is not a folder.
    """
    rows, seen = Rows(), set[str]()
    for root in paths:
        if not root.is_dir():
            raise UserError(f"a path must be an existing folder, got {str(root)!r}")
        _read_below(root, rows, seen)
    rows.sort()
    return rows


def _read_below(root: Path, rows: Rows, seen: set[str]) -> None:
    began_ns = time.time_ns()
    known, worth_keeping, read = cache.load(root), {}, 0
    if not rows.cells:
        rows.names = {name: position for position, name in enumerate(known.names)}
    aligned = [*rows.names][: len(known.names)] == known.names  # then a cached row needs no conversion
    for folder in run_folders(root):
        if folder.path in seen:
            continue
        seen.add(folder.path)
        stamp, cells_before = known.rows.get(folder.path, (None, []))
        if stamp == [*folder.stamp]:
            cells_before[0] = folder.label
            if aligned:
                rows.cells.append(cells := cells_before)
            else:
                cells = rows.add(dict(zip(known.names, cells_before, strict=False)))
        else:
            row = _read(folder)
            cells = rows.add(row)
            if row["status"] == UNREADABLE or not cache.settled(folder.stamp, began_ns):
                continue
            read += 1
        worth_keeping[folder.path] = (folder.stamp, cells)
    if read >= cache.WORTH_WRITING:
        cache.write(root, cache.Known([*rows.names], worth_keeping))


def _read(folder: RunFolder) -> dict[str, Cell]:
    origin, path = Origin.of(folder.path), Path(folder.label)
    try:
        if folder.fault:
            raise RecordError(f"{path}: {folder.fault}")
        record = RunRecord.read(path)
        if not isinstance(record.config, dict):
            raise RecordError(f"{path}: config is not a mapping")
        return cells_of(FoundRun(label=folder.label, folder=path, origin=origin, record=record))
    except (RecordError, RecursionError) as error:
        return {"run": folder.label, **asdict(origin), "status": UNREADABLE, "reason": str(error)}
