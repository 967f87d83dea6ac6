"""A run trained within a program, in a line."""

from pathlib import Path

from mnist_compact.config import RunConfig
from mnist_compact.onlookers import Watcher
from mnist_compact.results.record import RunRecord


def train(config: RunConfig, folder: Path | str, *, watcher: Watcher | None = None) -> RunRecord:
    """Train `config` from the start into `folder`; returns the record, which stands there with all that a run leaves.

    In silence, unless a `watcher` looks on. Ctrl-C and a loss that is not finite give a record that says so. Raises
    ConfigError, before anything is written, for what cannot run and for a folder that holds a run already.
    """
    from mnist_compact.experiment import run
    from mnist_compact.results.plots import draw_run

    record = run(config, Path(folder), watcher or Watcher())
    if record.epochs_done:
        draw_run(folder)
    return record
