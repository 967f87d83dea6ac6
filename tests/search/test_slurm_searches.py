"""Searches whose workers are tasks of a fake Slurm, which runs them as processes of this machine."""

import json
import os
import signal
import threading

import pytest
from fake_slurm import FakeSlurm
from optuna.trial import TrialState
from processes import wait_for

from mnist_compact.common.errors import EXIT_INTERRUPTED
from mnist_compact.search import slurm
from mnist_compact.search.counts import tally
from mnist_compact.search.locate import studies_at

pytestmark = pytest.mark.process


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """Return a function that sets up a Slurm with so many places; its tasks are killed at the end."""
    clusters = []

    def set_up(places):
        clusters.append(FakeSlurm(tmp_path / "slurm", places))
        monkeypatch.setenv("PATH", str(clusters[0].programs), prepend=os.pathsep)
        monkeypatch.setattr(slurm, "POLL_S", 0.2)
        return clusters[0]

    yield set_up
    for each in clusters:
        each.close()


@pytest.fixture
def search(type_in, tmp_path):
    def run(*words, images, act):
        """Run a search with two workers; call `act` with its running trials once there are some with an epoch."""
        url = f"journal://{tmp_path}/study.log"

        def wait_and_act():
            wait_for(lambda: (tmp_path / "study.log").exists() and reported(url))
            act(reported(url))

        thread = threading.Thread(target=wait_and_act)
        thread.start()
        status, output, _ = type_in(
            *("-m", "sweeps=smoke", "hydra.sweeper.workers=slurm", "hydra.sweeper.n_jobs=2", *words),
            *(f"hydra.sweeper.storage={url}", f"data.train_images={images}", "data.evaluation_images=100"),
        )
        thread.join()
        return status, output, trials_of(url)

    return run


def trials_of(url):
    with studies_at(url) as studies:
        return [trial for study in studies for trial in study.get_trials(deepcopy=False)]


def reported(url):
    """The running trials that have finished an epoch and have two more."""
    trials = [trial for trial in trials_of(url) if trial.state is TrialState.RUNNING]
    return [trial for trial in trials if list(trial.intermediate_values) == [1]]


def test_preempted_worker_starts_again_and_totals_stay_exact(cluster, search, tmp_path):
    fake, preempted = cluster(places=2), []

    def preempt(trials):
        preempted.append(trials[0].number)
        fake.preempt("100_" + trials[0].user_attrs["lease"]["worker"].rpartition("_")[2])

    status, output, trials = search("hydra.sweeper.n_trials=3", images=2048, act=preempt)
    assert status == 0, output
    assert "Slurm job 100: 2 tasks submitted" in output
    assert "all 3 trials have ended: 3 complete, 0 pruned, 0 failed" in output
    assert sorted(restarts for _, restarts in fake.states().values()) == [0, 1]
    folder = tmp_path / "outputs/sweeps/smoke"
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    assert preempted[0] in [trial.number for trial in complete]
    for trial in complete:
        assert list(trial.intermediate_values) == [1, 2, 3]
        record = json.loads((folder / trial.user_attrs["folder"] / "result.json").read_text())
        assert (record["status"], record["overrides"]) == ("completed", trial.user_attrs["overrides"])
    assert {path.name for path in (folder / "trials").iterdir()} == {f"{trial.number:04d}" for trial in complete}
    assert {path.read_text() for path in (folder / "workers").glob("*.exit")} == {"0\n"}


def test_interrupted_search_cancels_its_job_and_releases_its_trials(cluster, search, tmp_path):
    fake = cluster(places=1)
    status, output, trials = search(
        "hydra.sweeper.n_trials=4", images=4096, act=lambda trials: os.kill(os.getpid(), signal.SIGINT)
    )
    assert status == EXIT_INTERRUPTED, output
    assert "1 of 2 workers queued" in output
    assert {state for state, _ in fake.states().values()} == {"CANCELLED"}
    assert tally(trials).failed == 0
    released = [trial.user_attrs for trial in trials if trial.state is TrialState.RUNNING]
    assert [(trial["attempts"], trial["lease"]) for trial in released] == [(0, {"worker": None})]
    workers = tmp_path / "outputs/sweeps/smoke/workers"
    assert not list(workers.glob("*.heartbeat"))
    assert {path.stat().st_mode & 0o077 for path in workers.glob("*.json")} == {0}, "a storage URL may have a password"
