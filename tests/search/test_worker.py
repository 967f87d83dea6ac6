"""A worker in this process: pruned trials, lost leases, heartbeats."""

import dataclasses
import os
import signal
import threading
from contextlib import closing, suppress

import optuna
import pytest
from hydra import compose
from optuna.trial import TrialState

from mnist_compact.common.heartbeat import Heartbeat
from mnist_compact.records.record import RunRecord, Score, Status
from mnist_compact.search import worker as worker_module
from mnist_compact.search.create import StudySpec
from mnist_compact.search.leases import LEASE_S
from mnist_compact.search.snapshot import take_snapshot
from mnist_compact.search.stopping import StoppingCriteria
from mnist_compact.search.worker import HEARTBEAT_S, Worker
from mnist_compact.search.worker_spec import WorkerSpec
from mnist_compact.training.config import MachineConfig

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")  # as the search itself does

WORDS = ("data=synthetic", "data.train_images=96", "data.evaluation_images=40", "train.batch_size=32", "train.epochs=3")
ONE_CORE = MachineConfig(name="one_core", device="cpu", threads=1)
SETTINGS = StoppingCriteria(n_trials=2, target=None, target_trials=1, max_failures=3, max_refusals=4, maximize=True)


@pytest.fixture
def worker(configure, tmp_path):
    """A worker of a study without trials; a trial takes 3 epochs."""
    config = compose("config", overrides=["hydra/sweeper=compact"], return_hydra_config=True)
    url = f"sqlite:///{tmp_path}/study.db"
    snapshot = take_snapshot(config.hydra.sweeper, [*WORDS, "optim.lr=interval(0.01,0.1)"])
    StudySpec("s", tmp_path, url, True, snapshot, []).create_or_load()
    worker_spec = WorkerSpec(
        str(tmp_path),
        url,
        "s",
        "ours",
        private=True,
        machine=ONE_CORE,
        parent=os.getpid(),
        remote=False,
        parent_name="parent",
        settings=SETTINGS,
    )
    worker = Worker(worker_spec)
    with closing(worker.proposer.composer):
        yield worker


def test_pruned_trial_is_stored_after_its_worker_died(worker, tmp_path, monkeypatch):
    """The record is on disk, and the worker was killed before it could tell the study."""
    monkeypatch.setattr(optuna.pruners.NopPruner, "prune", lambda self, study, trial: True)
    worker.leases.study.pruner = optuna.pruners.NopPruner()
    job = worker._claim()
    assert worker._train(job).status is Status.STOPPED
    monkeypatch.undo()
    monkeypatch.setattr(worker, "_claim", lambda: job)
    assert worker.process_trial()
    (trial,) = worker.leases.trials()
    assert (trial.state, list(trial.intermediate_values)) == (TrialState.PRUNED, [1])
    assert trial.user_attrs["reason"] == "pruned after 1 epoch"
    assert RunRecord.read(tmp_path / job.folder).epochs_done == 1


def test_pruner_ignores_refused_trials_that_are_complete(worker):
    """Refused trials are stored as complete for samplers that learn from complete trials only."""
    pruner = optuna.pruners.PercentilePruner(50.0, n_startup_trials=2, n_min_trials=1)
    worker.leases.study.pruner = pruner
    score = Score(split="synthetic", weights="raw", at="last", epoch=1, loss=1.0, correct=20, total=40, accuracy=50.0)
    report = worker._pruning_callback(worker._claim())
    for attributes, pruned in (({}, False), ({"refused": "over budget"}, False), ({}, True)):
        worker.leases.study.add_trial(
            optuna.trial.create_trial(value=99.0, intermediate_values={1: 99.0}, user_attrs=attributes)
        )
        assert report(score, None) == pruned


def test_worker_interrupted_while_compiling_releases_its_trial(worker, monkeypatch):
    """Numba's compiler may drop the KeyboardInterrupt of a signal and fail with an error of its own."""

    def compile_kernels(job):
        with suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        raise RuntimeError("no compiled object yet")

    monkeypatch.setattr(worker, "_train", compile_kernels)
    monkeypatch.setattr(worker_module, "end_with", lambda parent, release: None)
    with pytest.raises(KeyboardInterrupt):
        worker.work()
    (trial,) = worker.leases.trials()
    assert (trial.state, trial.user_attrs["lease"], trial.user_attrs["attempts"]) == (
        TrialState.RUNNING,
        {"worker": None},
        0,
    )


def test_worker_that_lost_its_lease_stores_nothing(worker, tmp_path, monkeypatch):
    job = worker._claim()
    worker.leases.note(job.trial_id, lease={"worker": "another"})
    monkeypatch.setattr(worker, "_claim", lambda: job)
    assert worker.process_trial()
    (trial,) = worker.leases.trials()
    assert (trial.state, trial.intermediate_values) == (TrialState.RUNNING, {})
    record = RunRecord.read(tmp_path / job.folder)
    assert record.status is Status.RUNNING, "the other worker updates it"
    assert record.config["machine"]["name"] == "one_core", "this worker's machine"


class EndOfTest(BaseException):
    """Ends the infinite loop of a heartbeat."""


@pytest.fixture
def beat(worker, monkeypatch):
    """Return a function that lets the heartbeat renew the lease n times."""

    def beats(count):
        left = iter(range(count))

        def sleep(seconds):
            if next(left, None) is None:
                raise EndOfTest

        with monkeypatch.context() as patched:
            patched.setattr(worker_module.time, "sleep", sleep)
            with pytest.raises(EndOfTest):
                worker._beat()

    return beats


def lease_of(worker, job):
    return worker.leases.trials()[job.number].user_attrs["lease"]


def test_heartbeat_renews_the_lease_of_the_current_trial(worker, beat):
    job = worker._claim()
    first = lease_of(worker, job)
    beat(1)
    assert lease_of(worker, job) == first, "the worker has no current trial yet"
    worker.current_trial = job.trial_id
    beat(1)
    second = lease_of(worker, job)
    assert second["said"] > first["said"]
    beat(2)
    assert lease_of(worker, job)["said"] > second["said"]


def test_heartbeat_leaves_a_reclaimed_trial(worker, beat):
    job = worker._claim()
    worker.current_trial = job.trial_id
    worker.leases.note(job.trial_id, lease={"worker": "another"})
    beat(2)
    assert lease_of(worker, job) == {"worker": "another"}


def test_heartbeat_survives_a_storage_error(worker, beat, monkeypatch, capsys):
    job = worker._claim()
    worker.current_trial = job.trial_id
    first, holds, answers = lease_of(worker, job), worker.leases.holds, iter([OSError("unavailable for a while")])

    def holds_after_an_error(trial_id):
        for error in answers:
            raise error
        return holds(trial_id)

    monkeypatch.setattr(worker.leases, "holds", holds_after_an_error)
    beat(2)
    assert lease_of(worker, job)["said"] > first["said"]
    assert capsys.readouterr().out == "no heartbeat: unavailable for a while\n"


def test_heartbeat_starts_with_the_worker(worker, monkeypatch):
    started = threading.Event()
    monkeypatch.setattr(worker_module, "end_with", lambda parent, at_last: None)  # it would end this process
    monkeypatch.setattr(worker, "_beat", started.set)
    monkeypatch.setattr(worker, "process_trial", lambda: started.wait(60) and False)
    worker.work()
    assert started.is_set()


def test_worker_elsewhere_ends_with_the_heartbeat_of_its_coordinator(worker, monkeypatch):
    watched = []
    monkeypatch.setattr(worker_module, "end_unless", lambda alive, at_last: watched.append((alive, at_last)))
    worker.spec = dataclasses.replace(worker.spec, parent=None, remote=True)
    heartbeat = Heartbeat(worker.folder / "workers/parent.heartbeat")
    heartbeat.start()
    worker._end_with_coordinator()
    ((alive, at_last),) = watched
    assert alive()
    heartbeat.stop()
    assert not alive()
    assert at_last == worker._release


def test_several_heartbeats_fit_into_a_lease():
    assert 3 * HEARTBEAT_S < LEASE_S
