"""Opening the storage of a study."""

import errno
import os
import re
import sys

import optuna
import pytest

from mnist_compact.common import file_systems
from mnist_compact.common.errors import ConfigError
from mnist_compact.search.storage import open_storage


def test_incomplete_last_line_of_a_journal_is_repaired(tmp_path):
    """A writer that is killed leaves such a line. It is repaired on opening and for other writers that continue."""
    file, url = tmp_path / "study.log", f"journal://{tmp_path}/study.log"
    study = optuna.create_study(storage=open_storage(url), study_name="s")
    for opened in (study, optuna.load_study(storage=open_storage(url), study_name="s")):
        opened.tell(opened.ask(), 1.0)
        with file.open("ab") as torn:
            torn.write(b'{"op_code":4,"worker_id":"x","study')
        opened.tell(opened.ask(), 2.0)  # a line behind it
        with file.open("ab") as torn:
            torn.write(b'{"op_co')
    open_storage(url)
    assert file.read_bytes().endswith(b"}\n")
    found = optuna.load_study(storage=open_storage(url), study_name="s").trials
    assert [trial.value for trial in found] == [1.0, 2.0, 1.0, 2.0]


@pytest.mark.skipif(sys.platform == "win32", reason="disables the locks of POSIX")
def test_study_without_file_locks_needs_a_journal(monkeypatch, tmp_path):
    """Otherwise SQLite would wait for a minute and then report a locked database."""

    def no_locks(file, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", no_locks)
    monkeypatch.setattr("fcntl.lockf", no_locks)
    with pytest.raises(ConfigError, match=r"SQLite needs a file system with locks.*journal://.*/study\.log") as refused:
        open_storage(f"sqlite:///{tmp_path}/study.db")
    assert not (tmp_path / "study.db").exists()
    (url,) = re.findall(r"journal:\S+", str(refused.value))
    storage = open_storage(url)
    study = optuna.create_study(study_name="s", storage=storage)
    study.add_trial(optuna.trial.create_trial(value=1.0))
    assert [trial.value for trial in optuna.load_study(study_name="s", storage=open_storage(url)).trials] == [1.0]


def test_sqlite_on_a_network_file_system_gets_one_warning(monkeypatch, tmp_path, capsys):
    table = tmp_path / "mountinfo"
    table.write_text(f"30 1 0:26 / {tmp_path} rw,relatime shared:1 - nfs4 server:/home rw\n")
    monkeypatch.setattr(file_systems, "MOUNTS", table)
    url = f"sqlite:///{tmp_path}/study.db"
    for create in (True, True, False):
        open_storage(url, create=create).engine.dispose()
    open_storage(f"journal://{tmp_path}/study.log")
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning.startswith(f"warning: {tmp_path} is on a network file system (nfs4), on which SQLite can damage")
    assert f"journal://{tmp_path}/study.log" in warning


def test_workers_do_not_repeat_the_warning_in_their_logs(monkeypatch, tmp_path, capsys):
    url = f"sqlite:///{tmp_path}/study.db"
    open_storage(url).engine.dispose()
    capsys.readouterr()
    monkeypatch.setattr("mnist_compact.search.storage.network_file_system", lambda folder: "nfs4")
    open_storage(url, create=False).engine.dispose()
    assert not capsys.readouterr().err
