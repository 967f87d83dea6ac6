"""Trackers, for real: what TensorBoard reads back is what the run's record says."""

import csv
import os
import socket
import subprocess
import sys
import time
from contextlib import closing
from types import SimpleNamespace
from typing import ClassVar

import pytest
from hydra import compose

from mnist_compact.callbacks.base import Callback, CallbackList, SafeCallback
from mnist_compact.callbacks.config import (
    CALLBACKS,
    MLflowConfig,
    NoCallbackConfig,
    TensorBoardConfig,
    existing_callbacks,
)
from mnist_compact.callbacks.mlflow import PATIENCE, MLflowTracker
from mnist_compact.common.errors import ConfigError
from mnist_compact.common.run_files import CHECKPOINT
from mnist_compact.config.conversion import tracker_of
from mnist_compact.runs.trainer import resume, run

tensorboard = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def scalars(folder):
    """Tag → (epoch, value), as TensorBoard shows them."""
    events = tensorboard.EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def metrics(folder):
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_tensorboard_shows_the_metrics(configure, recording_callback, tmp_path):
    config = configure("train.average_epochs=1")
    callback = CallbackList(recording_callback(), *TensorBoardConfig(name="tensorboard").callbacks(tmp_path))
    run(config, tmp_path, callback)
    shown, rows = scalars(tmp_path), metrics(tmp_path)
    for tag, column in [
        ("loss/train", "train_loss"),
        ("accuracy/synthetic", "synthetic_accuracy"),
        ("learning_rate", "learning_rate"),
    ]:
        assert shown[tag] == [(int(row["epoch"]), pytest.approx(float(row[column]))) for row in rows]
    assert shown["accuracy/synthetic_averaged"] == [(2, pytest.approx(float(rows[1]["synthetic_averaged_accuracy"])))]
    assert {"loss/synthetic", "seconds"} <= set(shown)


def test_a_continued_run_shows_every_epoch_once(configure, recording_callback, tmp_path):
    def cut_off(score, network):
        if score.epoch == 2:
            raise KeyboardInterrupt
        return False

    first = CallbackList(recording_callback(), *TensorBoardConfig(name="tensorboard").callbacks(tmp_path))
    run(configure("train.epochs=3"), tmp_path, first, pruning_callback=cut_off)
    first.close()
    resume(tmp_path, CallbackList(recording_callback(), *existing_callbacks(tmp_path)))
    assert [epoch for epoch, _ in scalars(tmp_path)["loss/train"]] == [1, 2, 3]


def test_tensorboard_shows_epochs_once_after_a_damaged_checkpoint(configure, recording_callback, tmp_path):
    """The run goes on from the checkpoint before, so that an epoch is trained, and told to the tracker, twice."""

    def cut_off(score, network):
        if score.epoch == 4:
            raise KeyboardInterrupt
        return False

    first = CallbackList(recording_callback(), *TensorBoardConfig(name="tensorboard").callbacks(tmp_path))
    run(configure("train.epochs=4"), tmp_path, first, pruning_callback=cut_off)
    first.close()
    (tmp_path / CHECKPOINT).write_bytes(b"damaged")
    second = recording_callback()
    resume(tmp_path, CallbackList(second, *existing_callbacks(tmp_path)))
    assert [row["epoch"] for row in second.rows] == [3, 4]
    assert [epoch for epoch, _ in scalars(tmp_path)["loss/train"]] == [1, 2, 3, 4]


def test_none_leaves_nothing(tmp_path):
    assert NoCallbackConfig(name="none").callbacks(tmp_path) == existing_callbacks(tmp_path) == []


@pytest.mark.parametrize("name", CALLBACKS)
@pytest.mark.usefixtures("configure")
def test_every_tracker_can_be_chosen_on_the_command_line(name):
    chosen = tracker_of(compose("config", overrides=["hydra/help=default", f"tracker={name}"]))
    assert (type(chosen), chosen.name) == (CALLBACKS[name], name)


@pytest.mark.parametrize(("library", "mark"), [("tensorboard", "tensorboard"), ("mlflow", "mlflow.json")])
def test_without_its_library_a_new_run_is_refused_and_an_old_one_goes_on(monkeypatch, tmp_path, capsys, library, mark):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ConfigError, match=f"pip install {library}"):
        CALLBACKS[library](name=library).callbacks(tmp_path)
    (tmp_path / mark).mkdir()
    assert existing_callbacks(tmp_path) == []
    assert "goes on untracked" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize(
    ("words", "folders"),
    [
        (("train.epochs=1",), 1),
        (("-m", "train.epochs=1", "seed=0,1"), 2),
        (("-m", "sweeps=smoke", "hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=1"), 2),
    ],
)
def test_runs_grids_and_searches_are_tracked_alike(tmp_path, words, folders):
    small = ("data=synthetic", "data.train_images=128", "data.evaluation_images=40", "train.batch_size=32")
    command = [sys.executable, "-m", "mnist_compact", *words, "tracker=tensorboard", *small]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    tracked = [path.parent for path in tmp_path.rglob("tensorboard")]
    assert len(tracked) == folders
    for folder in tracked:
        assert [epoch for epoch, _ in scalars(folder)["loss/train"]] == [int(row["epoch"]) for row in metrics(folder)]


@pytest.fixture
def store(monkeypatch, tmp_path):
    """MLflow's client of a store of files, which it keeps up for those who ask."""
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return mlflow.MlflowClient(tracking_uri=(tmp_path / "store").as_uri())


@pytest.mark.slow  # to import MLflow takes as long as many tests; and nothing else wants it installed
@pytest.mark.filterwarnings("ignore::FutureWarning")  # MLflow's word on stores of files
def test_mlflow_shows_the_settings_the_metrics_and_the_end_once_though_cut_off(
    configure, recording_callback, store, tmp_path
):
    def cut_off(score, network):
        if score.epoch == 2:
            raise KeyboardInterrupt
        return False

    tracker = MLflowConfig(name="mlflow", uri=store.tracking_uri, experiment="probe")
    home = tmp_path / "run"
    first = CallbackList(recording_callback(), *tracker.callbacks(home))
    run(configure("train.epochs=3", "train.average_epochs=1"), home, first, pruning_callback=cut_off)
    place = store.get_experiment_by_name("probe").experiment_id
    assert [run.info.status for run in store.search_runs([place])] == ["KILLED"]
    resume(home, CallbackList(recording_callback(), *existing_callbacks(home)))
    (shown,) = store.search_runs([place])
    assert (shown.info.status, shown.info.run_name) == ("FINISHED", "run")
    assert (shown.data.params["model.name"], shown.data.params["train.epochs"]) == ("m3", "3")
    rows = metrics(home)
    for tag, column in (("loss/train", "train_loss"), ("accuracy/synthetic", "synthetic_accuracy")):
        found = {metric.step: metric.value for metric in store.get_metric_history(shown.info.run_id, tag)}
        assert found == {int(row["epoch"]): pytest.approx(float(row[column])) for row in rows}


class FakeClient:
    """MLflow's client in memory, with one run; `log` holds what was asked of it."""

    log: ClassVar[list] = []
    params: ClassVar[dict] = {}
    tags: ClassVar[dict] = {}
    tracking_uri = "memory"

    def __init__(self, tracking_uri):
        self.log.append({name: os.environ.get(name) for name in PATIENCE})

    def get_experiment_by_name(self, name):
        return SimpleNamespace(experiment_id="1")

    def create_run(self, experiment, run_name):
        return SimpleNamespace(info=SimpleNamespace(run_id="r"))

    def log_batch(self, run_id, metrics=(), params=()):
        self.params.update(params)

    def update_run(self, run_id, status):
        self.log.append(status)

    def get_run(self, run_id):
        return SimpleNamespace(data=SimpleNamespace(params=self.params, tags=self.tags))

    def set_tag(self, run_id, key, value):
        self.tags[key] = value

    def set_terminated(self, run_id, status):
        self.log.append(status)


@pytest.fixture
def mlflow(monkeypatch):
    for name in PATIENCE:
        monkeypatch.delenv(name, raising=False)
    for name in ("log", "params", "tags"):
        monkeypatch.setattr(FakeClient, name, type(getattr(FakeClient, name))())
    monkeypatch.setitem(sys.modules, "mlflow", SimpleNamespace(MlflowClient=FakeClient))
    entities = SimpleNamespace(Param=lambda key, value: (key, value), Metric=lambda *values: values)
    monkeypatch.setitem(sys.modules, "mlflow.entities", entities)
    return FakeClient


def test_mlflow_shows_what_a_continuation_changed(configure, recording_callback, mlflow, tmp_path):
    def tracked():
        return CallbackList(recording_callback(), MLflowTracker(tmp_path / "mlflow.json", None, "probe"))

    run(configure("train.epochs=1"), tmp_path, tracked())
    resume(tmp_path, tracked(), epochs=2)
    assert (mlflow.params["train.epochs"], mlflow.tags) == ("1", {"continued.train.epochs": "2"})
    assert mlflow.log[1:] == ["FINISHED", dict(PATIENCE), "RUNNING", "FINISHED"]


def test_mlflow_hears_of_a_run_that_an_error_ended(configure, recording_callback, mlflow, tmp_path):
    def broken(score, network):
        raise RuntimeError("out of memory")

    tracker = MLflowTracker(tmp_path / "mlflow.json", None, "probe")
    with pytest.raises(RuntimeError), closing(CallbackList(recording_callback(), tracker)) as callback:
        run(configure("train.epochs=1"), tmp_path, callback, pruning_callback=broken)
    assert mlflow.log[1:] == ["FAILED"]


def test_mlflow_limits_set_by_the_user_stay(configure, recording_callback, mlflow, monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
    run(configure("train.epochs=1"), tmp_path, MLflowTracker(tmp_path / "mlflow.json", None, "probe"))
    assert mlflow.log[0] == {**PATIENCE, "MLFLOW_HTTP_REQUEST_TIMEOUT": "60"}


@pytest.mark.slow  # to import MLflow takes as long as many tests; and it waits for the server
def test_dead_mlflow_server_costs_seconds(configure, recording_callback, monkeypatch, tmp_path, capsys):
    pytest.importorskip("mlflow")
    for name in PATIENCE:
        monkeypatch.delenv(name, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        config = MLflowConfig(name="mlflow", uri=f"http://127.0.0.1:{silent.getsockname()[1]}")
        began = time.monotonic()
        record = run(
            configure("train.epochs=2"), tmp_path, CallbackList(recording_callback(), *config.callbacks(tmp_path))
        )
    assert record.status == "completed"
    assert "tracker=mlflow failed, and the run continues without it" in capsys.readouterr().err
    assert time.monotonic() - began < 60  # of MLflow's own limits: minutes


class Broken(Callback):
    """Its disk is full from the second epoch on."""

    heard = 0

    def on_epoch_end(self, row, *, new_best):
        self.heard += 1
        if row["epoch"] > 1:
            raise OSError("no space left")

    def on_run_end(self, record, folder):
        self.heard += 100


def test_a_tracker_that_fails_costs_the_run_nothing(configure, recording_callback, tmp_path, capsys):
    broken = Broken()
    record = run(
        configure("train.epochs=3"),
        tmp_path,
        CallbackList(recording_callback(), SafeCallback("tracker=broken", broken)),
    )
    assert (record.status, record.epochs_done, broken.heard) == ("completed", 3, 2)
    assert capsys.readouterr().err == "tracker=broken failed, and the run continues without it: no space left\n"


class Hearing(Callback):
    """Notes what it is told of."""

    def __init__(self):
        self.heard = []

    def on_message(self, message):
        self.heard.append("message")

    def on_run_start(self, info):
        self.heard.append(f"started {info.settings['model']['name']}")

    def on_step_end(self, view):
        self.heard.append("on_step_end")

    def on_epoch_end(self, row, *, new_best):
        self.heard.append(f"epoch {row['epoch']}")

    def on_run_end(self, record, folder):
        self.heard.append(f"ended {record.status}")

    def close(self):
        self.heard.append("close")


def test_a_tracker_hears_all_that_the_terminal_hears(configure, recording_callback, tmp_path):
    tracker = Hearing()
    callbacks = CallbackList(recording_callback(), SafeCallback("tracker=hearing", tracker))
    callbacks.on_message("the images are there")
    run(configure("train.epochs=1"), tmp_path, callbacks)
    callbacks.close()
    assert tracker.heard == [
        *("message", "started m3", "on_step_end", "on_step_end", "on_step_end", "epoch 1"),
        *("ended completed", "close"),
    ]
