"""Rows read before, kept in the folder that was searched. Only ever a shortcut: without it everything is read again.

A row counts while the files of its run that are read have the times, sizes and inodes they had when it was read. None
of it counts when the file is damaged, belongs to other code than this package's, or cannot be written.
"""

import hashlib
import json
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from mnist_compact.common.atomic import replacing
from mnist_compact.common.bounded_read import LARGE, read_bytes
from mnist_compact.records.discovery import Stamp

FILENAME = ".runs.cache"
WORTH_WRITING = 200  # records read anew; fewer are as soon read again, and leave no file where few runs lie
SETTLED_NS = 2_000_000_000  # the coarsest time stamps of file systems: what is younger may change and look the same


@dataclass(slots=True, frozen=True)
class Known:
    """Absolute path of a run folder → its stamp and its cells, in the order of `names`, of which the first is "run"."""

    names: list[str] = field(default_factory=lambda: ["run"])
    rows: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)


def load(root: Path) -> Known:
    """What is kept in `root`, nothing of it where it cannot be trusted."""
    try:
        head, _, body = read_bytes(root / FILENAME, LARGE).partition(b"\n")
    except OSError:
        return Known()
    return Known(*json.loads(body)) if head == _head(body) else Known()


def write(root: Path, known: Known) -> None:
    """Keep these rows in `root`, if it can be written to."""
    body = json.dumps([known.names, known.rows], separators=(",", ":")).encode()
    with suppress(OSError), replacing(root / FILENAME) as path:
        path.write_bytes(_head(body) + b"\n" + body)


def settled(stamp: Stamp, now_ns: int) -> bool:
    """Whether files with this stamp were last touched so long ago that another change would show in it."""
    return max(*stamp[0::4], *stamp[1::4]) < now_ns - SETTLED_NS


def _head(body: bytes) -> bytes:
    return f"{_code()} {zlib.crc32(body):08x}".encode()


@cache
def _code() -> str:
    """A digest of the code that reads records, because a change of it may change what is read."""
    digest = hashlib.sha256()
    package = Path(__file__).parents[1]
    for folder in ("common", "records", "reports"):
        for path in sorted((package / folder).glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()
