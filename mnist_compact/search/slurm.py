"""Workers of a search as tasks of Slurm job arrays, submitted and watched by sbatch, squeue and scancel."""

import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from mnist_compact.common.errors import EXIT_FAILED, ExecutionError, Validator
from mnist_compact.common.heartbeat import Heartbeat
from mnist_compact.common.wording import counted
from mnist_compact.runs.jobs import import_path
from mnist_compact.search.leases import heartbeat_of, lock_of, mark_infrastructure_failure
from mnist_compact.search.storage_urls import rule_broken_by, sharing_rule_broken_by, shown
from mnist_compact.search.worker_pool import WorkerPool
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
    validator.check(sweeper.n_jobs != 0, "n_jobs", "must be at least 1 with workers=slurm", sweeper.n_jobs)
    template = Path(sweeper.slurm_template or TEMPLATE)
    runs_worker = template.is_file() and ARGUMENTS in template.read_text(encoding="utf-8", errors="replace")
    rule = f"must be a batch script that runs its arguments by {ARGUMENTS}"
    validator.check(runs_worker, "slurm_template", rule, str(template))
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    validator.check(not missing, "workers", f"must be local on a machine without {', '.join(missing)}", "slurm")


class SlurmWorkers(WorkerPool):
    """Workers that are tasks of job arrays. They watch the heartbeat of this process, which is on another machine."""

    def __init__(self, worker_spec: WorkerSpec, jobs: int, template: Path) -> None:
        """Prepare a pool without workers.

        Args:
            worker_spec: What all workers have in common.
            jobs: The largest number of workers at a time.
            template: The batch script of a worker, which runs its arguments as a command.
        """
        super().__init__(replace(worker_spec, folder=str(Path(worker_spec.folder).absolute())), jobs)
        self.template, self.job_name = template, f"mnist_compact-{self.coordinator}"
        self.tasks: dict[str, str] = {}  # task as squeue names it → the worker's name
        self.states: dict[str, str] = {}  # task → Slurm's state
        self.looked = time.monotonic()
        self.heartbeat = Heartbeat(heartbeat_of(self.folder, self.coordinator))

    def __len__(self) -> int:
        return len(self.tasks)

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

    def stop(self) -> None:
        if not self.heartbeat.is_running:  # nothing was submitted
            return
        try:
            done = _run("scancel", *self._ours())
            if done.returncode and self.tasks:
                command = f"scancel {' '.join(self._ours())}"
                print(f"scancel failed: {done.stderr.strip()}; cancel the tasks by: {command}", flush=True)
            else:
                self._wait()
        finally:
            self.heartbeat.stop()  # ends the workers that Slurm has not ended
            self.tasks.clear()

    def _wait(self) -> None:
        """Wait until no task is left. SIGTERM, which Slurm sends first, lets a worker release its trial."""
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while self.tasks and time.monotonic() < deadline:
            self._look()
            if self.tasks:
                time.sleep(STOP_POLL_S)
        for name in self.tasks.values():
            mark_infrastructure_failure(lock_of(self.folder, name))

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
