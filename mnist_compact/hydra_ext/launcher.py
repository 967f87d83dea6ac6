"""The Hydra launcher `processes`, which runs the jobs of a grid as processes."""

import copy
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict, read_write

from mnist_compact.common.cpu import cores, threads_each
from mnist_compact.common.errors import EXIT_FAILED, EXIT_REFUSED, ConfigError
from mnist_compact.common.run_files import RECORD
from mnist_compact.runs.jobs import JobError, JobResult, ProcessJob, ended_before, run_all


class ProcessLauncher(Launcher):
    """Runs each job in a process of its own.

    Parallel jobs share the cores evenly, unless machine.threads is set. The output of a job is in log.txt in its
    folder; one line is printed when it ends. A job that is refused, fails or is killed does not affect the others;
    reading its `return_value` raises JobError. Ctrl-C interrupts the running jobs, which keep their finished epochs.

    Args:
        n_jobs: Largest number of jobs at a time; 0 = one per core.
        fail_fast: Whether the first job that fails or is refused ends the grid.
    """

    def __init__(self, n_jobs: int, fail_fast: bool = False) -> None:
        super().__init__()
        self.n_jobs = n_jobs
        self.fail_fast = fail_fast

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Check the arguments. Hydra would wrap an error that is raised in __init__.

        Raises:
            ConfigError: An argument is out of range.
        """
        if not isinstance(self.n_jobs, int) or self.n_jobs < 0:
            raise ConfigError([f"hydra.launcher.n_jobs must be a whole number of at least 0, got {self.n_jobs!r}"])
        if not isinstance(self.fail_fast, bool):
            raise ConfigError([f"hydra.launcher.fail_fast must be true or false, got {self.fail_fast!r}"])
        self.loader = hydra_context.config_loader
        self.config = config
        self.go_on = config.hydra.sweeper.get("go_on", False)  # other sweepers do not have the key

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs; see Hydra's Launcher."""
        workers = min(self.n_jobs or cores(), len(job_overrides))
        threads = threads_each(workers) if workers > 1 else None  # None: torch's default, as without a grid
        alike = shared(job_overrides)
        composed = [
            self._compose(number, list(overrides), threads, alike)
            for number, overrides in enumerate(job_overrides, start=initial_job_idx)
        ]
        outcomes = {job.number: earlier for job, _ in composed if self.go_on and (earlier := ended_before(job.folder))}
        waiting = [job for job, _ in composed if job.number not in outcomes]
        outcomes |= run_all(waiting, workers, initial_job_idx + len(composed), fail_fast=self.fail_fast)
        faults = [outcome for outcome in outcomes.values() if outcome.fault]
        status = EXIT_REFUSED if any(outcome.refused for outcome in faults) else EXIT_FAILED
        preface = f"{len(faults)} of {len(composed)} jobs did not finish; " if len(composed) > 1 else ""
        return [_returned(job, config, outcomes[job.number], preface, status) for job, config in composed]

    def _compose(
        self, number: int, overrides: list[str], threads: int | None, alike: set[str]
    ) -> tuple[ProcessJob, DictConfig]:
        label = " ".join(override for override in overrides if override not in alike)
        config = self.loader.load_sweep_config(self.config, overrides)
        given = any(override.lstrip("+").startswith("machine.threads=") for override in overrides)
        if threads is not None and not given and not config.machine.threads:
            overrides = [*overrides, f"machine.threads={threads}"]
            config.machine.threads = threads
            config.hydra.overrides.task.append(overrides[-1])
        folder = folder_of(config, number)
        with read_write(config.hydra.runtime), open_dict(config.hydra.runtime):
            config.hydra.runtime.output_dir = str(folder.absolute())
        # Folder names may contain characters that the grammar does not allow.
        quoted = QuotedString(str(folder), Quote.single).with_quotes()
        command = [
            *(sys.executable, "-m", "mnist_compact"),
            *self._grid_arguments(),
            *overrides,
            "hydra.mode=RUN",
            f"hydra.run.dir={quoted}",
        ]
        if self.go_on and (folder / RECORD).exists():
            command = [*command[:3], f"resume={folder}"]
        return ProcessJob(number, label or folder.name, command, folder, threads), config

    def _grid_arguments(self) -> list[str]:
        """Return the arguments of the grid's command line that each job needs."""
        hydra = self.config.hydra
        folders = [source.path for source in hydra.runtime.config_sources if source.provider == "command-line"]
        return [
            f"--config-name={hydra.job.config_name}",
            *(f"--config-dir={folder}" for folder in folders),
            *(override for override in hydra.overrides.hydra if not override.startswith("hydra.mode=")),
        ]


def folder_of(config: DictConfig, number: int) -> Path:
    """Return the run folder of a job of a grid, and store its number in its configuration."""
    with open_dict(config):
        config.hydra.job.id = str(number)
        config.hydra.job.num = number
    with _as_hydra_config(config):  # the source of `${hydra:…}`
        return Path(config.hydra.sweep.dir, str(config.hydra.sweep.subdir))


def shared(jobs: Sequence[Sequence[str]]) -> set[str]:
    """Return the overrides that all of several jobs share; they do not distinguish the jobs."""
    return set.intersection(*map(set, jobs)) if len(jobs) > 1 else set()


class _Returned(JobReturn):
    """Raises the error of its job without Hydra's own line before it."""

    @property
    def return_value(self) -> Any:
        if self.status is JobStatus.FAILED:
            raise self._return_value
        return self._return_value

    @return_value.setter
    def return_value(self, value: Any) -> None:
        self._return_value = value


def _returned(job: ProcessJob, config: DictConfig, outcome: JobResult, preface: str, status: int) -> JobReturn:
    task_config = copy.deepcopy(config)
    with read_write(task_config), open_dict(task_config):
        del task_config["hydra"]
    with _as_hydra_config(config):
        hydra_config = copy.deepcopy(HydraConfig.instance().cfg)
    assert isinstance(hydra_config, DictConfig)
    ending = "was refused" if outcome.refused else "failed"
    fault = JobError(f"{preface}job {job.number + 1} ({job.label}) {ending}: {outcome.fault}", status)
    return _Returned(
        overrides=list(config.hydra.overrides.task),
        cfg=task_config,
        hydra_cfg=hydra_config,
        working_dir=os.getcwd(),
        task_name=config.hydra.job.name,
        status=JobStatus.FAILED if outcome.fault else JobStatus.COMPLETED,
        _return_value=fault if outcome.fault else outcome.value,
    )


@contextmanager
def _as_hydra_config(config: DictConfig) -> Iterator[None]:
    instance = HydraConfig.instance()
    previous = instance.cfg
    instance.set_config(config)
    try:
        yield
    finally:
        instance.cfg = previous


def register() -> None:
    """Register this class with Hydra. Its option is the file conf/hydra/launcher/processes.yaml."""
    Plugins.instance().register(ProcessLauncher)
