"""A job of a grid that one of Hydra's own launchers runs: its log, its threads and its continuation.

The launcher `processes` does the same for the processes that it starts.
"""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from mnist_compact.common.run_files import LOG
from mnist_compact.config.schema import RunConfig

# Where launchers state the cores of a job: submitit and ray.
CORES_OF_A_JOB = ("cpus_per_task", "ray.remote.num_cpus")
IN_THIS_PROCESS = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"  # one job after the other, on all cores


@contextmanager
def logged(folder: Path) -> Iterator[None]:
    """Append everything that is printed in this context, and the traceback of an error, to log.txt in a run folder."""
    with (folder / LOG).open("a", encoding="utf-8") as log, redirect_stdout(log), redirect_stderr(log):
        try:
            yield
        except Exception:
            traceback.print_exc()
            raise


def with_threads(run: RunConfig, launcher: DictConfig) -> RunConfig:
    """Return the configuration with as many threads as the launcher allots to a job: one if it states no number.

    A number in `machine.threads` is kept. Without one, a job would use all cores of its machine, where others may run.
    """
    if run.machine.threads or launcher.get("_target_") == IN_THIS_PROCESS:
        return run
    stated = [OmegaConf.select(launcher, key) for key in CORES_OF_A_JOB]
    threads = next((max(1, int(cores)) for cores in stated if cores), 1)
    return replace(run, machine=replace(run.machine, threads=threads))
