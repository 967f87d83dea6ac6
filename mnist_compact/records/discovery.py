"""Where run folders lie, what kind of run each is by its place, and what tells whether its files have changed."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnist_compact.common.bounded_read import read_json
from mnist_compact.common.run_files import CHECKPOINT, CORRECT, LOG, METRICS, RECORD, WEIGHTS

# Any of these makes a folder a run's: with no record beside it, one whose record is missing.
MARKS = {RECORD, METRICS, CHECKPOINT, LOG}
READ = (RECORD, METRICS, CORRECT)
CONFIRMED = "confirmation.json"  # in the folder of a confirmation: what is confirmed
DATABASE = "study.db"  # in the folder of a study
TRIALS = "trials"  # there too: the trials' folders by number
SEEDS = "seeds"  # in the folder of a confirmation: the seeds' folders by number
EXPORTED = ".study.json.gz"  # how the names of exported studies end

Stamp = tuple[int, ...]  # of each file in READ: time written and time changed in ns, bytes, inode; zeros if missing
ABSENT = (0, 0, 0, 0)


@dataclass(slots=True, frozen=True)
class Origin:
    """Which command left a run: `python -m mnist_compact`, alone or as a grid, a search, or `confirm`."""

    kind: str = "run"  # run, grid, trial, ranking (a candidate's part in one) or confirmation
    study: str | None = None
    trial: int | None = None
    confirmation: str | None = None  # its name, or that of the part in a ranking

    @classmethod
    def of(cls, path: str) -> "Origin":
        """By the place of a run folder, an absolute path:

        …/sweeps/<study>/trials/<number>, …/confirmations/<name>/seeds/<seed> or …/grids/<date>/<time>/<run>. A search
        told to keep its studies elsewhere has them in <study>/trials/<number> there; a confirmation elsewhere is known
        by its CONFIRMED, which also tells a ranking.
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


def _below(landmark: str, parts: list[str]) -> str:
    """The path from the last folder of that name on, "" without one."""
    if landmark not in parts:
        return ""
    return "/".join(parts[len(parts) - parts[::-1].index(landmark) :])


def _kind_of(home: str) -> str:
    return "ranking" if confirmed(home).get("ranking") is True else "confirmation"


def confirmed(home: Path | str) -> dict[str, Any]:
    """What the folder of a confirmation says of it; nothing where that cannot be read."""
    try:
        told = read_json(Path(home, CONFIRMED))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def is_below(name: str) -> bool:
    """Whether something of this name has a folder of its own in that of all."""
    return len(Path(name).parts) == 1 and name not in ("..", "/")


@dataclass(slots=True, frozen=True)
class RunFolder:
    """`label` is the folder as reached from the path given, `path` the absolute one without links."""

    label: str
    path: str
    stamp: Stamp
    fault: str = ""  # why nothing in it can be read


def run_folders(root: Path) -> Iterator[RunFolder]:
    """Every run folder at or under `root`, once; also folders that cannot be listed, with the fault.

    Links are followed in the end: what lies here as well goes by its own place.
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
    except OSError:  # gone since it was listed, or a link to nowhere
        return ABSENT
    return stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino
