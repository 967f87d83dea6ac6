"""The train command: folders of a refused run, plots of a finished run, and error messages."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

from mnist_compact.cli import train
from mnist_compact.cli.train import plain_errors
from mnist_compact.common.command import run_command
from mnist_compact.common.errors import ConfigError, ExecutionError
from mnist_compact.data.files import DataUnavailable
from mnist_compact.hydra_ext import output_folders
from mnist_compact.hydra_ext.output_folders import NoteExistingFolders, as_shown, remove_if_empty
from mnist_compact.records.record import RecordError
from mnist_compact.runs.trainer import run
from mnist_compact.training.checkpoint import CheckpointError


@pytest.fixture(autouse=True)
def _forgetful(monkeypatch):
    monkeypatch.setattr(output_folders, "_existing", [])


def found_before(folder):
    NoteExistingFolders().on_run_start(OmegaConf.create({"hydra": {"run": {"dir": str(folder)}}}))


@pytest.mark.parametrize(
    ("existing", "remaining"),
    [("mine/empty/deep", "mine/empty/deep"), ("mine/empty", "mine/empty"), ("mine", "mine"), ("", "")],
)
def test_refused_run_removes_only_new_folders(tmp_path, monkeypatch, existing, remaining):
    monkeypatch.chdir(tmp_path)
    (tmp_path / existing).mkdir(parents=True, exist_ok=True)
    found_before("mine/empty/deep")
    (tmp_path / "mine" / "empty" / "deep").mkdir(parents=True, exist_ok=True)  # as Hydra does
    remove_if_empty(as_shown("mine/empty/deep"))
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if not any(path.iterdir())] == [
        *([remaining] if remaining else [])
    ]


def test_existing_sweep_folder_of_a_grid_is_not_removed(tmp_path):
    (tmp_path / "grids").mkdir()
    NoteExistingFolders().on_multirun_start(OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path / "grids")}}}))
    (tmp_path / "grids" / "0").mkdir()
    remove_if_empty(tmp_path / "grids" / "0")
    assert [path.name for path in tmp_path.rglob("*")] == ["grids"]


def test_unexamined_folder_is_not_removed(tmp_path):
    (tmp_path / "empty").mkdir()
    remove_if_empty(tmp_path / "empty")
    assert (tmp_path / "empty").is_dir()


def test_folder_on_another_drive_is_shown_completely(monkeypatch):
    def other_drive(path):
        raise ValueError("path is on mount 'D:', start on mount 'C:'")

    monkeypatch.setattr(os.path, "relpath", other_drive)
    assert str(as_shown("/elsewhere/run")) == "/elsewhere/run"


def test_plotting_error_does_not_fail_the_run(monkeypatch, tmp_path, capsys):
    def fail(folder):
        raise ValueError("no font")

    monkeypatch.setattr("mnist_compact.reports.plots.draw_run", fail)
    train._draw(tmp_path, SimpleNamespace(epochs_done=1))
    assert capsys.readouterr().err == f"mnist_compact: the plots in {tmp_path} could not be drawn: no font\n"


@pytest.mark.process
def test_matplotlib_backend_of_a_notebook_does_not_prevent_plots(configure, recording_callback, tmp_path):
    """Matplotlib reads the backend when it is first imported."""
    run(configure("train.epochs=1"), tmp_path, recording_callback())
    code = (
        "import sys; from pathlib import Path; from mnist_compact.cli import train; "
        "from mnist_compact.records.record import RunRecord; "
        "train._draw(Path(sys.argv[1]), RunRecord.read(Path(sys.argv[1])))"
    )
    inherited = {**os.environ, "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, env=inherited, capture_output=True, text=True, timeout=180)
    assert (done.returncode, done.stderr) == (0, "")
    assert {"curves.png", "confusion.png", "mistakes.png"} <= {path.name for path in tmp_path.iterdir()}


OURS = [
    ConfigError(["a message"]),
    RecordError("a message"),
    DataUnavailable("a message"),
    CheckpointError("a message"),
    ExecutionError("a message", 1),
]


@pytest.mark.parametrize("error", OURS, ids=lambda error: type(error).__name__)
def test_user_errors_are_printed_without_traceback(error, capsys, monkeypatch):
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    with pytest.raises(SystemExit), plain_errors():
        raise error
    assert capsys.readouterr().err == "mnist_compact: a message\n"

    def work():
        raise error

    with pytest.raises(SystemExit):
        run_command("command", work)
    assert capsys.readouterr().err == "command: a message\n"


def test_value_error_of_a_bug_keeps_its_traceback(monkeypatch):
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    with pytest.raises(ValueError, match="invalid literal"), plain_errors():
        int("seven")
    with pytest.raises(ValueError, match="invalid literal"):
        run_command("command", lambda: int("seven"))
