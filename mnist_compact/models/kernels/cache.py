"""Numba's on-disk cache of compiled functions, with a check of the files that are read.

Damaged files are compiled again and replaced. A read-only folder only costs time.
"""

import hashlib
import os
import pickle
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from numba import config
from numba.core.caching import FunctionCache, IndexDataCacheFile, NullCache

DIGEST_BYTES = 32  # a SHA-256 digest, at the start of each file of machine code


def cache_of(function: Callable[..., Any]) -> Any:
    """Return the cache of `function`, an object that Numba reads before and writes after compiling.

    The cache is beside the function's source file, otherwise in the user's cache folder, otherwise in the folder for
    temporary files. Without any of these, nothing is cached.
    """
    try:
        return KernelCache(function)
    except RuntimeError:  # Numba found no folder that can be written to
        try:
            config.CACHE_DIR = str(temporary_folder())  # type: ignore[attr-defined]
            return KernelCache(function)
        except (OSError, RuntimeError):
            return NullCache()


def temporary_folder() -> Path:
    """Return a folder for this user's compiled functions that no other user can write to.

    The next process uses the same folder, unless another user has created a folder of this name.

    Raises:
        OSError: The folder cannot be created.
    """
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    folder = Path(tempfile.gettempdir(), f"mnist_compact-kernels-{user}")
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    ours = not hasattr(os, "getuid") or (found.st_uid == os.getuid() and not found.st_mode & 0o022)
    return folder if ours and not folder.is_symlink() else Path(tempfile.mkdtemp(prefix=f"{folder.name}-"))


class KernelCache(FunctionCache):
    """Numba's cache of one function.

    Raises:
        RuntimeError: No folder can be written to.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        stamp = self._impl.locator.get_source_stamp()
        self._cache_file = _CheckedFile(self._cache_path, self._impl.filename_base, stamp)

    def load_overload(self, signature: Any, target: Any) -> Any:
        """Return the cached function; None if there is none or it cannot be read."""
        try:
            return super().load_overload(signature, target)
        except Exception:  # unpickling damaged bytes may raise anything
            return None

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Cache a compiled function if the disk allows it."""
        with suppress(OSError):
            super().save_overload(signature, compiled)


class _CheckedFile(IndexDataCacheFile):
    """An index and its files of machine code. Each file starts with a digest of its content."""

    def _load_index(self) -> Any:
        try:
            return super()._load_index()
        except Exception:  # damaged: it is replaced at the next save
            return {}

    def _save_data(self, name: str, data: Any) -> None:
        content = self._dump(data)
        with self._open_for_write(self._data_path(name)) as file:
            file.write(hashlib.sha256(content).digest() + content)

    def _load_data(self, name: str) -> Any:
        stored = Path(self._data_path(name)).read_bytes()
        digest, content = stored[:DIGEST_BYTES], stored[DIGEST_BYTES:]
        if hashlib.sha256(content).digest() != digest:  # damaged machine code would crash the process
            raise ValueError(f"{name} is damaged")
        return pickle.loads(content)
