"""A cache of table rows in the folder that was searched, so that unchanged runs are not read again.

A row is valid while the files of its run have the same times, sizes and inodes as when they were read. The whole cache
is ignored if it is damaged or was written by another version of the code. If it cannot be written, there is no cache.
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
WORTH_WRITING = 200  # newly read records; reading fewer again is fast, so small folders get no cache file
SETTLED_NS = 2_000_000_000  # the coarsest resolution of file times: a younger file may change without a new time


@dataclass(slots=True, frozen=True)
class Known:
    """The content of the cache.

    Attributes:
        names: The names of the columns; the first is "run".
        rows: Absolute path of a run folder → its stamp and its cells in the order of `names`.
    """

    names: list[str] = field(default_factory=lambda: ["run"])
    rows: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)


def load(root: Path) -> Known:
    """Read the cache of the folder `root`; it is empty if the file is missing or invalid."""
    try:
        head, _, body = read_bytes(root / FILENAME, LARGE).partition(b"\n")
    except OSError:
        return Known()
    return Known(*json.loads(body)) if head == _head(body) else Known()


def write(root: Path, known: Known) -> None:
    """Write the cache of the folder `root`, if possible."""
    body = json.dumps([known.names, known.rows], separators=(",", ":")).encode()
    with suppress(OSError), replacing(root / FILENAME) as path:
        path.write_bytes(_head(body) + b"\n" + body)


def settled(stamp: Stamp, now_ns: int) -> bool:
    """Return whether files with this stamp are old enough that any later change would alter the stamp."""
    return max(*stamp[0::4], *stamp[1::4]) < now_ns - SETTLED_NS


def _head(body: bytes) -> bytes:
    return f"{_code()} {zlib.crc32(body):08x}".encode()


@cache
def _code() -> str:
    """Return a digest of the code that reads records, because a change of the code may change the rows."""
    digest = hashlib.sha256()
    package = Path(__file__).parents[1]
    for folder in ("common", "records", "reports"):
        for path in sorted((package / folder).glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()
