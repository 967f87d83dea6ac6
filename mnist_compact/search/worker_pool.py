"""The worker processes of one parent: started, parted with, dismissed."""

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

PATIENCE_S = 20.0  # for workers that are told to stop: they finish a step, not an epoch


class WorkerPool:
    """At most `jobs` workers at a time, which share the cores evenly, unless the machine's threads are told."""

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
        self.at_work: list[tuple[subprocess.Popen[bytes], str]] = []
        self.started = 0
        token = secrets.token_hex(3)  # two machines may share a host's name and a process id
        self.parent_name = f"{socket.gethostname()}-{os.getpid()}-{token}"

    def __len__(self) -> int:
        return len(self.at_work)

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
                start_new_session=True,  # Ctrl-C is the parent's, which tells the workers in its own way
            )
        self.at_work.append((process, name))

    def reap(self) -> dict[str, str]:
        """Forget workers that have ended; name → how, of those that died. Raises ConfigError for what one refused.

        Raises ExecutionError where one could not have its data: the next could not either.
        """
        codes = [(process.poll(), name) for process, name in self.at_work]
        self.at_work = [worker for worker, (code, _) in zip(self.at_work, codes, strict=True) if code is None]
        for code, name in codes:
            if code == EXIT_REFUSED:
                raise ConfigError([f"a worker was refused: {self.last_words(name)}"])
            if code == EXIT_WITHOUT_DATA:
                raise ExecutionError(
                    f"the data cannot be had: {self.last_words(name)}; see {self._log(name)}", EXIT_FAILED
                )
        return {name: how_ended(code) for code, name in codes if code}

    def last_words(self, name: str) -> str:
        lines = self._log(name).read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else "nothing"

    def _log(self, name: str) -> Path:
        return self.folder / "workers" / f"{name}.log"

    def stop(self) -> None:
        for process, _ in self.at_work:
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + PATIENCE_S
        for process, name in self.at_work:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:  # it may wait for a storage that is locked, and is deaf within SQLite
                mark_infrastructure_failure(lock_of(self.folder, name))
                process.kill()
                process.wait()
