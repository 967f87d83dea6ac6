"""Locks where the file system has none."""

import errno
import os
import sys

import pytest
from filelock import FileLock, SoftFileLock, Timeout

from mnist_compact.common import locks
from mnist_compact.common.locks import lock_file
from mnist_compact.runs.trainer import resume, run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="disables the locks of POSIX")


@pytest.fixture(params=[errno.ENOLCK, errno.EOPNOTSUPP], ids=lambda number: errno.errorcode[number])
def without_locks(request, monkeypatch):
    """flock fails as on a file system without locks."""

    def flock(file, operation):
        raise OSError(request.param, os.strerror(request.param))

    locks.has_locks.cache_clear()
    monkeypatch.setattr("fcntl.flock", flock)
    yield
    locks.has_locks.cache_clear()


def test_usual_file_system_gets_a_lock_of_the_system(tmp_path):
    assert isinstance(lock_file(tmp_path / "lock"), FileLock)


def test_lock_without_system_support_is_exclusive(without_locks, tmp_path):
    with lock_file(tmp_path / "lock") as held, pytest.raises(Timeout):
        lock_file(tmp_path / "lock", timeout=0).acquire()
    assert isinstance(held, SoftFileLock)
    with lock_file(tmp_path / "lock", timeout=0):
        pass


def test_run_and_continuation_work_without_locks(configure, recording_callback, without_locks, tmp_path):
    run(configure("train.epochs=1"), tmp_path, recording_callback())
    assert resume(tmp_path, recording_callback(), epochs=2).status == "completed"
    assert not (tmp_path / ".lock").exists()
