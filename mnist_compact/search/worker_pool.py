"""The worker processes of one coordinator: start, reap, stop."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from mnist_compact.common.cpu import threads_each
from mnist_compact.common.errors import EXIT_FAILED, EXIT_REFUSED, EXIT_WITHOUT_DATA, ConfigError, ExecutionError
from mnist_compact.runs.jobs import how_ended, import_path
from mnist_compact.search.leases import lock_of, mark_infrastructure_failure
from mnist_compact.search.stopping import StoppingCriteria
from mnist_compact.search.worker_spec import WorkerSpec
from mnist_compact.training.config import MachineConfig

STOP_TIMEOUT_S = 20.0  # for workers that are asked to stop: they finish a step, not an epoch


class WorkerPool:
    """Runs at most `jobs` workers at a time. They share the cores evenly unless `machine.threads` is set."""

    def __init__(
        self,
        folder: Path,
        *,
        url: str,
        study_name: str,
        private: bool,
        jobs: int,
        settings: StoppingCriteria,
        machine: MachineConfig,
    ) -> None:
        self.folder, self.url, self.study_name, self.private = folder, url, study_name, private
        self.jobs, self.settings, self.machine = jobs, settings, machine
        self.running: list[tuple[subprocess.Popen[bytes], str]] = []
        self.started = 0
        token = secrets.token_hex(3)  # two machines may have the same host name and process id
        self.parent_name = f"{socket.gethostname()}-{os.getpid()}-{token}"

    def __len__(self) -> int:
        return len(self.running)

    def start_worker(self) -> None:
        name = f"{self.parent_name}-{self.started}"
        self.started += 1
        threads = threads_each(self.jobs)
        folder = self.folder / "workers"
        folder.mkdir(exist_ok=True)
        worker_spec = folder / f"{name}.json"
        WorkerSpec(
            folder=str(self.folder),
            url=self.url,
            study_name=self.study_name,
            worker=name,
            private=self.private,
            machine=replace(self.machine, threads=self.machine.threads or threads),
            parent=os.getpid(),
            parent_name=self.parent_name,
            settings=self.settings,
        ).write(worker_spec)
        with self._log(name).open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "mnist_compact.search.worker", str(worker_spec)],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **import_path(), "OMP_NUM_THREADS": str(threads)},
                start_new_session=True,  # Ctrl-C must reach the coordinator only, which then stops the workers
            )
        self.running.append((process, name))

    def reap(self) -> dict[str, str]:
        """Remove the workers that have ended.

        Returns:
            Name → how it ended, of each worker that died.

        Raises:
            ConfigError: A worker has found an error in the configuration.
            ExecutionError: A worker could not load its data, which the next worker could not either.
        """
        codes = [(process.poll(), name) for process, name in self.running]
        self.running = [worker for worker, (code, _) in zip(self.running, codes, strict=True) if code is None]
        for code, name in codes:
            if code == EXIT_REFUSED:
                raise ConfigError([f"a worker has found an error: {self.last_log_line(name)}"])
            if code == EXIT_WITHOUT_DATA:
                raise ExecutionError(
                    f"the data cannot be loaded: {self.last_log_line(name)}; see {self._log(name)}", EXIT_FAILED
                )
        return {name: how_ended(code) for code, name in codes if code}

    def last_log_line(self, name: str) -> str:
        """Return the last line of a worker's log."""
        lines = self._log(name).read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else "(the log is empty)"

    def _log(self, name: str) -> Path:
        return self.folder / "workers" / f"{name}.log"

    def stop(self) -> None:
        """Ask all workers to stop; kill those that do not within STOP_TIMEOUT_S."""
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
