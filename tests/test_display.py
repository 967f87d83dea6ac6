"""The display of a run, and what its faults may cost: nothing."""

import os

from mnist_compact.display import TerminalConsole, TerminalWatcher, on_terminal
from mnist_compact.experiment import run
from mnist_compact.onlookers import Sheltered


class Unplugged:
    """A terminal that fails from the nth write on, as one does whose cable is pulled."""

    encoding = "utf-8"

    def __init__(self, works_for, error):
        self.left, self.error = works_for, error

    def write(self, text):
        self.left -= 1
        if self.left < 0:
            raise self.error

    def flush(self): ...


def test_a_run_outlives_its_terminal(configure, tmp_path, capsys):
    terminal = Unplugged(3, OSError(5, "Input/output error"))
    watcher = Sheltered("the display", TerminalWatcher(TerminalConsole(file=terminal)))
    record = run(configure(), tmp_path, watcher)
    watcher.close()
    assert (record.status, record.epochs_done) == ("completed", 2)
    said = capsys.readouterr().err
    assert said == "the display has failed, the run goes on without it: [Errno 5] Input/output error\n"


def test_a_reader_who_has_seen_enough_is_no_fault(configure, tmp_path, capfd):
    """As of `| head -1`."""
    before = os.dup(1)
    try:
        with capfd.disabled():
            reader, writer = os.pipe()
            os.dup2(writer, 1)
            os.close(writer)
            os.close(reader)
            with open(1, "w", closefd=False) as stdout:
                console = TerminalConsole(file=stdout)
                record = run(configure(), tmp_path, Sheltered("the display", TerminalWatcher(console)))
    finally:
        os.dup2(before, 1)
        os.close(before)
    assert (record.status, record.epochs_done) == ("completed", 2)
    assert capfd.readouterr().err == ""


def test_the_commands_show_their_runs_on_a_sheltered_terminal():
    shown = on_terminal()
    assert isinstance(shown, Sheltered)
    assert isinstance(shown.watcher, TerminalWatcher)
    assert isinstance(shown.watcher.console, TerminalConsole)
