"""Resuming grids and runs in existing folders, and rerunning saved configurations."""

import gzip
import json
import os
import signal

import pytest

from mnist_compact.config.composition import compose
from mnist_compact.config.schema import to_record
from mnist_compact.hydra_ext.grid_snapshot import SNAPSHOT
from mnist_compact.records.record import NetworkFacts, RunRecord, Score, Status
from mnist_compact.runs.jobs import JobResult

SHORT = ("data=synthetic", "data.train_images=64", "train.batch_size=32", "train.epochs=1")


def write_record(folder, status, config=None):
    folder.mkdir(parents=True)
    score = Score(split="test", weights="raw", at="last", epoch=1, accuracy=98.0, loss=1.0, correct=98, total=100)
    facts = NetworkFacts(parameters=1, trainable_parameters=1, macs=1, receptive_field=1, input_shape=[1, 28, 28])
    RunRecord(status=status, config=config or {}, evaluated="test", scores=[score], network=facts).write(folder)


@pytest.fixture
def jobs_of(type_in, monkeypatch):
    """Run the command of a grid; return the jobs that would run. None is started."""

    def typed(*arguments):
        given = []

        def run_all(jobs, *_, **__):
            given.extend(jobs)
            return {job.number: JobResult("", value=1.0) for job in jobs}

        monkeypatch.setattr("mnist_compact.hydra_ext.launcher.run_all", run_all)
        status, _, errors = type_in(*arguments)
        assert (status, errors) == (0, "")
        return given

    return typed


def test_resumed_grid_runs_interrupted_and_missing_jobs(jobs_of, tmp_path):
    started = jobs_of(
        "-m", *SHORT, "machine.threads=1", "optim=sgd,rmsprop", "optim.momentum=0.8", "seed=range(0,3)",
        "hydra.sweep.dir=my grid", "hydra.sweep.subdir=${optim.name}/${seed}",
    )  # fmt: skip
    assert [str(job.folder) for job in started][::3] == ["my grid/sgd/0", "my grid/rmsprop/0"]
    ends = (Status.COMPLETED, Status.INTERRUPTED, Status.DIVERGED, Status.RUNNING, Status.FAILED)
    for number, (job, status) in enumerate(zip(started, ends, strict=False)):
        options = (*SHORT, f"optim={('sgd', 'rmsprop')[number // 3]}", "optim.momentum=0.8", f"seed={number % 3}")
        write_record(job.folder, status, to_record(compose(*options)))
    saved = tmp_path / "my grid" / "multirun.yaml"  # as in versions without a config group for the machine
    saved.write_text(saved.read_text().replace("- machine.threads=1", "- train.threads=1"))
    resumed = jobs_of("resume=my grid")
    assert [(job.number, job.command[3:]) for job in resumed[:3]] == [
        (number, [f"resume={started[number].folder}"]) for number in (1, 3, 4)
    ]
    (missing,) = resumed[3:]
    assert (missing.folder, missing.label) == (started[5].folder, started[5].label)
    assert {*started[5].command} - {"hydra.sweep.dir=my grid"} <= {*missing.command}


def change_width(config):
    """Change the configuration like an edit of the model's file; return the expected message."""
    layer = config["model"]["layers"]["conv1"]
    layer["width"] += 1
    return f"was started with another configuration (model.layers.conv1.width: {layer['width']} → {layer['width'] - 1})"


def test_grid_with_a_changed_member_is_not_resumed(type_in, jobs_of, tmp_path):
    started = jobs_of("-m", *SHORT, "model=m3", "seed=0,1", "hydra.sweep.dir=grid", "hydra.sweep.subdir=${seed}")
    path = tmp_path / "grid" / SNAPSHOT
    first, second = json.loads(gzip.decompress(path.read_bytes()))
    second["machine"]["threads"] = 7  # has no effect
    path.write_bytes(gzip.compress(json.dumps([first, second]).encode()))
    assert [job.number for job in jobs_of("resume=grid")] == [0, 1]
    difference = change_width(second)
    path.write_bytes(gzip.compress(json.dumps([first, second]).encode()))
    status, _, errors = type_in("resume=grid")
    assert status == 2
    assert "1 of 2 jobs changed, so none was started:" in errors
    assert f"grid/1 {difference}" in errors
    assert not started[1].folder.exists()
    path.write_bytes(gzip.compress(json.dumps([first]).encode()))
    assert "grid was started with 1 job and now has 2" in type_in("resume=grid")[2]
    path.write_bytes(b"no archive")
    assert f"grid/{SNAPSHOT} is damaged" in type_in("resume=grid")[2]


def test_grid_of_earlier_version_is_compared_with_its_records(type_in, jobs_of, tmp_path):
    started = jobs_of("-m", *SHORT, "model=m3", "seed=0,1", "hydra.sweep.dir=grid", "hydra.sweep.subdir=${seed}")
    (tmp_path / "grid" / SNAPSHOT).unlink()
    config = to_record(compose(*SHORT, "model=m3"))
    write_record(started[0].folder, Status.COMPLETED, config)
    assert [job.number for job in jobs_of("resume=grid")] == [1]
    difference = change_width(config)
    record = RunRecord.read(started[0].folder)
    record.config = config
    record.write(started[0].folder)
    status, _, errors = type_in("resume=grid")
    assert status == 2
    assert f"grid/0 {difference}" in errors


def test_grid_resume_refuses_changes_and_search_folders(type_in, jobs_of, tmp_path):
    jobs_of("-m", *SHORT, "hydra.sweep.dir=grid", "seed=0,1")
    expected = "mnist_compact: resume of a grid accepts no changes, got optim.lr\n"
    assert type_in("resume=grid", "optim.lr=1") == (2, "", expected)
    saved = tmp_path / "grid" / "multirun.yaml"
    saved.write_text(saved.read_text().replace("hydra/sweeper: basic", "hydra/sweeper: compact"))
    expected = "mnist_compact: grid is not a grid: to continue it, rerun the command with hydra/sweeper=compact\n"
    assert type_in("resume=grid") == (2, "", expected)


def test_rerun_trains_a_saved_configuration_with_overrides(type_in, configure, monkeypatch, tmp_path):
    saved = to_record(configure("optim=sgd", "optim.lr=0.03", "model.layers.conv1.width=7"))
    write_record(tmp_path / "first", Status.COMPLETED, saved)
    runs = []

    def run(config, folder, callback, *, overrides):
        runs.append((to_record(config), overrides))
        write_record(folder, Status.COMPLETED, to_record(config))
        return RunRecord.read(folder)

    monkeypatch.setattr("mnist_compact.runs.trainer.run", run)
    assert type_in("rerun=first")[::2] == (0, "")
    assert type_in("rerun=first", "seed=5", "model.layers.conv1.width=6")[::2] == (0, "")
    changed = json.loads(json.dumps(saved))
    changed["seed"], changed["model"]["layers"]["conv1"]["width"] = 5, 6
    assert runs == [
        (saved, ["rerun=first"]),
        (changed, ["rerun=first", "seed=5", "model.layers.conv1.width=6"]),
    ]
    again = sorted(path.name[8:-7] for path in (tmp_path / "outputs" / "runs").glob("*/*"))
    assert again == ["_m3_sgd_seed0", "_m3_sgd_seed5"]


@pytest.mark.parametrize(
    "typed", ["first", "first/config.yaml", "--config-dir=first --config-name=config", "-cd first", "-cp first"]
)
def test_saved_config_takes_precedence_over_the_program_config(type_in, configure, monkeypatch, tmp_path, typed):
    """Hydra alone would search the program's own folder first."""
    monkeypatch.setattr("mnist_compact.runs.trainer.run", lambda *_, **__: pytest.fail("it was trained"))
    write_record(tmp_path / "first", Status.COMPLETED, to_record(configure()))
    (tmp_path / "first/config.yaml").write_text("seed: 1\n")
    before = sorted(tmp_path.rglob("*"))
    status, shown, message = type_in(*typed.split())
    assert (status, shown) == (2, "")
    assert message.endswith("belongs to a run; to run its configuration again: python -m mnist_compact rerun=first\n")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("optim.momentun=0.5", "optim.momentun is not a setting of the run; only settings can be changed."),
        (
            "train.threads=1",
            "train.threads is not a setting of the run; only settings can be changed. It is machine.threads now.",
        ),
        ("optim.lr=-1", "optim.lr must be above 0, got -1.0"),
        ("optim=adam", "optim must be a mapping, got 'adam'"),
        ("model.layers.conv4.width=200", "budget.parameters_below must exceed the network's parameters, got 8,000 for"),
    ],
)
def test_invalid_change_is_refused_before_anything_is_created(type_in, configure, tmp_path, change, expected):
    write_record(tmp_path / "first", Status.COMPLETED, to_record(configure()))
    status, _, message = type_in("rerun=first", change)
    assert status == 2
    assert message.startswith(f"mnist_compact: {expected}")
    assert [path.name for path in tmp_path.iterdir()] == ["first"]


def test_resume_of_a_completed_run_changes_nothing(type_in, tmp_path):
    assert type_in(*SHORT, "model=m1", "hydra.run.dir=run", "machine.threads=1")[0] == 0

    def files():
        return {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in (tmp_path / "run").rglob("*")}

    before = files()
    for given in ([], ["train.epochs=1"], ["machine.threads=2"]):
        status, output, errors = type_in("resume=run", *given)
        assert (status, errors) == (0, "")
        assert output.startswith("there is nothing to do: run is completed (epoch 1 of 1); add train.epochs=<more> ")
    assert files() == before
    status, _, errors = type_in("resume=run", "train.epochs=0")
    assert (status, errors) == (2, "mnist_compact: train.epochs must be at least the run's 1, got 0\n")


def test_run_continues_on_another_machine_and_records_it(type_in, tmp_path):
    """The run was started on a device that this machine does not have, such as a GPU."""
    assert type_in(*SHORT, "model=m1", "hydra.run.dir=run", "machine.threads=1")[0] == 0
    record = RunRecord.read(tmp_path / "run")
    record.config["machine"]["device"] = "cuda:9"
    record.write(tmp_path / "run")
    status, _, errors = type_in("resume=run", "train.epochs=2")
    assert (status, "machine.device must be auto, cpu or a GPU of this machine" in errors) == (2, True)
    assert type_in("resume=run", "train.epochs=2", "machine.device=cpu", "machine.threads=2")[0] == 0
    record = RunRecord.read(tmp_path / "run")
    assert (record.epochs_done, record.config["machine"]["device"]) == (2, "cuda:9")
    assert [record.latest_environment[key] for key in ("device", "threads")] == ["cpu", 2]


def test_signals_are_recorded_as_interruptions_like_ctrl_c(type_in, monkeypatch, tmp_path):
    def ended(*_, **__):
        os.kill(os.getpid(), signal.SIGTERM)
        yield

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("mnist_compact.runs.trainer.fit", ended)
    status, output, errors = type_in(*SHORT, "hydra.run.dir=run")
    assert (status, errors) == (130, "")
    assert "continue with: python -m mnist_compact resume=run" in output
    record = RunRecord.read(tmp_path / "run")
    assert (record.status, record.reason) == (Status.INTERRUPTED, "ended by SIGTERM")
    assert signal.getsignal(signal.SIGTERM) is before
