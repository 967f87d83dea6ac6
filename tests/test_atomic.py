import os
import signal
import subprocess
import sys

import pytest

from mnist_compact.atomic import replacing, sweep


def test_the_file_is_there_whole(tmp_path):
    path = tmp_path / "new" / "file.txt"
    with replacing(path) as beside:
        beside.write_text("whole")
        assert not path.exists()
        assert beside.suffix == ".txt"
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def half():
        with replacing(path) as beside:
            beside.write_text("ha")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_writer_killed_in_the_middle_leaves_the_old_file_and_what_sweep_removes(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    script = f"""
import os, signal
from pathlib import Path
from mnist_compact.atomic import replacing
with replacing(Path({str(path)!r})) as beside:
    beside.write_text("ha")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", script], cwd=os.getcwd(), timeout=180, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == [path]
