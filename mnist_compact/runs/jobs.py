"""Jobs side by side, each a process of its own: whatever ends one of them leaves the others alone."""

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
HEARD_S = 1.0  # a terminal's Ctrl-C reaches every process within it; twice could cut short what the first has begun
ENDING_S = 120.0  # for interrupted runs to write their records and draw their curves, on however busy a machine
QUIET_S = 10.0  # after which a line tells how far the first job is; twice as long before the next line
LAST_WORDS_BYTES = 20_000
# Colours and bars are for terminals; HYDRA_FULL_ERROR is set by app.plain_errors, for this process alone.
NOT_FOR_JOBS = {"FORCE_COLOR", "TTY_COMPATIBLE", "HYDRA_FULL_ERROR"}


class JobError(ExecutionError):
    """A job was refused or has failed. `status` is what its whole grid should exit with."""


@dataclass(slots=True, frozen=True)
class ProcessJob:
    """A command that leaves a run in `folder`."""

    number: int  # from 0; people count from 1
    told: str  # what tells it from the others
    command: list[str]
    folder: Path
    threads: int | None  # None = whatever the environment says


@dataclass(slots=True, frozen=True)
class JobResult:
    """How a job ended: with a value, or with a fault."""

    said: str  # to the user, as it ended
    value: float | None = None  # the objective; None for a run that diverged
    fault: str = ""
    refused: bool = False  # the fault is in the configuration


def import_path() -> dict[str, str]:
    """The environment variable by which a process of our own finds every module that this one can import.

    A script may have put this package, or a module that holds a user's network, on `sys.path` alone.
    """
    return {"PYTHONPATH": os.pathsep.join(entry or os.getcwd() for entry in sys.path if isinstance(entry, str))}


def how_ended(code: int) -> str:
    """Of a process with this exit code, such as: ended by signal 9 (Killed: out of memory?)"""
    if code >= 0:
        return f"ended with exit status {code}"
    memory = ": out of memory?" if -code == signal.SIGKILL else ""
    return f"ended by signal {-code} ({signal.strsignal(-code)}{memory})"


def run_all(jobs: list[ProcessJob], workers: int, total: int, *, fail_fast: bool = False) -> dict[int, JobResult]:
    """Number → outcome, at most `workers` at a time; prints a line for each job as it ends.

    Until the first ends it prints now and then the last line of a job's log.

    With `fail_fast` the first job that fails or is refused ends them all: those under way are interrupted, and no other
    is started. Their outcomes name the job that failed.

    Whatever ends this call early, Ctrl-C and SIGTERM too, interrupts the jobs under way and waits for them.
    """
    assert workers > 0 or not jobs
    outcomes: dict[int, JobResult] = {}

    def ended(job: ProcessJob, outcome: JobResult) -> None:
        outcomes[job.number] = outcome
        print(f"{job.number + 1}/{total}  {job.told}   {outcome.said}", flush=True)

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
                    print(f"{running[0].job.told}   {running[0].last_line()}", flush=True)
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
    """How the run in `folder` has ended; None for one that was cut off, has failed or is not there."""
    try:
        record = RunRecord.read(folder)
    except RecordError:
        return None
    if record.status in (Status.COMPLETED, Status.STOPPED, Status.DIVERGED):
        return JobResult(f"{record.status} before", objective(record))
    return None


class _Process:
    """A job under way."""

    def __init__(self, job: ProcessJob) -> None:
        self.job = job
        environment = {key: value for key, value in os.environ.items() if key not in NOT_FOR_JOBS} | import_path()
        if job.threads is not None:
            environment["OMP_NUM_THREADS"] = str(job.threads)
        self.made_folder = not job.folder.exists()
        job.folder.mkdir(parents=True, exist_ok=True)
        with (job.folder / LOG).open("ab") as log:  # a folder that holds a run already keeps that run's log
            self.log_start = log.tell()
            self.popen = subprocess.Popen(
                job.command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def outcome(self) -> JobResult:
        """How it ended. The exit status comes first: a refused or killed job's folder may hold another run's record."""
        code = self.popen.returncode
        if code == EXIT_REFUSED:
            message = "; ".join(self._log().rpartition(PREFIX)[2].strip().splitlines())
            self._leave_nothing()
            return JobResult(f"refused: {message}", fault=message, refused=True)
        if code < 0:
            return self._failed(how_ended(code))
        try:
            record = RunRecord.read(self.job.folder)
        except RecordError as error:
            return self._failed(self.last_line() or str(error))
        value, took = objective(record), f"{record.seconds:.1f} s"  # as the table of runs has it
        if record.status is Status.DIVERGED:
            return JobResult(f"diverged: {record.reason}   {took}", value)
        if code or value is None:
            return self._failed(record.reason or self.last_line() or how_ended(code))
        return JobResult(f"{value:.2f} %   {took}", value)

    def _failed(self, reason: str) -> JobResult:
        return JobResult(f"failed: {reason}", fault=f"{reason}; see {self.job.folder / LOG}")

    def _log(self) -> str:
        with (self.job.folder / LOG).open("rb") as log:
            log.seek(max(self.log_start, log.seek(0, os.SEEK_END) - LAST_WORDS_BYTES))
            return log.read().decode(errors="replace")

    def last_line(self) -> str:
        return next(iter(self._log().strip().splitlines()[-1:]), "")

    def _leave_nothing(self) -> None:
        """After a refusal, as without a grid."""
        if not self.log_start and [path.name for path in self.job.folder.iterdir()] == [LOG]:
            (self.job.folder / LOG).unlink()
            if self.made_folder:
                self.job.folder.rmdir()


def _interrupt(running: list[subprocess.Popen[bytes]]) -> None:
    """End them all, gently if they let us."""
    try:
        # Jobs started in the background of a script ignore SIGINT, as this process does.
        ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        _wait(running, 0 if ignored else HEARD_S)
        for process in running:
            process.send_signal(signal.SIGTERM if ignored else signal.SIGINT)  # does nothing to one that has ended
        _wait(running, ENDING_S)
    finally:
        for process in running:
            process.kill()
            process.wait()


def _wait(running: list[subprocess.Popen[bytes]], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while any(process.poll() is None for process in running) and time.monotonic() < deadline:
        time.sleep(POLL_S)
