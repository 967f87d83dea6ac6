"""A worker of a search that trains nothing, and measures the time that it spends on coordination."""

import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import psycopg
from optuna.trial import TrialState

from benchmarks.studies import EPOCHS
from mnist_compact.records.record import NetworkFacts, RunRecord, Score, Status
from mnist_compact.search.leases import is_leased_by
from mnist_compact.search.proposals import TrialJob
from mnist_compact.search.stopping import StoppingCriteria
from mnist_compact.search.worker import Worker
from mnist_compact.search.worker_spec import WorkerSpec
from mnist_compact.training.config import MachineConfig

ENDLESS = 10**9
NETWORK = NetworkFacts(
    parameters=3_000, trainable_parameters=3_000, macs=100_000, receptive_field=24, input_shape=[1, 28, 28]
)

Interval = tuple[float, float]  # times of `time.perf_counter`, which all processes share


@dataclass(slots=True)
class Usage:
    """What one worker did within the measured time, in seconds."""

    trials: int = 0  # that ended
    trained_s: float = 0.0  # within trials
    database_s: float = 0.0  # waiting for the server
    proposals_s: list[float] = field(default_factory=list)


class MeasuredWorker(Worker):
    """A worker whose trials train nothing. Its measured time begins after its first proposal."""

    def __init__(self, spec: WorkerSpec, trial_s: float, begin: Callable[[], Interval] | None = None) -> None:
        """Open the study.

        Args:
            spec: The worker.
            trial_s: The seconds that a trial takes.
            begin: Waits for the other workers; returns the beginning and the end of the measured time.
        """
        super().__init__(spec)
        self.trial_s, self.begin, self.usage = trial_s, begin, Usage()
        self.measured: Interval = 0.0, 0.0

    def work(self) -> None:
        """Work until the end of the measured time."""

        def timed_wait(connection: Any, *args: Any, **options: Any) -> Any:
            start = time.perf_counter()
            try:
                return wait(connection, *args, **options)
            finally:
                if threading.current_thread() is threading.main_thread():  # not the heartbeat
                    self.usage.database_s += self._within(start, time.perf_counter())

        wait = psycopg.Connection.wait
        with mock.patch.object(psycopg.Connection, "wait", timed_wait):
            try:
                super().work()
            except KeyboardInterrupt:
                return

    def _within(self, start: float, end: float) -> float:
        """Return the seconds of an interval that are within the measured time."""
        return max(0.0, min(end, self.measured[1]) - max(start, self.measured[0]))

    def _claim(self) -> TrialJob | None:
        start = time.perf_counter()
        job = super()._claim()
        if self.measured[1] and self.measured[0] <= start:
            self.usage.proposals_s.append(time.perf_counter() - start)
        return job

    def _train(self, job: TrialJob) -> RunRecord:
        epoch_s, done_s = self.trial_s / EPOCHS, 0.0
        if self.begin is not None and not self.measured[1]:
            self.measured = self.begin()
            done_s = random.Random(self.spec.worker).uniform(0, self.trial_s)  # this trial has already begun
        if time.perf_counter() >= self.measured[1]:
            raise KeyboardInterrupt
        report = self._pruning_callback(job)
        score = _score(random.random())
        for epoch in range(1, EPOCHS + 1) if self.trial_s else ():
            if epoch * epoch_s > done_s:
                self._wait(min(epoch_s, epoch * epoch_s - done_s))
                report(_score(score.accuracy, epoch), NETWORK)
        return RunRecord(
            status=Status.COMPLETED,
            config={},
            evaluated=score.split,
            scores=[score],
            epochs_done=EPOCHS,
            network=NETWORK,
        )

    def _wait(self, seconds: float) -> None:
        start = time.perf_counter()
        time.sleep(max(0.0, min(seconds, self.measured[1] - start)))
        end = time.perf_counter()
        self.usage.trained_s += self._within(start, end)
        if end >= self.measured[1]:
            raise KeyboardInterrupt

    def _release(self) -> None:
        """Let the trial fail, so that the next workers propose trials of their own."""
        for trial in self.leases.trials():
            if is_leased_by(self.spec.worker, trial):
                self.leases.study.tell(trial.number, state=TrialState.FAIL)

    def _tell_result(self, job: TrialJob, record: RunRecord) -> None:
        super()._tell_result(job, record)
        self.usage.trials += time.perf_counter() < self.measured[1]


def _score(accuracy: float, epoch: int = EPOCHS) -> Score:
    return Score(
        split="synthetic",
        weights="raw",
        at="last",
        epoch=epoch,
        accuracy=accuracy,
        loss=1.0,
        correct=1,
        total=200,
        final=True,
    )


def spec_of(folder: Path, url: str, study_name: str, worker: str) -> WorkerSpec:
    """Return the specification of a worker that is alone on its machine, and never has enough trials."""
    home = folder / study_name
    home.mkdir(exist_ok=True)
    settings = StoppingCriteria(
        n_trials=ENDLESS, target=None, target_trials=1, max_failures=ENDLESS, max_refusals=ENDLESS, maximize=True
    )
    return WorkerSpec(
        folder=str(home), url=url, study_name=study_name, worker=worker, private=False,
        machine=MachineConfig(name="auto"), parent=os.getpid(), remote=False, parent_name="benchmark",
        settings=settings,
    )  # fmt: skip
