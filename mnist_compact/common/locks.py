"""Locks between processes, also on file systems without lock support (some network mounts and container volumes)."""

import errno
import os
import tempfile
from functools import cache
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock

# Errors of the lock system call on file systems without locks. filelock itself handles ENOSYS as well.
UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}


def lock_file(path: Path, timeout: float = -1) -> BaseFileLock:
    """Create a lock between processes.

    The operating system releases the lock when its process dies. On a file system without locks, the file names its
    holder instead, and the next process on the same machine checks whether the holder is alive.

    Args:
        path: The lock file; its folder must exist.
        timeout: The longest time to wait for the lock, in seconds; negative: no limit.
    """
    kind = FileLock if has_locks(path.parent) else SoftFileLock
    return kind(path, timeout=timeout)


@cache
def has_locks(folder: Path) -> bool:
    """Return whether the file system of `folder` has locks that the operating system releases when a process dies."""
    return _supports("flock", folder)


@cache
def has_record_locks(folder: Path) -> bool:
    """Return whether the file system of `folder` supports locks on parts of a file, which SQLite needs."""
    return _supports("lockf", folder)


def _supports(call: str, folder: Path) -> bool:
    if os.name != "posix":
        return True
    import fcntl

    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            getattr(fcntl, call)(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in UNSUPPORTED  # any other error appears again when the lock is taken
    return True
