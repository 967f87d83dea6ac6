"""Searches whose workers are tasks of a real Slurm, which each test starts on this machine (tests/README.md)."""

import os
import signal
import tempfile
from pathlib import Path

import pytest
from optuna.trial import TrialState
from processes import PATIENCE_S, wait_for
from real_slurm import RealSlurm, missing
from remote_searches import running, url_in
from test_killed_searches import check_exact, finish, start, trials_of

from mnist_compact.search.slurm import TEMPLATE

pytestmark = [
    pytest.mark.process,
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing()), reason="Slurm is not installed (Debian's packages slurm-wlm and munge)"),
]
SLOW_EPOCHS = """
import time

from mnist_compact import Callback


class Sleep(Callback):
    def __init__(self, pause_s):
        self.pause_s = pause_s

    def on_epoch_end(self, row, *, new_best):
        time.sleep(self.pause_s)
"""


@pytest.fixture
def cluster():
    """A cluster with places for two workers."""
    with tempfile.TemporaryDirectory(prefix="slurm") as folder:  # the path of munge's socket must be short
        made = RealSlurm(Path(folder), places=2)
        yield made
        made.close()


@pytest.fixture
def search(cluster, tmp_path):
    """Return a function that starts a search with two workers and slow epochs."""
    (tmp_path / "slow_epochs.py").write_text(SLOW_EPOCHS)
    searches = []

    def started(*words, epochs, trials, pause_s=3):
        slurm = ("hydra.sweeper.workers=slurm", f"hydra.sweeper.storage={url_in(tmp_path)}")
        slow = ("+callbacks.slow.path=slow_epochs.Sleep", f"+callbacks.slow.arguments.pause_s={pause_s}")
        env = {**os.environ, **cluster.environment, "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"}
        searches.append(start(tmp_path, *slurm, *slow, *words, f"train.epochs={epochs}", trials=trials, env=env))
        return searches[-1]

    yield started
    for each in searches:
        each.kill()
        each.wait()
        each.stdout.close()


def task_of(trial, job):
    return f"{job}_{trial.user_attrs['lease']['worker'].rpartition('_')[2]}"


def test_cancelled_task_is_replaced_and_its_trial_continues(cluster, search, tmp_path):
    process = search(epochs=3, trials=3)
    wait_for(lambda: running(tmp_path), PATIENCE_S)
    (cancelled, *_) = running(tmp_path)
    task = task_of(cancelled, job=1)
    cluster.run("scancel", task)
    wait_for(lambda: cluster.tasks().get(task) == "CANCELLED")
    output = finish(process)
    assert "all 3 trials have ended: 3 complete, 0 pruned, 0 failed" in output
    assert output.count("tasks submitted") + output.count("task submitted") == 2
    check_exact(tmp_path, total=3, url=url_in(tmp_path))
    workers = tmp_path / "outputs/sweeps/smoke/workers"
    assert {path.read_text() for path in workers.glob("*.exit")} == {"0\n"}
    assert not cluster.run("squeue", "--noheader")


def test_requeued_task_continues_as_another_worker(cluster, search, tmp_path):
    process = search("hydra.sweeper.n_jobs=1", epochs=3, trials=1)
    wait_for(lambda: running(tmp_path), PATIENCE_S)
    cluster.run("scontrol", "requeue", "1_0")
    wait_for(lambda: cluster.tasks()["1_0"] == "PENDING")
    cluster.run("scontrol", "update", "JobId=1_0", "StartTime=now")  # not after two minutes
    output = finish(process)
    assert "1 of 1 worker queued" in output
    check_exact(tmp_path, total=1, url=url_in(tmp_path))
    (trial,) = [trial for trial in trials_of(tmp_path, url=url_in(tmp_path)) if trial.state is TrialState.COMPLETE]
    assert trial.user_attrs["lease"]["worker"].endswith("-0_0.1")


def test_trial_that_reaches_the_time_limit_is_released_and_continues(cluster, search, tmp_path):
    template = tmp_path / "short.sh"
    # Slurm sends the signal up to a minute early, here after one to two minutes.
    template.write_text(TEMPLATE.read_text().replace("--time=04:00:00", "--time=00:03:00"))
    words = (f"hydra.sweeper.slurm_template={template}", "hydra.sweeper.n_jobs=1")
    output, _ = search(*words, pause_s=9, epochs=15, trials=1).communicate(timeout=10 * PATIENCE_S)
    assert "the only trial has ended: 1 complete, 0 pruned, 0 failed" in output
    (trial,) = [trial for trial in trials_of(tmp_path, url=url_in(tmp_path)) if trial.state is TrialState.COMPLETE]
    assert list(trial.intermediate_values) == [*range(1, 16)]
    assert trial.user_attrs["attempts_since"] > 0, "its last worker has continued it"


def test_tasks_of_a_killed_search_release_their_trials_and_end(cluster, search, tmp_path):
    process = search(epochs=15, trials=40, pause_s=6)
    wait_for(lambda: len(running(tmp_path)) == 2, PATIENCE_S)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    wait_for(lambda: not cluster.run("squeue", "--noheader"))
    left = [trial.user_attrs for trial in trials_of(tmp_path, url=url_in(tmp_path)) if not trial.state.is_finished()]
    assert left
    assert all((trial["attempts"], trial["lease"]) == (0, {"worker": None}) for trial in left)
