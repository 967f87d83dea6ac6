"""A run trained within a program, in a line."""

from pathlib import Path

from mnist_compact.callbacks.base import Callback
from mnist_compact.config.schema import RunConfig
from mnist_compact.records.record import RunRecord, Status


def train(config: RunConfig, folder: Path | str, *, callback: Callback | None = None) -> RunRecord:
    """Train `config` from the start into `folder`, and draw its curves.

    torch's random state, number of threads and flush-to-zero mode are afterwards what they were.

    Args:
        config: What to train, as `compose` returns it.
        folder: A new folder. The record stands there with all else that a run leaves.
        callback: Is told of the run's progress. Without one the run is silent.

    Returns:
        The record. Its status says so where the loss became infinite or NaN.

    Raises:
        ConfigError: The configuration cannot run, or `folder` holds a run already; nothing was written.
        KeyboardInterrupt: Ctrl-C, so that it ends a loop of runs as well. The record says interrupted, and
            `python -m mnist_compact resume=<folder>` goes on with the run.
    """
    from mnist_compact.reports.plots import draw_run
    from mnist_compact.runs.trainer import run

    record = run(config, Path(folder), callback or Callback())
    if record.status is Status.INTERRUPTED:
        raise KeyboardInterrupt(record.reason)
    if record.epochs_done:
        draw_run(folder)
    return record
