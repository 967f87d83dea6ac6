"""Atomic file writing: a reader, or a run that is resumed after a kill, never finds a half-written file."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PREFIX = ".writing."


def sweep(folder: Path) -> None:
    """Remove the temporary files that killed writers left directly in `folder`.

    Call it only while no other process writes there.
    """
    for left in folder.glob(f"{_PREFIX}*"):
        left.unlink(missing_ok=True)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` to write to; on success it replaces `path` in one step.

    The content is flushed to disk before that. On any exception the temporary file is removed and `path` stays as it
    was. If `path` is a link, the file it points to is replaced. If it is not a regular file, such as /dev/null, it is
    written to directly.

    Args:
        path: The file to create or replace; missing parent folders are created.

    Example:
        >>> with replacing(Path("table.csv")) as temporary:  # doctest: +SKIP
        ...     temporary.write_text("a,b")
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        yield path
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # Keep the file extension: writers such as matplotlib choose the format by it.
    temporary = path.with_name(f"{_PREFIX}{os.getpid()}.{secrets.token_hex(4)}.{path.name}")
    try:
        yield temporary
        with temporary.open("rb+") as written:  # Windows flushes only files that are open for writing
            os.fsync(written.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
