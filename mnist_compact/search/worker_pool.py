"""The workers of one coordinator: start, watch and stop them, by this machine or by a cluster's scheduler."""

import os
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path

from mnist_compact.common.cpu import threads_each
from mnist_compact.common.errors import EXIT_FAILED, EXIT_REFUSED, EXIT_WITHOUT_DATA, ConfigError, ExecutionError
from mnist_compact.runs.jobs import how_ended, import_path
from mnist_compact.search.leases import lock_of, mark_infrastructure_failure
from mnist_compact.search.worker_spec import WorkerSpec

STOP_TIMEOUT_S = 20.0  # for workers that are asked to stop: they finish a step, not an epoch


class WorkerPool(ABC):
    """The workers of one coordinator. Each engine implements `start`, `ended`, `stop` and `__len__`.

    A worker has a name, a log and a specification in the folder `workers` of the study.
    """

    def __init__(self, worker_spec: WorkerSpec, jobs: int) -> None:
        """Prepare a pool without workers.

        Args:
            worker_spec: What all workers have in common; each gets a name.
            jobs: The largest number of workers at a time.
        """
        self.spec, self.jobs = worker_spec, jobs
        self.folder, self.coordinator = Path(worker_spec.folder), worker_spec.parent_name
        self.started = 0

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of workers that have not ended, including those that wait for a place."""

    @property
    def queued(self) -> int:
        """The number of workers that wait for a place."""
        return 0

    @abstractmethod
    def start(self, count: int) -> None:
        """Start workers.

        Raises:
            ExecutionError: The engine refuses them.
        """

    @abstractmethod
    def ended(self) -> dict[str, int | str]:
        """Remove the workers that have ended.

        Returns:
            Name → exit code of each; a description if the exit code is unknown.
        """

    @abstractmethod
    def stop(self) -> None:
        """Let all workers release their trials and end; kill those that do not end in time."""

    def reap(self) -> dict[str, str]:
        """Remove the workers that have ended.

        Returns:
            Name → how it ended, of each worker that died.

        Raises:
            ConfigError: A worker has found an error in the configuration.
            ExecutionError: A worker could not load its data, which the next worker could not either.
        """
        ended = self.ended()
        for name, ending in ended.items():
            if ending == EXIT_REFUSED:
                raise ConfigError([f"a worker has found an error: {self.last_log_line(name)}"])
            if ending == EXIT_WITHOUT_DATA:
                raise ExecutionError(
                    f"the data cannot be loaded: {self.last_log_line(name)}; see {self.log_of(name)}", EXIT_FAILED
                )
        return {name: how_ended(code) if isinstance(code, int) else code for name, code in ended.items() if code}

    def last_log_line(self, name: str) -> str:
        """Return the last line of a worker's log."""
        try:
            lines = self.log_of(name).read_text(encoding="utf-8", errors="replace").strip().splitlines()
        except FileNotFoundError:  # of a worker on another machine, which has died before it began
            return "(there is no log)"
        return lines[-1] if lines else "(the log is empty)"

    def log_of(self, name: str) -> Path:
        """Return the path of a worker's log."""
        return self.folder / "workers" / f"{name}.log"

    def write_spec(self, worker_spec: WorkerSpec) -> Path:
        """Write the specification of a worker, and return the path of its file."""
        path = self.folder / "workers" / f"{worker_spec.worker}.json"
        path.parent.mkdir(exist_ok=True)
        worker_spec.write(path)
        return path


class LocalWorkers(WorkerPool):
    """Workers that are processes of this machine. They share the cores evenly unless `machine.threads` is set."""

    def __init__(self, worker_spec: WorkerSpec, jobs: int) -> None:
        super().__init__(worker_spec, jobs)
        self.running: list[tuple[subprocess.Popen[bytes], str]] = []

    def __len__(self) -> int:
        return len(self.running)

    def start(self, count: int) -> None:
        for _ in range(count):
            self._start_one()

    def _start_one(self) -> None:
        name = f"{self.coordinator}-{self.started}"
        self.started += 1
        threads = threads_each(self.jobs)
        machine = replace(self.spec.machine, threads=self.spec.machine.threads or threads)
        path = self.write_spec(replace(self.spec, worker=name, machine=machine, parent=os.getpid()))
        with self.log_of(name).open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "mnist_compact.search.worker", str(path)],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **import_path(), "OMP_NUM_THREADS": str(threads)},
                start_new_session=True,  # Ctrl-C must reach the coordinator only, which then stops the workers
            )
        self.running.append((process, name))

    def ended(self) -> dict[str, int | str]:
        codes = [(process.poll(), name) for process, name in self.running]
        self.running = [worker for worker, (code, _) in zip(self.running, codes, strict=True) if code is None]
        return {name: code for code, name in codes if code is not None}

    def stop(self) -> None:
        for process, _ in self.running:
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for process, name in self.running:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:  # signals have no effect while SQLite waits for a lock
                mark_infrastructure_failure(lock_of(self.folder, name))
                process.kill()
                process.wait()
        self.running = []
