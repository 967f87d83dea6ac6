"""The display of a run. Its errors never affect the run."""

import os
import re
import shlex
from pathlib import Path

import pytest

from mnist_compact.callbacks.callback import RunInfo, SafeCallback
from mnist_compact.cli import run_display
from mnist_compact.cli.run_display import TerminalCallback, TerminalConsole, closing_lines, on_terminal, recipe
from mnist_compact.common.tables import on_paper_or_terminal
from mnist_compact.config.schema import to_record
from mnist_compact.models.network import INPUT_SHAPE
from mnist_compact.models.summary import summarize
from mnist_compact.records.record import NetworkFacts, RunRecord, Status
from mnist_compact.runs.trainer import run


class FailingTerminal:
    """A terminal whose writes fail from the nth on, as after a lost connection."""

    encoding = "utf-8"

    def __init__(self, works_for, error):
        self.left, self.error = works_for, error

    def write(self, text):
        self.left -= 1
        if self.left < 0:
            raise self.error

    def flush(self): ...


def test_run_survives_the_loss_of_its_terminal(configure, tmp_path, capsys):
    terminal = FailingTerminal(3, OSError(5, "Input/output error"))
    callback = SafeCallback("the display", TerminalCallback(TerminalConsole(file=terminal)))
    record = run(configure(), tmp_path, callback)
    callback.close()
    assert (record.status, record.epochs_done) == ("completed", 2)
    errors = capsys.readouterr().err
    assert errors == "the display failed, and the run continues without it: [Errno 5] Input/output error\n"


def test_closed_pipe_is_not_an_error(configure, tmp_path, capfd):
    """As with `| head -1`."""
    before = os.dup(1)
    try:
        with capfd.disabled():
            reader, writer = os.pipe()
            os.dup2(writer, 1)
            os.close(writer)
            os.close(reader)
            with open(1, "w", closefd=False) as stdout:
                console = TerminalConsole(file=stdout)
                record = run(configure(), tmp_path, SafeCallback("the display", TerminalCallback(console)))
    finally:
        os.dup2(before, 1)
        os.close(before)
    assert (record.status, record.epochs_done) == ("completed", 2)
    assert capfd.readouterr().err == ""


def test_first_epoch_shows_progress_without_a_terminal(configure, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run_display, "QUIET_S", 0)
    run(configure(), tmp_path, TerminalCallback())
    lines = [line for line in capsys.readouterr().out.splitlines() if line.endswith("images")]
    assert lines == [f"epoch 1/2: {seen} of 96 images" for seen in (32, 64, 96)]


def test_commands_display_runs_through_a_safe_callback():
    shown = on_terminal()
    assert isinstance(shown, SafeCallback)
    assert isinstance(shown.callback, TerminalCallback)
    assert isinstance(shown.callback.console, TerminalConsole)


def info_of(config):
    """The RunInfo that a run with this configuration passes to its callbacks."""
    return RunInfo(
        settings=to_record(config),
        folder=Path("outputs/runs/example"),
        model_summary=summarize(config.model.build(), INPUT_SHAPE),
        device="cpu",
        train_images=config.data.train_size,
        steps_per_epoch=3,
        evaluated_split=config.data.evaluated_split,
    )


@pytest.mark.parametrize("width", [0, 20])
def test_layer_table_is_complete_in_a_narrow_terminal(configure, monkeypatch, capsys, width):
    monkeypatch.setenv("COLUMNS", str(width))
    config = configure("model=m3")
    TerminalCallback().on_run_start(info_of(config))
    shown = capsys.readouterr().out
    assert re.search(r"^Conv2d 3x3 +8×26×26 +3/1/0 +72 +48,672 +1 +3$", shown, re.MULTILINE), shown
    assert "parameters 3,928: trainable 3,928" in shown


def test_recipe_names_settings_without_null(configure):
    settings = ("optim=sgd", "optim.lr=0.1", "scheduler=linear", "scheduler.warmup_fraction=0.25")
    _, optimizer, scheduler, _ = recipe(info_of(configure(*settings)))
    assert optimizer.startswith("optimizer  sgd(lr 0.1, ")
    assert scheduler == "scheduler  linear(warmup_fraction 0.25, end_factor 0.0)"
    assert "peak_momentum 0.8" in recipe(info_of(configure(*settings, "scheduler.peak_momentum=0.8")))[2]


def test_file_gets_no_control_codes(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    on_paper_or_terminal().print("[red]loss[/red]")
    assert capsys.readouterr().out == "loss\n"


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("outputs/runs/a", "python -m mnist_compact.report outputs"),
        ("my runs/a", "python -m mnist_compact.report 'my runs'"),
        ("../else where/a", "python -m mnist_compact.report '../else where'"),
        ("/far/away/a", "python -m mnist_compact.report /far/away"),
    ],
)
def test_suggested_command_is_quoted_for_the_shell(folder, expected):
    facts = NetworkFacts(parameters=1, trainable_parameters=1, macs=1, receptive_field=1, input_shape=[1, 28, 28])
    record = RunRecord(status=Status.COMPLETED, config={}, evaluated="test", network=facts)
    assert closing_lines(record, Path(folder))[-1] == f"compare with: {expected}"
    record.status = Status.INTERRUPTED
    ended = closing_lines(record, Path(folder))[-1]
    assert shlex.split(ended.removeprefix("continue with: ")) == ["python", "-m", "mnist_compact", f"resume={folder}"]
