"""Workers of a search as tasks of Slurm job arrays, submitted and watched by sbatch, squeue and scancel."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig

from mnist_compact.common.errors import EXIT_FAILED, ExecutionError, Validator
from mnist_compact.common.wording import counted
from mnist_compact.runs.jobs import import_path
from mnist_compact.search.remote_workers import RemoteWorkers, check_remote
from mnist_compact.search.worker_spec import WorkerSpec

TEMPLATE = Path(__file__).with_name("slurm.sh")
ARGUMENTS = '"$@"'  # the worker's command, in the template
PROGRAMS = ("sbatch", "squeue", "scancel")
POLL_S = 15.0  # between two calls of squeue, which takes time of a controller that all users share
STOP_POLL_S = 1.0
STOP_TIMEOUT_S = 60.0  # for cancelled workers; Slurm itself kills them after KillWait, 30 s by default
COMMAND_TIMEOUT_S = 120.0  # Slurm's commands wait for a controller that is busy
# https://slurm.schedmd.com/job_state_codes.html
QUEUED = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"}
ENDED = {
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "LAUNCH_FAILED", "NODE_FAIL", "OUT_OF_MEMORY"),
    *("PREEMPTED", "RECONFIG_FAIL", "REVOKED", "TIMEOUT"),
}


def check_slurm(sweeper: DictConfig, validator: Validator) -> None:
    """Check the settings of a search with workers=slurm; errors are recorded in `validator`."""
    check_remote(sweeper, validator)
    template = Path(sweeper.slurm_template or TEMPLATE)
    runs_worker = template.is_file() and ARGUMENTS in template.read_text(encoding="utf-8", errors="replace")
    rule = f"must be a batch script that runs its arguments by {ARGUMENTS}"
    validator.check(runs_worker, "slurm_template", rule, str(template))
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    validator.check(not missing, "workers", f"must be local on a machine without {', '.join(missing)}", "slurm")


class SlurmWorkers(RemoteWorkers):
    """Workers that are tasks of job arrays."""

    def __init__(self, worker_spec: WorkerSpec, jobs: int, template: Path) -> None:
        """Prepare a pool without workers.

        Args:
            worker_spec: What all workers have in common.
            jobs: The largest number of workers at a time.
            template: The batch script of a worker, which runs its arguments as a command.
        """
        super().__init__(worker_spec, jobs)
        self.template, self.job_name = template, f"mnist_compact-{self.coordinator}"
        self.states: dict[str, str] = {}  # task as squeue names it → Slurm's state
        self.looked = time.monotonic()

    @property
    def queued(self) -> int:
        return sum(self.states[task] in QUEUED for task in self.tasks)

    def start(self, count: int) -> None:
        array = f"{self.coordinator}-{self.started}"
        self.started += 1
        spec_file = self.write_spec(replace(self.spec, worker=array))
        self.heartbeat.start()
        done = _run(
            *("sbatch", "--parsable", f"--array=0-{count - 1}", f"--job-name={self.job_name}"),
            *(f"--chdir={Path.cwd()}", f"--output={self._log_pattern(array)}", "--open-mode=append"),
            *(str(self.template), sys.executable, "-m", "mnist_compact.search.slurm_task", str(spec_file)),
        )
        if done.returncode:
            raise ExecutionError(f"sbatch failed: {done.stderr.strip() or done.returncode}", EXIT_FAILED)
        job = done.stdout.strip().partition(";")[0]  # a cluster's name may follow
        print(f"Slurm job {job}: {counted(count, 'task')} submitted, named {self.job_name}", flush=True)
        self.tasks |= {f"{job}_{task}": f"{array}_{task}" for task in range(count)}
        self.states |= {f"{job}_{task}": "PENDING" for task in range(count)}
        self.looked = time.monotonic()

    def ended(self) -> dict[str, int | str]:
        if not self.tasks or time.monotonic() - self.looked < POLL_S:
            return {}
        return self._look()

    def _look(self) -> dict[str, int | str]:
        """Ask Slurm for the states; nothing has changed if the controller does not respond."""
        done = _run("squeue", *self._ours(), "--noheader", "--array", "--states=all", "--format=%i %T")
        self.looked = time.monotonic()
        if done.returncode:
            return {}
        found = states_of(done.stdout)
        self.states = {task: found.get(task, "unknown") for task in self.tasks}
        # Slurm forgets a task some minutes after its end.
        over = [task for task, state in self.states.items() if state in ENDED or task not in found]
        return {name: self._ending(name, self.states[task]) for task in over if (name := self.tasks.pop(task))}

    def _ending(self, name: str, state: str) -> int | str:
        try:
            return int((self.folder / "workers" / f"{name}.exit").read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):  # killed, or not even started; or killed while it wrote the file
            return f"ended without an exit code (Slurm's state: {state})"

    def cancel(self) -> Iterable[str]:
        done = _run("scancel", *self._ours())  # sends SIGTERM first, which lets a worker release its trial
        if done.returncode and self.tasks:
            command = f"scancel {' '.join(self._ours())}"
            print(f"scancel failed: {done.stderr.strip()}; cancel the tasks by: {command}", flush=True)
            return []
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while self.tasks and time.monotonic() < deadline:
            self._look()
            if self.tasks:
                time.sleep(STOP_POLL_S)
        return self.tasks.values()

    def _ours(self) -> tuple[str, ...]:
        """Return the options that select the jobs of this coordinator, also one whose number sbatch could not tell."""
        return f"--user={os.getuid()}", f"--name={self.job_name}"

    def _log_pattern(self, array: str) -> str:
        return str(self.log_of(f"{array}_TASK")).replace("%", "%%").replace("TASK", "%a")


def states_of(output: str) -> dict[str, str]:
    """Parse the output of `squeue --noheader --array --format='%i %T'`: task, such as 4711_0 → state."""
    return dict(line.split()[:2] for line in output.splitlines() if len(line.split()) > 1)


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run one of Slurm's commands; a program that does not respond or does not exist has failed."""
    environment = {**os.environ, **import_path()}  # sbatch passes it to the workers
    try:
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, start_new_session=True
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, EXIT_FAILED, "", str(error))
