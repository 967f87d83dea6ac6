"""Jobs of a grid under Hydra's own launchers: log.txt, threads, and continuation of the grid."""

import contextlib
import json
import os
import shutil
import subprocess
import sys

import pytest
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from omegaconf import OmegaConf
from processes import finish

from mnist_compact.hydra_ext.grid_member import IN_THIS_PROCESS, logged, with_threads
from mnist_compact.records.record import RunRecord, Status

SHORT = ("data=synthetic", "data.train_images=64", "data.evaluation_images=32", "train.batch_size=32", "train.epochs=2")
GRID = ("model=m1", "machine.threads=1", "seed=0,1,2", "hydra.sweep.dir=grid", "hydra.sweep.subdir=${seed}")


def test_job_writes_its_log_and_prints_one_line(type_in, tmp_path):
    status, out, errors = type_in("-m", "hydra/launcher=basic", *SHORT, *GRID)
    assert (status, errors) == (0, "")
    for seed in range(3):
        record = RunRecord.read(tmp_path / "grid" / str(seed))
        assert f"{seed}   {record.final.accuracy:.2f} %   {record.seconds:.1f} s\n" in out
        assert "completed after 2 epochs" in (tmp_path / "grid" / str(seed) / "log.txt").read_text()
    assert "completed after" not in out


def test_folder_of_a_grid_does_not_depend_on_the_working_folder_of_a_job(type_in, tmp_path, monkeypatch):
    launch, elsewhere = BasicLauncher.launch, tmp_path / "elsewhere"
    elsewhere.mkdir()

    def launched(*arguments, **options):  # as a cluster may do
        with contextlib.chdir(elsewhere):
            return launch(*arguments, **options)

    monkeypatch.setattr(BasicLauncher, "launch", launched)
    status, out, errors = type_in("-m", "hydra/launcher=basic", *SHORT, *GRID)
    assert (status, errors) == (0, "")
    assert "3 runs in grid\n" in out
    assert RunRecord.read(tmp_path / "grid/2").status is Status.COMPLETED
    assert [*elsewhere.iterdir()] == []


def test_resumed_grid_repeats_no_job_that_has_ended(type_in, tmp_path):
    type_in("-m", "hydra/launcher=basic", *SHORT, *GRID)
    grid = tmp_path / "grid"
    expected = [(grid / str(seed) / "weights/last.safetensors").read_bytes() for seed in range(3)]
    before = (grid / "0/result.json").read_bytes()
    record = json.loads((grid / "1/result.json").read_text())  # interrupted after its first epoch
    rows = (grid / "1/metrics.csv").read_text().splitlines(keepends=True)
    os.replace(grid / "1/checkpoint.previous.pt", grid / "1/checkpoint.pt")
    (grid / "1/metrics.csv").write_text("".join(rows[:2]))
    (grid / "1/result.json").write_text(json.dumps(record | {"status": "interrupted", "epochs_done": 1}))
    for path in sorted((grid / "2").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    status, out, errors = type_in("resume=grid")
    assert (status, errors) == (0, "")
    assert "0   already completed\n" in out
    assert (grid / "0/result.json").read_bytes() == before
    assert [(grid / str(seed) / "weights/last.safetensors").read_bytes() for seed in range(3)] == expected
    assert len(RunRecord.read(grid / "1").continuations) == 1


def test_grid_in_the_folder_of_another_is_refused(type_in, tmp_path):
    type_in("-m", "hydra/launcher=basic", *SHORT, *GRID)
    before = (tmp_path / "grid/0/result.json").read_bytes()
    status, _, errors = type_in("-m", "hydra/launcher=basic", *SHORT, *GRID)
    assert status == 2
    assert "grid/0" in errors
    assert (tmp_path / "grid/0/result.json").read_bytes() == before


@pytest.mark.parametrize(
    ("launcher", "given", "threads"),
    [
        ({"_target_": "…SlurmLauncher", "cpus_per_task": 4}, 0, 4),
        ({"_target_": "…LocalLauncher", "cpus_per_task": None}, 0, 1),
        ({"_target_": "…RayLauncher", "ray": {"remote": {"num_cpus": 2}}}, 0, 2),
        ({"_target_": "…JoblibLauncher", "n_jobs": 2}, 0, 1),
        ({"_target_": "…SlurmLauncher", "cpus_per_task": 4}, 3, 3),
        ({"_target_": IN_THIS_PROCESS}, 0, 0),
    ],
)
def test_threads_are_those_that_the_launcher_allots(configure, launcher, given, threads):
    run = configure(f"machine.threads={given}")
    assert with_threads(run, OmegaConf.create(launcher)).machine.threads == threads
    assert run.machine.threads == given


def fail_after_an_epoch():
    print("epoch 1")
    raise OSError("no space")


def test_error_of_a_job_is_in_its_log(tmp_path, capsys):
    with pytest.raises(OSError, match="no space"), logged(tmp_path):
        fail_after_an_epoch()
    text = (tmp_path / "log.txt").read_text()
    assert text.startswith("epoch 1\nTraceback")
    assert text.endswith("OSError: no space\n")
    assert capsys.readouterr() == ("", "")


@pytest.mark.process
def test_grid_of_submitit_is_resumed_by_it(tmp_path):
    def command(*arguments):
        line = [sys.executable, "-m", "mnist_compact", *arguments]
        return finish(subprocess.Popen(line, cwd=tmp_path, stdout=-1, stderr=-1, text=True))

    options = ("hydra.launcher.cpus_per_task=2", *SHORT, "model=m1", "seed=0,1", "hydra.sweep.dir=grid")
    first = command("-m", "hydra/launcher=submitit_local", *options, "hydra.sweep.subdir=${seed}")
    assert first.returncode == 0, first.stderr
    folder = tmp_path / "grid" / "1"
    record = RunRecord.read(folder)
    assert record.config["machine"]["threads"] == 2
    assert "completed after 2 epochs" in (folder / "log.txt").read_text()
    shutil.rmtree(folder)
    second = command("resume=grid")
    assert second.returncode == 0, second.stderr
    assert RunRecord.read(folder).status is Status.COMPLETED
    assert "2 runs in grid" in second.stdout
