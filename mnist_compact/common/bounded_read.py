"""Reading files of unknown origin: only regular files, up to a stated size, nested no deeper than Python can follow."""

import errno
import gzip
import io
import json
import os
import stat
import zlib
from pathlib import Path
from typing import Any

MIB = 2**20
SMALL = 64 * MIB  # of records, tables and configurations
LARGE = 1024 * MIB  # of checkpoints, exported studies and the reports' cache


def read_bytes(path: Path, limit: int = SMALL) -> bytes:
    """The content of a regular file.

    Raises OSError for what is none (a named pipe or a device would hang or never end), and for more than `limit` bytes.
    """
    # Without O_NONBLOCK a pipe that nobody writes to would hold up the opening.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with open(os.open(path, flags), "rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"larger than {limit // MIB:,} MiB", str(path))
    return content


def read_json(path: Path, limit: int = SMALL) -> Any:
    """The value in a JSON file. Raises OSError as `read_bytes`, ValueError for what is no JSON or nested too deeply."""
    return parse_json(read_bytes(path, limit))


def parse_json(text: str | bytes) -> Any:
    """As `json.loads`, but too deep a nesting is a ValueError."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def gunzip(content: bytes, limit: int = LARGE) -> bytes:
    """Uncompressed content. Raises ValueError for what is no gzip file, and for more than `limit` bytes."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            plain = file.read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(str(error)) from error
    if len(plain) > limit:
        raise ValueError(f"larger than {limit // MIB:,} MiB when uncompressed")
    return plain
