"""Workers of a search as tasks of Ray, on this machine or on a cluster. This module needs the extra `ray`."""

import os
import signal
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import ray
from ray.exceptions import RayError

from mnist_compact.common.cpu import cores
from mnist_compact.common.errors import EXIT_FAILED, ExecutionError
from mnist_compact.runs.jobs import import_path
from mnist_compact.search.ray_task import run_in_process
from mnist_compact.search.remote_workers import RemoteWorkers
from mnist_compact.search.worker_spec import WorkerSpec

STOP_TIMEOUT_S = 30.0  # for workers of cancelled tasks: they finish a step, not an epoch
OBJECT_STORE_BYTES = 100_000_000  # close to Ray's minimum: the tasks exchange a path and an exit code
LOCAL_ADDRESS = "127.0.0.1"  # Ray would listen at all addresses of this machine


class RayWorkers(RemoteWorkers):
    """Workers that are tasks of Ray, one task each."""

    def __init__(self, worker_spec: WorkerSpec, jobs: int, *, address: str | None, cpus: int, gpus: float) -> None:
        """Prepare a pool without workers.

        Args:
            worker_spec: What all workers have in common.
            jobs: The largest number of workers at a time.
            address: The address of a Ray cluster; None for the one in RAY_ADDRESS, or for a Ray on this machine that
                ends with this pool.
            cpus: The number of CPUs of a worker, which are its threads unless `machine.threads` is set.
            gpus: The number of GPUs of a worker; workers share one if it is below 1.
        """
        machine = replace(worker_spec.machine, threads=worker_spec.machine.threads or cpus)
        super().__init__(replace(worker_spec, machine=machine), jobs)
        self.address = address or os.environ.get("RAY_ADDRESS")
        self.cpus, self.gpus = cpus, gpus

    @property
    def queued(self) -> int:
        return sum(not self.log_of(name).exists() for name in self.tasks.values())

    def start(self, count: int) -> None:
        if not ray.is_initialized():
            self._connect()
        self.heartbeat.start()
        task = ray.remote(run_in_process)
        for _ in range(count):
            name = f"{self.coordinator}-{self.started}"
            self.started += 1
            spec_file = self.write_spec(replace(self.spec, worker=name))
            # The search replaces a worker that died; Ray would start one with the same name.
            options = task.options(name=name, num_cpus=self.cpus, num_gpus=self.gpus, max_retries=0)
            self.tasks[options.remote(str(spec_file), str(Path.cwd()), self.cpus)] = name

    def _connect(self) -> None:
        of_this_machine = {
            "num_cpus": cores(),
            "object_store_memory": OBJECT_STORE_BYTES,
            "include_dashboard": False,
            "_node_ip_address": LOCAL_ADDRESS,
        }
        handler = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(
                self.address or "local",
                runtime_env={"env_vars": _environment()},
                log_to_driver=False,
                logging_level="ERROR",
                **({} if self.address else of_this_machine),
            )
        except (ConnectionError, RuntimeError, ValueError, RayError) as error:
            where = f"at {self.address}" if self.address else "on this machine"
            raise ExecutionError(f"Ray {where} cannot be used: {error}", EXIT_FAILED) from error
        finally:
            if signal.getsignal(signal.SIGTERM) is not handler:  # Ray replaces it in the main thread
                signal.signal(signal.SIGTERM, handler)
        has = f"{ray.cluster_resources().get('CPU', 0):g} CPUs"
        print(f"Ray {self.address or 'on this machine'} has {has}, of which each worker uses {self.cpus}", flush=True)

    def ended(self) -> dict[str, int | str]:
        if not self.tasks:
            return {}
        done, _ = ray.wait([*self.tasks], num_returns=len(self.tasks), timeout=0)
        return {self.tasks.pop(task): _ending(task) for task in done}

    def cancel(self) -> Iterable[str]:
        if not self.tasks:
            return []
        for task in self.tasks:
            ray.cancel(task)
        _, late = ray.wait([*self.tasks], num_returns=len(self.tasks), timeout=STOP_TIMEOUT_S)
        return [self.tasks[task] for task in late]

    def stop(self) -> None:
        try:
            super().stop()
        finally:
            ray.shutdown()  # ends the tasks that are left, and a Ray that was started here


def _environment() -> dict[str, str]:
    """Return the variables that a node of a cluster may lack. Other users can see them, so it is not all of them."""
    data = os.environ.get("MNIST_COMPACT_DATA")
    return import_path() | ({"MNIST_COMPACT_DATA": data} if data else {})


def _ending(task: "ray.ObjectRef[int]") -> int | str:
    try:
        code: int = ray.get(task)
    except RayError as error:  # its Ray process or its node has died, or the task could not start
        reason = next(iter(str(error).strip().splitlines()[-1:]), "").strip()
        return f"ended without an exit code (Ray: {type(error).__name__}: {reason})"
    return code
