"""Files written whole or not at all: a reader, or a run that comes back after a kill, never meets half of one."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PREFIX = ".writing."


def sweep(folder: Path) -> None:
    """Remove what writers killed in the middle left in `folder` itself. Only where no other writer is at work."""
    for left in folder.glob(f"{_PREFIX}*"):
        left.unlink(missing_ok=True)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; on success it is flushed to disk and takes `path`'s place in one step.

    On any exception the half-written file is removed and `path` stays as it was. A link stays a link, to a file that is
    replaced. What is there and no file, such as /dev/null, is written to in place.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        yield path
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # The ending stays last: writers such as matplotlib choose the format by it.
    beside = path.with_name(f"{_PREFIX}{os.getpid()}.{secrets.token_hex(4)}.{path.name}")
    try:
        yield beside
        with beside.open("rb+") as written:  # Windows flushes only what is open for writing
            os.fsync(written.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
