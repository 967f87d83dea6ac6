"""Searches whose workers are tasks of a Ray that the search starts on this machine (tests/README.md)."""

import importlib.util
import os
import signal
import subprocess
from pathlib import Path

import pytest
from processes import PATIENCE_S, wait_for
from remote_searches import running, url_in
from test_killed_searches import check_exact, finish, start, trials_of

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed (the extra ray)"),
]
# Epochs end when the test allows it.
HELD_EPOCHS = """
import time
from pathlib import Path

from mnist_compact import Callback


class Hold(Callback):
    def on_epoch_end(self, row, *, new_best):
        while not Path("go_on").exists():
            time.sleep(0.1)
"""


@pytest.fixture
def search(tmp_path):
    """Return a function that starts a search, whose trials wait after each epoch until the test lets them go on."""
    (tmp_path / "held_epochs.py").write_text(HELD_EPOCHS)
    searches = []

    def started(workers):
        held = ("+callbacks.hold.path=held_epochs.Hold", f"hydra.sweeper.storage={url_in(tmp_path)}")
        env = {**os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"}
        searches.append(start(tmp_path, f"hydra.sweeper.workers={workers}", *held, trials=3, env=env))
        return searches[-1]

    yield started
    for each in searches:
        each.kill()
        each.wait()
        each.stdout.close()


def descendants(pid):
    """The processes that a process has started, and those that these have started; process id → command."""
    command = ["ps", "-ww", "-eo", "pid=,ppid=,args="]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    split = [row.split(None, 2) for row in listed.splitlines()]
    rows = [(int(child), int(parent), args) for child, parent, args in split]
    found, added = {}, {pid}
    while added:
        children = {child: args for child, parent, args in rows if parent in added}
        added = children.keys() - found.keys()
        found |= children
    return found


def worker_of(trial, processes):
    spec = f"/{trial.user_attrs['lease']['worker']}.json"
    return next(pid for pid, command in processes.items() if spec in command)


def check_ended(processes):
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in processes))


def check_released(folder):
    left = [trial.user_attrs for trial in trials_of(folder, url=url_in(folder)) if not trial.state.is_finished()]
    assert [(trial["attempts"], trial["lease"]) for trial in left] == [(0, {"worker": None})] * 2


def test_killed_worker_is_replaced_and_totals_stay_exact(search, tmp_path):
    process = search("ray")
    wait_for(lambda: len(running(tmp_path)) == 2, PATIENCE_S)
    processes, (victim, _) = descendants(process.pid), running(tmp_path)
    os.kill(worker_of(victim, processes), signal.SIGKILL)
    (tmp_path / "go_on").touch()
    output = finish(process)
    assert "ended by signal 9 (Killed: out of memory?)" in output
    assert "all 3 trials have ended: 3 complete, 0 pruned, 0 failed" in output
    assert process.returncode == 0
    check_exact(tmp_path, total=3, url=url_in(tmp_path))
    exits = [path.read_text() for path in (tmp_path / "outputs/sweeps/smoke/workers").glob("*.exit")]
    assert sorted(exits) == ["-9\n", "0\n", "0\n"]
    check_ended(processes)


def test_search_that_is_asked_to_end_releases_its_trials_and_ends_ray(search, tmp_path):
    process = search("ray")
    wait_for(lambda: len(running(tmp_path)) == 2, PATIENCE_S)
    processes = descendants(process.pid)
    process.terminate()
    output = finish(process)
    assert process.returncode == 128 + signal.SIGTERM, output
    check_released(tmp_path)
    check_ended(processes)
    workers = tmp_path / "outputs/sweeps/smoke/workers"
    assert not list(workers.glob("*.heartbeat"))
    assert {path.stat().st_mode & 0o077 for path in workers.glob("*.json")} == {0}, "a storage URL may have a password"


def test_workers_and_ray_end_with_a_killed_search_which_can_be_continued(search, tmp_path):
    process = search("ray")
    wait_for(lambda: len(running(tmp_path)) == 2, PATIENCE_S)
    processes = descendants(process.pid)
    process.kill()
    process.wait()
    check_ended(processes)
    (tmp_path / "go_on").touch()
    output = finish(search("local"))
    assert "all 3 trials have ended: 3 complete, 0 pruned, 0 failed" in output
    check_exact(tmp_path, total=3, url=url_in(tmp_path))
