"""A heartbeat in a file, and a process that ends when it is no longer needed."""

import threading
import time

import pytest

from mnist_compact.common import heartbeat as module
from mnist_compact.common import orphans
from mnist_compact.common.errors import EXIT_FAILED
from mnist_compact.common.heartbeat import BEAT_S, EXPIRES_S, Heartbeat, is_beating


def test_heartbeat_changes_the_file_until_it_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BEAT_S", 0.001)
    changed, contents = threading.Event(), set()
    heartbeat = Heartbeat(tmp_path / "beat")
    write = Heartbeat._write

    def recorded(self):
        write(self)
        contents.add(self.path.read_text())
        if len(contents) > 2:
            changed.set()

    monkeypatch.setattr(Heartbeat, "_write", recorded)
    others = {*threading.enumerate()}
    heartbeat.start()
    heartbeat.start()
    assert changed.wait(60)
    (thread,) = {*threading.enumerate()} - others
    heartbeat.stop()
    thread.join(60)
    assert not heartbeat.path.exists()


@pytest.fixture
def clock(monkeypatch):
    """Seconds that a test can add to the clock."""
    added, monotonic = [0.0], time.monotonic
    monkeypatch.setattr(module.time, "monotonic", lambda: monotonic() + added[0])
    return added


def test_process_is_dead_without_a_change_or_a_file(tmp_path, clock):
    path = tmp_path / "beat"
    path.write_text("1")
    beating = is_beating(path)
    assert beating()
    clock[0] += EXPIRES_S - 10
    assert beating()
    path.write_text("2")
    assert beating()
    clock[0] += EXPIRES_S - 10
    assert beating(), "it has changed"
    clock[0] += 11
    assert not beating()
    path.write_text("3")
    assert beating()
    path.unlink()
    assert not beating()


def test_file_system_that_fails_for_a_while_is_not_a_death(tmp_path, clock):
    beating = is_beating(tmp_path)  # reading a folder is an error
    assert beating()
    clock[0] += EXPIRES_S + 1
    assert not beating()


def test_several_beats_fit_into_the_expiry():
    assert 3 * BEAT_S < EXPIRES_S


def test_process_ends_when_it_is_no_longer_needed(monkeypatch):
    done, ended, answers = [], threading.Event(), iter([True, False])
    monkeypatch.setattr(orphans, "CHECK_EVERY_S", 0)
    monkeypatch.setattr(orphans.os, "_exit", lambda code: (done.append(code), ended.set()))
    orphans.end_unless(lambda: next(answers), lambda: done.append("released"))
    assert ended.wait(60)
    assert done == ["released", EXIT_FAILED]
