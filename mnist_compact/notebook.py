"""A run trained within a program, in a line."""

from pathlib import Path

from mnist_compact.config import RunConfig
from mnist_compact.onlookers import Watcher
from mnist_compact.results.record import RunRecord, Status


def train(config: RunConfig, folder: Path | str, *, watcher: Watcher | None = None) -> RunRecord:
    """Train `config` from the start into `folder`, and draw its curves.

    torch's random state, number of threads and flush-to-zero mode are afterwards what they were.

    Args:
        config: What to train, as `compose` returns it.
        folder: A new folder. The record stands there with all else that a run leaves.
        watcher: Is told of the run's progress. Without one the run is silent.

    Returns:
        The record. Its status says so where the loss became infinite or NaN.

    Raises:
        ConfigError: The configuration cannot run, or `folder` holds a run already; nothing was written.
        KeyboardInterrupt: Ctrl-C, so that it ends a loop of runs as well. The record says interrupted, and
            `python -m mnist_compact resume=<folder>` goes on with the run.
    """
    from mnist_compact.experiment import run
    from mnist_compact.results.plots import draw_run

    record = run(config, Path(folder), watcher or Watcher())
    if record.status is Status.INTERRUPTED:
        raise KeyboardInterrupt(record.reason)
    if record.epochs_done:
        draw_run(folder)
    return record
