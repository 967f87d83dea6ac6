"""Locks between processes, also on file systems that have none, such as some network mounts and container volumes."""

import errno
import os
import tempfile
from functools import cache
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock

# What a system call for a lock gives where there are none. ENOSYS is known to filelock as well.
UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}


def lock_file(path: Path, timeout: float = -1) -> BaseFileLock:
    """A lock at `path`, whose folder must exist; `timeout` in seconds, negative = none.

    The system takes it from a process that dies. Where the file system has no locks, the file names its holder instead,
    and the next process on the same machine sees whether the holder is alive.
    """
    kind = FileLock if has_locks(path.parent) else SoftFileLock
    return kind(path, timeout=timeout)


@cache
def has_locks(folder: Path) -> bool:
    """Whether the file system of `folder` supports the locks that the system takes from the dead."""
    if os.name != "posix":
        return True
    import fcntl

    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in UNSUPPORTED  # of any other error the lock itself will tell
    return True
