"""Compiled functions on disk: damaged files, and folders that cannot be written to."""

import os
import sys
from pathlib import Path

import numba
import pytest
from numba.core.caching import NullCache

from mnist_compact.models.kernels import cache
from mnist_compact.models.kernels.cache import cache_of, temporary_folder


def twice(number):
    return 2 * number


def called(argument=21):
    """Call `twice` as a new process would; return how often it was found compiled on disk."""
    dispatcher = numba.njit(twice)
    dispatcher._cache = cache_of(twice)
    assert dispatcher(argument) == 2 * argument
    return sum(dispatcher.stats.cache_hits.values())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    assert (called(), called()) == (0, 1)
    return tmp_path


@pytest.mark.parametrize("ending", ["nbi", "nbc"])
@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "foreign"])
def test_damaged_cache_file_is_rebuilt(folder, ending, damage):
    (path,) = folder.rglob(f"*.{ending}")
    content = path.read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]
    path.write_bytes({"empty": b"", "cut": content[:middle], "flipped": flipped, "foreign": b"not a cache"}[damage])
    assert (called(), called()) == (0, 1)


def test_kernels_work_when_the_cache_cannot_be_saved(folder, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache._CheckedFile, "_open_for_write", full)
    assert called(2.5) == 0


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """The installation and the user's home are not writable; the folder for temporary files is tmp_path."""
    places = "UserProvidedCacheLocator,UserWideCacheLocator"
    monkeypatch.setattr(numba.config, "CACHE_LOCATOR_CLASSES", places)
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(Path(os.devnull, "cache")))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


@pytest.mark.skipif(sys.platform == "win32", reason="Numba uses another user folder there")
def test_cache_falls_back_to_a_temporary_folder(nowhere, tmp_path):
    assert (called(), called()) == (0, 1)
    assert list(tmp_path.rglob("*.nbc"))


@pytest.mark.skipif(sys.platform == "win32", reason="Numba uses another user folder there")
def test_kernels_are_not_cached_without_a_writable_folder(nowhere, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", os.devnull)
    assert isinstance(cache_of(twice), NullCache)


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="needs POSIX permissions")
def test_temporary_folder_of_others_is_not_trusted(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = temporary_folder()
    assert temporary_folder() == folder
    folder.chmod(0o777)
    assert temporary_folder() != folder
