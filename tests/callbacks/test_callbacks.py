"""Callbacks of runs: TensorBoard, MLflow and user callbacks, for every way to start or continue a run."""

import csv
import json
import os
import re
import socket
import subprocess
import sys
import textwrap
import time
from collections import namedtuple
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest
from hydra import compose

from mnist_compact.callbacks.callback import Callback, CallbackList, SafeCallback
from mnist_compact.callbacks.config import (
    CALLBACKS,
    CustomConfig,
    MLflowConfig,
    TensorBoardConfig,
    build_callbacks,
    check_callbacks,
    named_callbacks,
    stored_callbacks,
)
from mnist_compact.callbacks.mlflow import PATIENCE, MLflowCallback
from mnist_compact.common.errors import ConfigError
from mnist_compact.common.run_files import CHECKPOINT
from mnist_compact.config.conversion import callbacks_of
from mnist_compact.runs.trainer import resume, run

tensorboard = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

ROOT = Path(__file__).parents[2]
SMALL = ("data=synthetic", "data.train_images=96", "data.evaluation_images=40", "train.batch_size=32", "train.epochs=2")
TENSORBOARD = {"tensorboard": TensorBoardConfig()}


def continued(folder):
    """The callbacks with which `resume` continues a run."""
    return build_callbacks(stored_callbacks(folder), folder)


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
    callback = CallbackList(recording_callback(), *build_callbacks(TENSORBOARD, tmp_path))
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


def test_continued_run_shows_every_epoch_once(configure, recording_callback, tmp_path):
    def cut_off(score, network):
        if score.epoch == 2:
            raise KeyboardInterrupt
        return False

    first = CallbackList(recording_callback(), *build_callbacks(TENSORBOARD, tmp_path))
    run(configure("train.epochs=3"), tmp_path, first, pruning_callback=cut_off)
    first.close()
    resume(tmp_path, CallbackList(recording_callback(), *continued(tmp_path)))
    assert [epoch for epoch, _ in scalars(tmp_path)["loss/train"]] == [1, 2, 3]


def test_tensorboard_shows_epochs_once_after_a_damaged_checkpoint(configure, recording_callback, tmp_path):
    """The run continues from the previous checkpoint, so that an epoch is trained and reported twice."""

    def cut_off(score, network):
        if score.epoch == 4:
            raise KeyboardInterrupt
        return False

    first = CallbackList(recording_callback(), *build_callbacks(TENSORBOARD, tmp_path))
    run(configure("train.epochs=4"), tmp_path, first, pruning_callback=cut_off)
    first.close()
    (tmp_path / CHECKPOINT).write_bytes(b"damaged")
    second = recording_callback()
    resume(tmp_path, CallbackList(second, *continued(tmp_path)))
    assert [row["epoch"] for row in second.rows] == [3, 4]
    assert [epoch for epoch, _ in scalars(tmp_path)["loss/train"]] == [1, 2, 3, 4]


def test_run_without_callbacks_stores_none(configure, recording_callback, tmp_path):
    assert build_callbacks({}, tmp_path) == []
    run(configure("train.epochs=1"), tmp_path, recording_callback())
    assert stored_callbacks(tmp_path) == {}
    assert not (tmp_path / "callbacks.json").exists()


def chosen(*words):
    return callbacks_of(compose("config", overrides=[*words]))


RECORDER = f"{__name__}.EventRecorder"


@pytest.mark.usefixtures("configure")
def test_options_of_callbacks_merge_with_own_ones(monkeypatch):
    monkeypatch.setattr("mnist_compact.callbacks.config.check_installed", lambda *_, **__: None)  # MLflow is an extra
    assert chosen() == chosen("callbacks=none") == {}
    words = ("callbacks=[tensorboard,mlflow]", "callbacks.mlflow.experiment=probe", f"+callbacks.mine.path={RECORDER}")
    assert chosen(*words, "+callbacks.mine.arguments.places=3") == {
        "tensorboard": TensorBoardConfig(),
        "mlflow": MLflowConfig(experiment="probe"),
        "mine": CustomConfig(path=RECORDER, arguments={"places": 3}),
    }


@pytest.mark.usefixtures("configure")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("=a.B", "callbacks.own must be a mapping, got a.B: write +callbacks.own.path=<module>.<class>"),
        (".pth=a.B", "callbacks.own.pth is not a key of the configuration. Did you mean 'path'?"),
        (".arguments.x=1", "callbacks.own.path must be given as <module>.<class>, got nothing"),
        (".path=B", "callbacks.own.path must be of the form <module>.<class>, got 'B'"),
        (".path=os.A", "callbacks.own.path must be a class that can be imported, got os.A (module 'os' has no"),
        (".path=os.environ", "callbacks.own.path must be a subclass of mnist_compact.Callback, got os.environ"),
        (
            f".path={RECORDER} +callbacks.own.arguments.y=1",
            f"callbacks.own.arguments must fit {RECORDER}, got {{'y': 1}} (got an unexpected keyword argument 'y')",
        ),
        (".path=A +callbacks.b.path=B", "got 'A'\ncallbacks.b.path must be of the form <module>.<class>, got 'B'"),
    ],
)
def test_own_callback_that_cannot_be_used_is_refused(words, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        chosen(*f"+callbacks.own{words}".split())


@pytest.mark.parametrize("word", ["custom", "mlflo", 5])
def test_python_argument_that_names_no_callback_is_refused(word):
    with pytest.raises(ConfigError, match=r"^callbacks must be tensorboard, mlflow or import paths <module>"):
        named_callbacks(["tensorboard", word])


@pytest.mark.parametrize("library", ["tensorboard", "mlflow"])
def test_missing_library_refuses_a_run_but_no_continuation(monkeypatch, tmp_path, capsys, library):
    monkeypatch.setitem(sys.modules, library, None)
    configs = {library: CALLBACKS[library]()}
    with pytest.raises(ConfigError, match=f"^callbacks.{library} needs {library}: pip install {library}"):
        check_callbacks(configs)
    assert len(build_callbacks(configs, tmp_path)) == 1, "only what stores the configs"
    assert f"callbacks.{library} is left out, and the run continues without it" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"a": {"kind": "none"}}', '{"a": {"kind": "mlflow", "x": 1}}', '{"a": {}}']
)
def test_damaged_file_of_callbacks_is_named(tmp_path, capsys, text):
    (tmp_path / "callbacks.json").write_text(text)
    assert stored_callbacks(tmp_path) == {}
    assert f"{tmp_path / 'callbacks.json'} cannot be read, and the run continues without" in capsys.readouterr().err


def documented():
    page = (ROOT / "docs/how-to/write-a-callback.md").read_text(encoding="utf-8")
    return re.findall(r"```python[^\n]*\n(.*?)```", page, re.DOTALL)


@pytest.fixture
def epoch_log(tmp_path, monkeypatch):
    """The documented callback as a file in the working folder; the rows of its logs by run folder."""
    (tmp_path / "epoch_log.py").write_text(documented()[0], encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", os.getcwd())])
    monkeypatch.delitem(sys.modules, "epoch_log", raising=False)

    def logged():
        logs = {path.parent: path.read_text().splitlines() for path in tmp_path.rglob("epoch_log.csv")}
        return {folder: [int(line.split(",")[0]) for line in lines] for folder, lines in logs.items()}

    return logged


OWN = "+callbacks.log.path=epoch_log.EpochLog"


def test_documented_callback_agrees_with_the_docstring():
    own = documented()[0]
    assert len(own.splitlines()) == 10
    assert textwrap.indent(own, 12 * " ", lambda line: line.strip()) in Callback.__doc__


def test_documented_python_runs(no_plots, epoch_log, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    exec(compile(documented()[1], "write-a-callback.md", "exec"), {})
    assert epoch_log() == {tmp_path / "outputs/example": [1, 2, 3]}
    assert [epoch for epoch, _ in scalars(tmp_path / "outputs/example")["loss/train"]] == [1, 2, 3]
    assert stored_callbacks(tmp_path / "outputs/example") == TENSORBOARD


def test_own_callback_continues_in_resume_and_rerun(epoch_log, type_in, tmp_path):
    for words in ((*SMALL, OWN, "hydra.run.dir=first"), ("resume=first", "train.epochs=3"), ("rerun=first", "seed=1")):
        status, _, error = type_in(*words)
        assert (status, error) == (0, "")
    logged = epoch_log()
    assert logged.pop(tmp_path / "first") == [1, 2, 3]
    ((again, epochs),) = logged.items()
    assert epochs == [1, 2, 3]
    assert stored_callbacks(again) == {"log": CustomConfig(path="epoch_log.EpochLog")}
    record = json.loads((again / "result.json").read_text())
    assert "callbacks" not in record["config"]


@pytest.mark.parametrize("words", [(), ("-m", "seed=0,1")])
def test_missing_class_is_refused_before_training(epoch_log, type_in, tmp_path, words):
    status, _, error = type_in(*words, *SMALL, "+callbacks.log.path=epoch_log.EpochLogs")
    assert status == 2
    assert "callbacks.log.path must be a class that can be imported, got epoch_log.EpochLogs" in error
    assert not list(tmp_path.rglob("result.json"))


def test_resume_without_the_users_file_continues_without_it(epoch_log, type_in, tmp_path, monkeypatch):
    assert type_in(*SMALL, OWN, "hydra.run.dir=first")[0] == 0
    (tmp_path / "epoch_log.py").unlink()
    monkeypatch.delitem(sys.modules, "epoch_log")
    status, _, error = type_in("resume=first", "train.epochs=3")
    assert (status, epoch_log()) == (0, {tmp_path / "first": [1, 2]})
    assert error == (
        "callbacks.log is left out, and the run continues without it: callbacks.log.path must be a class that can be "
        "imported, got epoch_log.EpochLog (No module named 'epoch_log')\n"
    )


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize(
    ("words", "folders"),
    [
        ((), 1),
        (("-m", "seed=0,1"), 2),
        (("-m", "sweeps=smoke", "hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=1"), 2),
    ],
)
def test_runs_grids_and_searches_have_callbacks(epoch_log, tmp_path, words, folders):
    command = [sys.executable, "-m", "mnist_compact", *words, *SMALL, OWN, "callbacks=[tensorboard]"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    logged = epoch_log()
    assert len(logged) == folders
    for folder, epochs in logged.items():
        assert epochs == [int(row["epoch"]) for row in metrics(folder)]
        assert [epoch for epoch, _ in scalars(folder)["loss/train"]] == epochs


@pytest.mark.slow
@pytest.mark.process
def test_confirmations_have_callbacks(epoch_log, type_in, tmp_path):
    assert type_in(*SMALL, "hydra.run.dir=first")[0] == 0
    words = ("--run", "first", "--split", "synthetic", "--callback", "tensorboard", "--callback", "epoch_log.EpochLog")
    command = [sys.executable, "-m", "mnist_compact.confirm", *words, "--seeds", "2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    logged = epoch_log()
    assert [(folder.name, epochs) for folder, epochs in sorted(logged.items())] == [("3000", [1, 2]), ("3001", [1, 2])]
    assert all([epoch for epoch, _ in scalars(folder)["loss/train"]] == [1, 2] for folder in logged)
    done = subprocess.run([*command, "--callback", "nope.B"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert (done.returncode, "callbacks.nope.B.path must be a class" in done.stderr) == (2, True)


@pytest.fixture
def store(monkeypatch, tmp_path):
    """MLflow's client of a file store, which must be enabled explicitly."""
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return mlflow.MlflowClient(tracking_uri=(tmp_path / "store").as_uri())


@pytest.mark.slow  # importing MLflow takes as long as many tests, and no other test needs it
@pytest.mark.filterwarnings("ignore::FutureWarning")  # MLflow's warning about file stores
def test_mlflow_shows_an_interrupted_run_once(configure, recording_callback, store, tmp_path):
    def cut_off(score, network):
        if score.epoch == 2:
            raise KeyboardInterrupt
        return False

    configs = {"mlflow": MLflowConfig(uri=store.tracking_uri, experiment="probe")}
    home = tmp_path / "run"
    first = CallbackList(recording_callback(), *build_callbacks(configs, home))
    run(configure("train.epochs=3", "train.average_epochs=1"), home, first, pruning_callback=cut_off)
    place = store.get_experiment_by_name("probe").experiment_id
    assert [run.info.status for run in store.search_runs([place])] == ["KILLED"]
    resume(home, CallbackList(recording_callback(), *continued(home)))
    (shown,) = store.search_runs([place])
    assert (shown.info.status, shown.info.run_name) == ("FINISHED", "run")
    assert (shown.data.params["model.name"], shown.data.params["train.epochs"]) == ("m3", "3")
    rows = metrics(home)
    for tag, column in (("loss/train", "train_loss"), ("accuracy/synthetic", "synthetic_accuracy")):
        found = {metric.step: metric.value for metric in store.get_metric_history(shown.info.run_id, tag)}
        assert found == {int(row["epoch"]): pytest.approx(float(row[column])) for row in rows}


class FakeClient:
    """An MLflow client in memory with one run; `log` records the calls."""

    log: ClassVar[list] = []
    params: ClassVar[dict] = {}
    tags: ClassVar[dict] = {}
    metrics: ClassVar[list] = []
    tracking_uri = "memory"

    def __init__(self, tracking_uri):
        self.log.append({name: os.environ.get(name) for name in PATIENCE})

    def get_experiment_by_name(self, name):
        return SimpleNamespace(experiment_id="1")

    def create_run(self, experiment, run_name):
        return SimpleNamespace(info=SimpleNamespace(run_id="r"))

    def log_batch(self, run_id, metrics=(), params=()):
        self.params.update(params)
        self.metrics.extend(metrics)

    def get_metric_history(self, run_id, key):
        return [metric for metric in self.metrics if metric.key == key]

    def update_run(self, run_id, status):
        self.log.append(status)

    def get_run(self, run_id):
        latest = {metric.key: metric.value for metric in self.metrics}
        return SimpleNamespace(data=SimpleNamespace(params=self.params, tags=self.tags, metrics=latest))

    def set_tag(self, run_id, key, value):
        self.tags[key] = value

    def set_terminated(self, run_id, status):
        self.log.append(status)


@pytest.fixture
def mlflow(monkeypatch):
    for name in PATIENCE:
        monkeypatch.delenv(name, raising=False)
    for name in ("log", "params", "tags", "metrics"):
        monkeypatch.setattr(FakeClient, name, type(getattr(FakeClient, name))())
    monkeypatch.setitem(sys.modules, "mlflow", SimpleNamespace(MlflowClient=FakeClient))
    entities = SimpleNamespace(
        Param=lambda key, value: (key, value), Metric=namedtuple("Metric", "key value timestamp step")
    )
    monkeypatch.setitem(sys.modules, "mlflow.entities", entities)
    return FakeClient


def test_mlflow_shows_the_changes_of_a_continuation(configure, recording_callback, mlflow, tmp_path):
    def tracked():
        return CallbackList(recording_callback(), MLflowCallback(tmp_path / "mlflow.json", None, "probe"))

    run(configure("train.epochs=1"), tmp_path, tracked())
    resume(tmp_path, tracked(), epochs=2)
    assert (mlflow.params["train.epochs"], mlflow.tags) == ("1", {"continued.train.epochs": "2"})
    assert mlflow.log[1:] == ["FINISHED", dict(PATIENCE), "RUNNING", "FINISHED"]


@pytest.mark.parametrize("elsewhere", [False, True])
def test_mlflow_shows_the_new_values_of_a_repeated_epoch(configure, recording_callback, mlflow, tmp_path, elsewhere):
    """After a damaged checkpoint, epoch 3 is trained again; on another machine its scores may differ."""

    def tracked():
        return CallbackList(recording_callback(), MLflowCallback(tmp_path / "mlflow.json", None, "probe"))

    def cut_off(score, network):
        if score.epoch == 4:
            raise KeyboardInterrupt
        return False

    run(configure("train.epochs=4"), tmp_path, tracked(), pruning_callback=cut_off)
    (tmp_path / CHECKPOINT).write_bytes(b"damaged")
    if elsewhere:
        third = [metric for metric in mlflow.metrics if metric.step == 3]
        mlflow.metrics[:] = [metric for metric in mlflow.metrics if metric not in third]
        mlflow.metrics += [metric._replace(value=metric.value + 1) for metric in third]
    resume(tmp_path, tracked())
    for key in ("loss/train", "accuracy/synthetic", "seconds"):
        steps = [metric.step for metric in mlflow.metrics if metric.key == key]
        assert steps == ([1, 2, 3, 3, 4] if elsewhere else [1, 2, 3, 4])
    assert mlflow.tags == ({"repeated_epochs": "3"} if elsewhere else {})


def test_mlflow_records_a_run_that_failed(configure, recording_callback, mlflow, tmp_path):
    def broken(score, network):
        raise RuntimeError("out of memory")

    mlflow_callback = MLflowCallback(tmp_path / "mlflow.json", None, "probe")
    with pytest.raises(RuntimeError), closing(CallbackList(recording_callback(), mlflow_callback)) as callback:
        run(configure("train.epochs=1"), tmp_path, callback, pruning_callback=broken)
    assert mlflow.log[1:] == ["FAILED"]


def test_mlflow_limits_of_the_user_are_kept(configure, recording_callback, mlflow, monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
    run(configure("train.epochs=1"), tmp_path, MLflowCallback(tmp_path / "mlflow.json", None, "probe"))
    assert mlflow.log[0] == {**PATIENCE, "MLFLOW_HTTP_REQUEST_TIMEOUT": "60"}


@pytest.mark.slow  # importing MLflow takes as long as many tests, and this test waits for the server
def test_unreachable_mlflow_server_delays_by_seconds_only(configure, recording_callback, monkeypatch, tmp_path, capsys):
    pytest.importorskip("mlflow")
    for name in PATIENCE:
        monkeypatch.delenv(name, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        configs = {"mlflow": MLflowConfig(uri=f"http://127.0.0.1:{silent.getsockname()[1]}")}
        began = time.monotonic()
        record = run(
            configure("train.epochs=2"),
            tmp_path,
            CallbackList(recording_callback(), *build_callbacks(configs, tmp_path)),
        )
    assert record.status == "completed"
    assert "callbacks.mlflow failed, and the run continues without it" in capsys.readouterr().err
    assert time.monotonic() - began < 60  # with MLflow's own limits it would take minutes


class Broken(Callback):
    """A callback that fails from the second epoch on, as with a full disk."""

    calls = 0

    def on_epoch_end(self, row, *, new_best):
        self.calls += 1
        if row["epoch"] > 1:
            raise OSError("no space left")

    def on_run_end(self, record, folder):
        self.calls += 100


def test_callback_error_never_aborts_a_run(configure, recording_callback, tmp_path, capsys):
    broken = Broken()
    record = run(
        configure("train.epochs=3"),
        tmp_path,
        CallbackList(recording_callback(), SafeCallback("callbacks.broken", broken)),
    )
    assert (record.status, record.epochs_done, broken.calls) == ("completed", 3, 2)
    assert capsys.readouterr().err == "callbacks.broken failed, and the run continues without it: no space left\n"


def test_error_of_own_callback_is_printed_once(configure, recording_callback, tmp_path, capsys):
    callbacks = build_callbacks({"broken": CustomConfig(path=f"{__name__}.Broken")}, tmp_path)
    record = run(configure("train.epochs=3"), tmp_path, CallbackList(recording_callback(), *callbacks))
    assert (record.status, record.epochs_done) == ("completed", 3)
    assert capsys.readouterr().err == "callbacks.broken failed, and the run continues without it: no space left\n"


class EventRecorder(Callback):
    """Record every event."""

    def __init__(self, places=0):
        self.events = []

    def on_message(self, message):
        self.events.append("message")

    def on_run_start(self, info):
        self.events.append(f"started {info.settings['model']['name']}")

    def on_step_end(self, view):
        self.events.append("on_step_end")

    def on_epoch_end(self, row, *, new_best):
        self.events.append(f"epoch {row['epoch']}")

    def on_run_end(self, record, folder):
        self.events.append(f"ended {record.status}")

    def close(self):
        self.events.append("close")


def test_safe_callback_forwards_every_event(configure, recording_callback, tmp_path):
    recorder = EventRecorder()
    callbacks = CallbackList(recording_callback(), SafeCallback("callbacks.recorder", recorder))
    callbacks.on_message("the images are there")
    run(configure("train.epochs=1"), tmp_path, callbacks)
    callbacks.close()
    assert recorder.events == [
        *("message", "started m3", "on_step_end", "on_step_end", "on_step_end", "epoch 1"),
        *("ended completed", "close"),
    ]
