"""What the workers of a search that a cluster runs have in common, whichever scheduler starts them."""

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mnist_compact.common.errors import Validator
from mnist_compact.common.heartbeat import Heartbeat
from mnist_compact.search.leases import heartbeat_of, lock_of, mark_infrastructure_failure
from mnist_compact.search.storage_urls import rule_broken_by, sharing_rule_broken_by, shown
from mnist_compact.search.worker_pool import WorkerPool
from mnist_compact.search.worker_spec import WorkerSpec


def check_remote(sweeper: DictConfig, validator: Validator) -> None:
    """Check the settings of a search whose workers a cluster runs; errors are recorded in `validator`."""
    url = sweeper.storage
    if url is None or rule_broken_by(url) is None:
        rule = sharing_rule_broken_by(url)
        validator.check(rule is None, "storage", rule or "", None if url is None else shown(url))
    is_public = url is not None and shown(url) != url and not OmegaConf.is_interpolation(sweeper, "storage")
    rule = (
        "must not contain a password, because other users of a cluster can see command lines: use ~/.pgpass or "
        "PGPASSWORD, or '${oc.env:NAME}' for a URL in the environment variable NAME"
    )
    validator.check(not is_public, "storage", rule, shown(url or ""))
    rule = f"must be at least 1 with workers={sweeper.workers.value}"
    validator.check(sweeper.n_jobs != 0, "n_jobs", rule, sweeper.n_jobs)


class RemoteWorkers(WorkerPool):
    """Workers that are tasks of a cluster. They share the study's folder, where they watch this process's heartbeat."""

    def __init__(self, worker_spec: WorkerSpec, jobs: int) -> None:
        folder = str(Path(worker_spec.folder).absolute())
        super().__init__(replace(worker_spec, folder=folder, remote=True), jobs)
        self.tasks: dict[Any, str] = {}  # task of the scheduler → the worker's name
        self.heartbeat = Heartbeat(heartbeat_of(self.folder, self.coordinator))

    def __len__(self) -> int:
        return len(self.tasks)

    @abstractmethod
    def cancel(self) -> Iterable[str]:
        """Cancel all tasks, so that the workers release their trials, and wait for them.

        Returns:
            The names of the workers that did not end in time.
        """

    def stop(self) -> None:
        if not self.heartbeat.is_running:  # no task was submitted
            return
        try:
            for name in self.cancel():
                mark_infrastructure_failure(lock_of(self.folder, name))
        finally:
            self.heartbeat.stop()  # ends the workers that the scheduler has not ended
            self.tasks.clear()
