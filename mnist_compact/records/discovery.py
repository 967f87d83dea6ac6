"""Discovery of run folders: their paths, the kind of each run by its path, and stamps that show file changes."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnist_compact.common.bounded_read import read_json
from mnist_compact.common.run_files import CHECKPOINT, CORRECT, LOG, METRICS, RECORD, WEIGHTS

# A folder with any of these files is a run folder, even if its record is missing.
MARKS = {RECORD, METRICS, CHECKPOINT, LOG}
READ = (RECORD, METRICS, CORRECT)
CONFIRMED = "confirmation.json"  # in the folder of a confirmation: the confirmed configuration
DATABASE = "study.db"  # in the folder of a study
TRIALS = "trials"  # in the folder of a study: the run folders of the trials by number
SEEDS = "seeds"  # in the folder of a confirmation: the run folders by seed
EXPORTED = ".study.json.gz"  # the ending of exported studies

Stamp = tuple[int, ...]  # for each file in READ: mtime and ctime in ns, size in bytes, inode; zeros if missing
ABSENT = (0, 0, 0, 0)


@dataclass(slots=True, frozen=True)
class Origin:
    """The command that created a run: a single run, a grid, a search or a confirmation."""

    kind: str = "run"  # run, grid, trial, ranking (a run of a ranking's candidate) or confirmation
    study: str | None = None
    trial: int | None = None
    confirmation: str | None = None  # its name, or the candidate's name within a ranking

    @classmethod
    def of(cls, path: str) -> "Origin":
        """Derive the origin of a run from the absolute path of its folder.

        The paths are …/sweeps/<study>/trials/<number>, …/confirmations/<name>/seeds/<seed> and
        …/grids/<date>/<time>/<run>. A search with another output folder uses <folder>/<study>/trials/<number>. A
        confirmation in another folder is recognised by its file CONFIRMED, which also marks rankings.
        """
        *above, parent, name = ["", "", *path.split(os.sep)]
        if parent == TRIALS and name.isdecimal():
            return cls("trial", study=_below("sweeps", above) or above[-1], trial=int(name))
        home = os.path.join(os.sep, *above)
        if parent == SEEDS and (confirmation := _below("confirmations", above)):
            return cls(_kind_of(home), confirmation=confirmation)
        if parent == SEEDS and os.path.exists(os.path.join(home, CONFIRMED)):
            return cls(_kind_of(home), confirmation=above[-1])
        return cls("grid") if above[-2] == "grids" else cls()


def _below(folder: str, parts: list[str]) -> str:
    """Return the path below the last folder of that name; "" if there is none."""
    if folder not in parts:
        return ""
    return "/".join(parts[len(parts) - parts[::-1].index(folder) :])


def _kind_of(home: str) -> str:
    return "ranking" if confirmed(home).get("ranking") is True else "confirmation"


def confirmed(home: Path | str) -> dict[str, Any]:
    """Read the file CONFIRMED in the folder of a confirmation; an empty dictionary if it cannot be read."""
    try:
        content = read_json(Path(home, CONFIRMED))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def is_below(name: str) -> bool:
    """Return whether a name, used as a path, is a direct subfolder."""
    return len(Path(name).parts) == 1 and name not in ("..", "/")


@dataclass(slots=True, frozen=True)
class RunFolder:
    """A run folder that was found.

    Attributes:
        label: The folder relative to the path that was searched.
        path: The absolute path without links.
        stamp: The stamp of its files.
        fault: Why the folder cannot be read; "" if it can.
    """

    label: str
    path: str
    stamp: Stamp
    fault: str = ""


def run_folders(root: Path) -> Iterator[RunFolder]:
    """Find every run folder at or under `root`, each once; folders that cannot be listed carry a `fault`.

    Links are followed last, so that a folder below `root` is reported under its own path rather than under a link.
    """
    waiting = [("" if root == Path() else str(root), os.path.realpath(root))]
    links, seen = list[tuple[str, str]](), set[str]()
    while waiting or links:
        label, path = waiting.pop() if waiting else links.pop()
        if path in seen:
            continue
        seen.add(path)
        is_run = False
        stamps: dict[str, Stamp] = dict.fromkeys(READ, ABSENT)
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    name = entry.name
                    if name in MARKS or (name.startswith(".writing.") and name.endswith(RECORD)):
                        is_run = True
                        if name in stamps:
                            stamps[name] = _stamp(entry)
                    elif name != WEIGHTS and entry.is_dir(follow_symlinks=False):
                        waiting.append((os.path.join(label, name), entry.path))
                    elif name != WEIGHTS and entry.is_symlink() and entry.is_dir():
                        links.append((os.path.join(label, name), os.path.realpath(entry.path)))
        except OSError as error:
            yield RunFolder(label or ".", path, (), f"the folder cannot be listed ({error.strerror})")
            continue
        if is_run:
            yield RunFolder(label or ".", path, sum(stamps.values(), ()))


def _stamp(entry: "os.DirEntry[str]") -> Stamp:
    try:
        stat = entry.stat()
    except OSError:  # removed since it was listed, or a broken link
        return ABSENT
    return stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino
