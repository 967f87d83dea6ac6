"""Reading files of unknown origin safely: regular files only, with limits on their size and their nesting depth."""

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
SMALL = 64 * MIB  # limit for records, tables and configurations
LARGE = 1024 * MIB  # limit for checkpoints, exported studies and the cache of the reports


def read_bytes(path: Path, limit: int = SMALL) -> bytes:
    """Read a regular file.

    Args:
        path: The file.
        limit: The largest size in bytes that is accepted.

    Raises:
        OSError: If the file cannot be read, is larger than `limit`, or is not a regular file. A named pipe or a device
            could block or never end.
    """
    # Without O_NONBLOCK, opening a named pipe without a writer would block.
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
    """Read a JSON file.

    Raises:
        OSError: As `read_bytes`.
        ValueError: If the content is not JSON or is nested too deeply.
    """
    return parse_json(read_bytes(path, limit))


def parse_json(text: str | bytes) -> Any:
    """Parse JSON like `json.loads`, but raise ValueError instead of RecursionError for deep nesting."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def gunzip(content: bytes, limit: int = LARGE) -> bytes:
    """Uncompress the content of a gzip file.

    Raises:
        ValueError: If the content is not a gzip file or is larger than `limit` bytes when uncompressed.
    """
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            plain = file.read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(str(error)) from error
    if len(plain) > limit:
        raise ValueError(f"larger than {limit // MIB:,} MiB when uncompressed")
    return plain
