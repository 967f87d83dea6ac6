import fcntl
import os
import signal
import subprocess
import sys

import pytest

from mnist_compact.common.atomic import replacing, sweep


def test_file_is_written_completely(tmp_path):
    path = tmp_path / "new" / "file.txt"
    with replacing(path) as beside:
        beside.write_text("whole")
        assert not path.exists()
        assert beside.suffix == ".txt"
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_failed_write_leaves_only_the_old_file(tmp_path):
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


def test_killed_writer_leaves_the_old_file_and_a_removable_one(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    script = f"""
import os, signal
from pathlib import Path
from mnist_compact.common.atomic import replacing
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


def test_files_of_others_are_not_removed(tmp_path):
    """A run folder may contain the folders of other runs."""
    with replacing(tmp_path / "runs" / "live" / "result.json") as beside:
        beside.write_text("{}")
        sweep(tmp_path)
    assert (tmp_path / "runs" / "live" / "result.json").read_text() == "{}"


def test_special_files_are_written_in_place(tmp_path):
    """As with `--out /dev/null`, which root could replace by a file."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with replacing(pipe) as path:
            path.write_text("through")
        assert os.read(reader, 100) == b"through"
    finally:
        os.close(reader)
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


def test_existing_folder_is_not_replaced(tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(IsADirectoryError), replacing(tmp_path / "there") as path:
        path.write_text("text")
    assert (tmp_path / "there").is_dir()


@pytest.mark.parametrize("before", ["old", None])
def test_link_stays_a_link(tmp_path, before):
    target, link = tmp_path / "elsewhere" / "file.txt", tmp_path / "link.txt"
    target.parent.mkdir()
    if before is not None:
        target.write_text(before)
    link.symlink_to(target)
    with replacing(link) as beside:
        beside.write_text("new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_flushed_file_is_open_for_writing(tmp_path, monkeypatch):
    """Windows refuses otherwise."""
    modes = []
    monkeypatch.setattr(os, "fsync", lambda file: modes.append(fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE))
    with replacing(tmp_path / "file.txt") as beside:
        beside.write_text("whole")
    assert modes == [os.O_RDWR]
