"""A storage that is locked or lost during a search: the search waits or ends with a message, and nothing is lost."""

import os
import sqlite3
import time
from contextlib import closing

import pytest
from filelock import FileLock, Timeout
from processes import wait_for
from test_killed_searches import N, check_exact, finish, has_started, start, trials_of, workers_of

from mnist_compact.search.counts import tally
from mnist_compact.search.leases import MAX_ATTEMPTS

pytestmark = [pytest.mark.process, pytest.mark.slow]

DATABASE = "outputs/sweeps/smoke/study.db"
SHORT = f'hydra.sweeper.storage="sqlite:///{DATABASE}?timeout=3"'


def locked(database):
    connection = sqlite3.connect(database, timeout=60, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    return closing(connection)


def started_search(folder, *words):
    search = start(folder, *words)
    wait_for(lambda: has_started(folder) or search.poll() is not None)
    return search


def check_end_with_message(folder, search, *expected):
    output = finish(search)
    assert search.returncode == 1, output
    assert "Traceback" not in output
    assert len(output.splitlines()) < N + 8
    last = output.splitlines()[-1]
    for words in ("mnist_compact: the study's storage", *expected, "rerun the command to continue"):
        assert words in last
    assert not workers_of(folder)


def test_search_waits_for_a_locked_database_and_loses_nothing(tmp_path):
    search = started_search(tmp_path)
    with locked(tmp_path / DATABASE):
        time.sleep(12)
        assert search.poll() is None
    output = finish(search)
    assert search.returncode == 0, output
    assert "locked by another process: waiting" in output
    assert f"all {N} trials have ended: " in output
    check_exact(tmp_path)


def test_database_that_stays_locked_ends_the_search_with_a_message(tmp_path):
    search = started_search(tmp_path, SHORT)
    with locked(tmp_path / DATABASE):
        check_end_with_message(tmp_path, search, "locked by another process", "when it is unlocked")
    assert tally(trials_of(tmp_path)).failed == 0, "a lost storage is not a failure of the trial"
    finish(start(tmp_path, SHORT))
    check_exact(tmp_path)


def test_search_waits_once_for_a_locked_database_and_reports_it(tmp_path):
    finish(start(tmp_path, SHORT, trials=1))
    with locked(tmp_path / DATABASE):
        began = time.monotonic()
        search = start(tmp_path, SHORT, trials=2)
        output = finish(search)
    assert search.returncode == 1
    assert output.count("locked by another process: waiting for up to 3 s\n") == 1
    assert output.endswith("locked by another process; when it is unlocked, rerun the command to continue\n")
    assert time.monotonic() - began < 60
    assert "all 2 trials have ended" in finish(start(tmp_path, SHORT, trials=2))


def test_trial_continues_after_many_storage_losses(tmp_path):
    def begin():
        return start(tmp_path, SHORT, images=2048, trials=1)

    trial = []
    for _ in range(MAX_ATTEMPTS + 1):
        search = begin()
        wait_for(lambda: running_trial(tmp_path) is not None, seconds=120)
        trial.append(running_trial(tmp_path))
        with locked(tmp_path / DATABASE):
            check_end_with_message(tmp_path, search, "locked by another process")
    assert trial == [trial[0]] * len(trial), "in its first epoch each time"
    assert "the only trial has ended: 1 complete, 0 pruned, 0 failed" in finish(begin())
    check_exact(tmp_path, total=1)


def running_trial(folder):
    """The number of a trial that a live worker has started, or None."""
    names = {path.stem for path in (folder / "outputs/sweeps/smoke/workers").glob("*.lock") if alive(path)}
    for trial in trials_of(folder) if names else ():
        if "overrides" in trial.user_attrs and trial.user_attrs["lease"]["worker"] in names:
            return trial.number
    return None


def alive(lock):
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True


def test_search_ends_when_its_database_is_moved_and_continues_later(tmp_path):
    search = started_search(tmp_path)
    (tmp_path / DATABASE).rename(tmp_path / "aside.db")
    check_end_with_message(tmp_path, search, f"{DATABASE} is missing", "restore it")
    again = start(tmp_path)
    output = finish(again)
    assert again.returncode == 2
    assert "restore it, or choose another study_name" in output
    assert not (tmp_path / DATABASE).exists(), "no new database is created"
    (tmp_path / "aside.db").rename(tmp_path / DATABASE)
    assert tally(trials_of(tmp_path)).failed == 0
    assert f"all {N} trials have ended: " in finish(start(tmp_path))
    check_exact(tmp_path)


def test_replaced_database_is_detected(tmp_path):
    search = started_search(tmp_path)
    (tmp_path / "other.db").write_bytes((tmp_path / DATABASE).read_bytes())
    os.replace(tmp_path / "other.db", tmp_path / DATABASE)
    check_end_with_message(tmp_path, search, "was replaced")


@pytest.mark.parametrize("what", ["study.log", "."], ids=["file", "folder"])
def test_lost_journal_ends_the_search_and_is_not_created_again(tmp_path, what):
    url = f"journal://{tmp_path}/journal/study.log"
    search = start(tmp_path, f"hydra.sweeper.storage={url}")
    journal = tmp_path / "journal" / "study.log"
    wait_for(lambda: journal.exists() and b'"op_code":7' in journal.read_bytes())  # an epoch was reported
    (tmp_path / "journal" / what).resolve().rename(tmp_path / "aside")
    check_end_with_message(tmp_path, search, f"{journal} is missing", "restore it")
    assert not journal.exists()
    (tmp_path / "aside").rename((tmp_path / "journal" / what).resolve())
    finish(start(tmp_path, f"hydra.sweeper.storage={url}"))
    counted = tally(trials_of(tmp_path, url=url))
    assert (counted.complete + counted.pruned, counted.failed, counted.running) == (N, 0, 0)
