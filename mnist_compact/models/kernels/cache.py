"""Compiled functions kept on disk, as Numba keeps them, but without trusting what lies there.

Damaged files are compiled anew and replaced, and a folder that cannot be written to costs only time.
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

DIGEST_BYTES = 32  # of SHA-256, at the start of a file of machine code


def cache_of(function: Callable[..., Any]) -> Any:
    """The cache of `function`: beside its source, else the user's, else in the folder for temporary files, else none.

    A cache is an object that Numba asks before and tells after it has compiled.
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
    """A folder for this user's compiled functions that no other user can have filled. Raises OSError if there is none.

    The next process finds it again, unless another user has taken the name.
    """
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    folder = Path(tempfile.gettempdir(), f"mnist_compact-kernels-{user}")
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    ours = not hasattr(os, "getuid") or (found.st_uid == os.getuid() and not found.st_mode & 0o022)
    return folder if ours and not folder.is_symlink() else Path(tempfile.mkdtemp(prefix=f"{folder.name}-"))


class KernelCache(FunctionCache):
    """Numba's cache of one function. Raises RuntimeError where no folder can be written to."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        stamp = self._impl.locator.get_source_stamp()
        self._cache_file = _CheckedFile(self._cache_path, self._impl.filename_base, stamp)

    def load_overload(self, signature: Any, target: Any) -> Any:
        """What was compiled before; None where there is nothing, or nothing that can be read."""
        try:
            return super().load_overload(signature, target)
        except Exception:  # unpickling damaged bytes may raise anything
            return None

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Keep what was compiled, if the disk takes it."""
        with suppress(OSError):
            super().save_overload(signature, compiled)


class _CheckedFile(IndexDataCacheFile):
    """An index and its files of machine code, each of which begins with a digest of the rest."""

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
