"""Jobs in parallel, each in a process of its own. A job that fails does not affect the others."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from mnist_compact.common.errors import EXIT_REFUSED, PREFIX, ExecutionError
from mnist_compact.common.run_files import LOG
from mnist_compact.common.signals import exit_on_signals
from mnist_compact.records.record import RecordError, RunRecord, Status, objective

POLL_S = 0.05
CTRL_C_S = 1.0  # a terminal's Ctrl-C reaches every process in this time; a second signal could disturb its work
ENDING_S = 120.0  # time for interrupted runs to write their records and draw their plots, even on a busy machine
QUIET_S = 10.0  # time until a line shows the progress of the first job; the time doubles after each line
LOG_END_BYTES = 20_000  # the end of a log that is read for error messages
# Colours and bars are for terminals. cli.train.plain_errors sets HYDRA_FULL_ERROR for its own process only.
NOT_FOR_JOBS = {"FORCE_COLOR", "TTY_COMPATIBLE", "HYDRA_FULL_ERROR"}


class JobError(ExecutionError):
    """A job was refused or failed. `status` is the exit status of the whole grid."""


@dataclass(slots=True, frozen=True)
class ProcessJob:
    """A command that trains a run in `folder`."""

    number: int  # counted from 0; messages count from 1
    label: str  # the overrides that distinguish it from the other jobs
    command: list[str]
    folder: Path
    threads: int | None  # CPU threads; None = as the environment sets them


@dataclass(slots=True, frozen=True)
class JobResult:
    """The result of a job: a value or an error."""

    message: str  # shown to the user when the job ends
    value: float | None = None  # the objective; None for a run that diverged
    fault: str = ""  # the error; "" = none
    refused: bool = False  # whether the configuration is wrong


def import_path() -> dict[str, str]:
    """Return the environment variable that lets a child process import every module that this process can import.

    A script may have added this package, or a module with a user's network, only to `sys.path`.
    """
    return {"PYTHONPATH": os.pathsep.join(entry or os.getcwd() for entry in sys.path if isinstance(entry, str))}


def how_ended(code: int) -> str:
    """Describe an exit code, for example: ended by signal 9 (Killed: out of memory?)."""
    if code >= 0:
        return f"ended with exit status {code}"
    memory = ": out of memory?" if -code == signal.SIGKILL else ""
    return f"ended by signal {-code} ({signal.strsignal(-code)}{memory})"


def run_all(jobs: list[ProcessJob], workers: int, total: int, *, fail_fast: bool = False) -> dict[int, JobResult]:
    """Run jobs in parallel and print a line when each ends.

    Until the first job ends, the last line of a job's log is printed from time to time. If this call ends early, for
    example by Ctrl-C or SIGTERM, it interrupts the running jobs and waits for them.

    Args:
        jobs: The jobs.
        workers: Largest number of jobs at a time.
        total: Number of jobs of the whole grid, for the printed lines.
        fail_fast: Whether the first job that fails or is refused ends all others: running jobs are interrupted, and no
            other job starts. Their results name the job that failed.

    Returns:
        The result of each job by its number.
    """
    assert workers > 0 or not jobs
    outcomes: dict[int, JobResult] = {}

    def ended(job: ProcessJob, outcome: JobResult) -> None:
        outcomes[job.number] = outcome
        print(f"{job.number + 1}/{total}  {job.label}   {outcome.message}", flush=True)

    waiting, running = jobs[::-1], list[_Process]()
    printed, patience = time.monotonic(), QUIET_S
    with exit_on_signals():
        try:
            while (waiting or running) and not (fail_fast and any(outcome.fault for outcome in outcomes.values())):
                while waiting and len(running) < workers:
                    job = waiting.pop()
                    try:
                        running.append(_Process(job))
                    except OSError as error:
                        ended(job, JobResult(f"failed: {error}", fault=str(error)))
                time.sleep(POLL_S)
                if running and not outcomes and time.monotonic() - printed >= patience:
                    printed, patience = time.monotonic(), 2 * patience
                    print(
                        f"{running[0].job.label}   running, last output: {running[0].last_line() or 'none yet'}",
                        flush=True,
                    )
                for process in [process for process in running if process.popen.poll() is not None]:
                    running.remove(process)
                    ended(process.job, process.outcome())
        finally:
            _interrupt([process.popen for process in running])
    failed = next(
        (f"job {number + 1} failed: {outcome.fault}" for number, outcome in outcomes.items() if outcome.fault), ""
    )
    for process in running:
        ended(process.job, JobResult(f"interrupted: {failed}", fault=f"interrupted, because {failed}"))
    for job in reversed(waiting):
        outcomes[job.number] = JobResult("", fault=f"not started, because {failed}")
    return outcomes


def ended_before(folder: Path) -> JobResult | None:
    """Return the result of a run that has ended; None if it was interrupted, failed or does not exist."""
    try:
        record = RunRecord.read(folder)
    except RecordError:
        return None
    if record.status in (Status.COMPLETED, Status.STOPPED, Status.DIVERGED):
        return JobResult(f"already {record.status}", objective(record))
    return None


def result_line(record: RunRecord) -> str:
    """Return the accuracy of a run that has ended, or why it has none, and its duration."""
    value, duration = objective(record), f"{record.seconds:.1f} s"  # the same precision as in the table of runs
    if record.status is Status.DIVERGED or value is None:
        return f"{record.status}: {record.reason}   {duration}"
    return f"{value:.2f} %   {duration}"


class _Process:
    """A running job."""

    def __init__(self, job: ProcessJob) -> None:
        self.job = job
        environment = {key: value for key, value in os.environ.items() if key not in NOT_FOR_JOBS} | import_path()
        if job.threads is not None:
            environment["OMP_NUM_THREADS"] = str(job.threads)
        self.made_folder = not job.folder.exists()
        job.folder.mkdir(parents=True, exist_ok=True)
        with (job.folder / LOG).open("ab") as log:  # append: a folder with an earlier run keeps that run's log
            self.log_start = log.tell()
            self.popen = subprocess.Popen(
                job.command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def outcome(self) -> JobResult:
        """Return the result of the ended process.

        The exit status is checked first: the folder of a refused or killed job may contain another run's record.
        """
        code = self.popen.returncode
        if code == EXIT_REFUSED:
            message = "; ".join(self._log().rpartition(PREFIX)[2].strip().splitlines())
            self._remove_log()
            return JobResult(f"refused: {message}", fault=message, refused=True)
        if code < 0:
            return self._failed(how_ended(code))
        try:
            record = RunRecord.read(self.job.folder)
        except RecordError as error:
            return self._failed(self.last_line() or str(error))
        value = objective(record)
        if record.status is not Status.DIVERGED and (code or value is None):
            return self._failed(record.reason or self.last_line() or how_ended(code))
        return JobResult(result_line(record), value)

    def _failed(self, reason: str) -> JobResult:
        return JobResult(f"failed: {reason}", fault=f"{reason}; see {self.job.folder / LOG}")

    def _log(self) -> str:
        with (self.job.folder / LOG).open("rb") as log:
            log.seek(max(self.log_start, log.seek(0, os.SEEK_END) - LOG_END_BYTES))
            return log.read().decode(errors="replace")

    def last_line(self) -> str:
        """Return the last line of the job's log."""
        return next(iter(self._log().strip().splitlines()[-1:]), "")

    def _remove_log(self) -> None:
        """Remove the log and the folder of a refused job if they contain nothing else."""
        if not self.log_start and [path.name for path in self.job.folder.iterdir()] == [LOG]:
            (self.job.folder / LOG).unlink()
            if self.made_folder:
                self.job.folder.rmdir()


def _interrupt(running: list[subprocess.Popen[bytes]]) -> None:
    """Interrupt all processes, and kill those that do not end in time."""
    try:
        # Jobs that are started from a background process ignore SIGINT, as this process does.
        ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        _wait(running, 0 if ignored else CTRL_C_S)
        for process in running:
            process.send_signal(signal.SIGTERM if ignored else signal.SIGINT)  # no effect on a process that has ended
        _wait(running, ENDING_S)
    finally:
        for process in running:
            process.kill()
            process.wait()


def _wait(running: list[subprocess.Popen[bytes]], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while any(process.poll() is None for process in running) and time.monotonic() < deadline:
        time.sleep(POLL_S)
