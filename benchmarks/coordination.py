"""Measure the coordination of many workers: `python -m benchmarks.coordination [--quick] [--json] [--check]`.

Each worker is a process with the code of a search: it proposes a trial, leases it, and stores its result in a
PostgreSQL server on 127.0.0.1. Nothing is trained: a trial waits for a given time and has a random score. Each worker
has a host name of its own, so that no two workers share the lock for proposals, like workers on different machines.

- Growth: one worker, trials of no length, studies of different sizes. In each round it proposes once in each study.
- Throughput: 1 to 256 workers, trials of no length.
- Load: 64 workers whose trials take five minutes each and report 15 epochs. All workers are within a trial when the
  measured time begins, each at a random moment of it, so that the requests arrive at the rate of a long search.
"""

import argparse
import gc
import json
import math
import multiprocessing
import os
import random
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import psycopg

from benchmarks.postgresql import Server, cpu_of, postgresql_server
from benchmarks.studies import EPOCHS, synthetic_study
from benchmarks.timing import Must, Samples, Spread, machine_line, paired, verdict
from mnist_compact.records.record import NetworkFacts, RunRecord, Score, Status
from mnist_compact.search.bulk import Database
from mnist_compact.search.proposals import TrialJob
from mnist_compact.search.stopping import StoppingCriteria
from mnist_compact.search.storage import open_storage
from mnist_compact.search.transfer import export_study, parse, store
from mnist_compact.search.worker import Worker
from mnist_compact.search.worker_spec import WorkerSpec
from mnist_compact.training.config import MachineConfig

FORK = multiprocessing.get_context("fork")  # a worker that imports torch itself takes seconds and 300 MB
SIZES = (100, 1_000, 5_000, 20_000)  # trials of a study
WORKERS = (1, 4, 16, 64, 256)
TRIAL_S = 300.0
ENDLESS = 10**9
LARGEST_SHARE = 2.0  # % of the time of 64 workers
LARGEST_GROWTH = 4.0  # a proposal at the largest size, relative to the smallest
LONGEST_WAIT_S = 600.0  # for the slowest of the workers
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


@dataclass(slots=True, frozen=True)
class Load:
    """The summary of workers that ran at the same time."""

    workers: int
    measured_s: float
    trials: int
    proposal_s: Spread
    coordination_share: float  # of the workers' time, in %
    database_share: float  # of the time of coordination, in %
    worker_cpu_s: float  # CPU seconds of the workers
    server_cpu_s: float  # CPU seconds of the database server

    @classmethod
    def of(cls, usages: Sequence[Usage], measured_s: float, worker_cpu_s: float, server_cpu_s: float) -> "Load":
        total = len(usages) * measured_s
        coordination = total - sum(usage.trained_s for usage in usages)
        return cls(
            workers=len(usages),
            measured_s=measured_s,
            trials=sum(usage.trials for usage in usages),
            proposal_s=Spread.of([second for usage in usages for second in usage.proposals_s] or [math.nan]),
            coordination_share=100 * coordination / total,
            database_share=100 * sum(usage.database_s for usage in usages) / coordination,
            worker_cpu_s=worker_cpu_s,
            server_cpu_s=server_cpu_s,
        )

    def text(self) -> str:
        per_trial = 1000 / max(self.trials, 1)
        return (
            f"{self.workers:7}  {self.trials:6}  {self.trials / self.measured_s:8.2f}  {self.proposal_s.text():>22}  "
            f"{self.coordination_share:12.2f}  {self.database_share:8.0f}  {self.worker_cpu_s * per_trial:10.0f}  "
            f"{self.server_cpu_s * per_trial:10.0f}"
        )


HEADER = (
    "workers  trials  trials/s  seconds of a proposal  coordination  database  ms CPU of    ms CPU of\n"
    "                                                   % of time     % of it   a worker   the server   (each a trial)"
)


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


def create_studies(server: Server, sizes: Sequence[int]) -> None:
    """Create a study of each size, which is also its name."""
    database = open_storage(server.url)
    assert isinstance(database, Database)
    for size in sizes:
        store(parse(export_study(synthetic_study(size), "large")), database, str(size))
    database.engine.dispose()  # forked processes must not use this connection


def prepare_forks(server: Server, folder: Path, study_name: str) -> None:
    """Process one trial, so that forked workers share the modules and the tables of libraries that this fills."""
    worker = MeasuredWorker(_spec(folder, server.url, study_name, "first"), 0.0)
    worker.measured = 0.0, math.inf
    with worker.leases.alive:
        worker.process_trial()
    worker.proposer.composer.close()
    storage = worker.leases.storage
    assert isinstance(storage, Database)
    storage.engine.dispose()
    gc.collect()
    gc.freeze()  # the collector would write to each shared page


def _spec(folder: Path, url: str, study_name: str, worker: str) -> WorkerSpec:
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


def measure_growth(server: Server, folder: Path, sizes: Sequence[int], rounds: int) -> tuple[Samples, Samples]:
    """Let one worker propose in each study in turn.

    Returns:
        The seconds of one proposal for each size in each round, and its CPU seconds.
    """
    wall: Samples = {str(size): [] for size in sizes}
    cpu: Samples = {str(size): [] for size in sizes}
    with _pool() as start:
        workers = {}
        for name in wall:
            workers[name], other_end = FORK.Pipe()
            start(_propose_on_demand, _spec(folder, server.url, name, f"growth-{name}"), other_end)
        for turn in range(rounds + 1):
            for name, connection in workers.items():
                connection.send(True)
                wall_s, cpu_s = connection.recv()
                if turn:  # the first proposal reads the whole study
                    wall[name].append(wall_s)
                    cpu[name].append(cpu_s)
    return wall, cpu


def _propose_on_demand(spec: WorkerSpec, connection: Any) -> None:
    worker = MeasuredWorker(spec, 0.0)
    worker.measured = 0.0, math.inf
    with worker.leases.alive:
        while connection.recv():
            before, cpu = len(worker.leases.trials()), time.process_time()
            worker.process_trial()
            proposals = len(worker.leases.trials()) - before  # a claim goes on until a proposal is not refused
            connection.send((worker.usage.proposals_s[-1] / proposals, (time.process_time() - cpu) / proposals))


def measure_load(
    server: Server, folder: Path, study_name: str, *, workers: int, trial_s: float, warm_up_s: float, measured_s: float
) -> Load:
    """Let workers process trials of `trial_s` seconds at the same time."""
    barrier, usages = FORK.Barrier(workers + 1, timeout=LONGEST_WAIT_S), FORK.Queue()
    names = [f"w{workers}-{trial_s:g}-{number}" for number in range(workers)]
    with _pool() as start:

        def begin() -> Interval:
            barrier.wait()
            beginning = time.perf_counter() + warm_up_s
            return beginning, beginning + measured_s

        pids = [start(_work, _spec(folder, server.url, study_name, name), trial_s, begin, usages) for name in names]
        begin()
        time.sleep(warm_up_s)
        worker_cpu, server_cpu = cpu_of(pids), server.cpu_s()
        time.sleep(measured_s)
        worker_cpu, server_cpu = cpu_of(pids) - worker_cpu, server.cpu_s() - server_cpu
        found = [usages.get(timeout=LONGEST_WAIT_S) for _ in names]
    return Load.of(found, measured_s, worker_cpu, server_cpu)


def _work(spec: WorkerSpec, trial_s: float, begin: Callable[[], Interval], usages: Any) -> None:
    worker = MeasuredWorker(spec, trial_s, begin)
    worker.work()
    usages.put(worker.usage)


@contextmanager
def _pool() -> Iterator[Callable[..., int]]:
    """Yield a function that starts a forked process, which is ended at the end, and returns its process id."""
    processes = []

    def run(function: Callable[..., None], spec: WorkerSpec, *arguments: Any) -> None:
        socket.gethostname = lambda: spec.worker  # each worker is a machine of its own
        with open(Path(spec.folder) / f"{spec.worker}.log", "w") as sys.stdout:
            function(spec, *arguments)

    def start(*arguments: Any) -> int:
        process = FORK.Process(target=run, args=arguments, daemon=True)
        process.start()
        processes.append(process)
        return process.pid or 0

    try:
        yield start
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()


def limits(wall: Samples, cpu: Samples, load: Load) -> list[Must]:
    """Return the limits. Growth is the median of the ratios of the rounds."""
    smallest, *_, largest = wall
    growth = f"of a proposal, {int(largest):,} trials / {int(smallest):,}"
    share = Spread.of([load.coordination_share])
    return [
        Must(f"seconds {growth}", paired(wall[largest], wall[smallest]), LARGEST_GROWTH),
        Must(f"CPU seconds {growth}", paired(cpu[largest], cpu[smallest]), LARGEST_GROWTH),
        Must(f"coordination of {load.workers} workers, trials of {TRIAL_S:g} s, % of the time", share, LARGEST_SHARE),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.coordination", description="Measure the coordination of many workers."
    )
    parser.add_argument("--quick", action="store_true", help="smaller studies, at most 16 workers, shorter times")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a limit is exceeded")
    options = parser.parse_args()
    sizes = SIZES[:2] if options.quick else SIZES
    counts = WORKERS[:3] if options.quick else WORKERS
    rounds, seconds = (5, 10.0) if options.quick else (15, 30.0)
    with tempfile.TemporaryDirectory(prefix="pg") as data, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with postgresql_server(Path(data)) as server:
            create_studies(server, sizes)
            prepare_forks(server, folder, str(sizes[0]))
            wall, cpu = measure_growth(server, folder, sizes, rounds)
            study = str(sizes[1])
            loads = [
                measure_load(server, folder, study, workers=n, trial_s=0.0, warm_up_s=seconds / 2, measured_s=seconds)
                for n in counts
            ]
            steady = measure_load(
                server, folder, study, workers=64, trial_s=TRIAL_S, warm_up_s=0.0, measured_s=4 * seconds
            )
    import torch

    from mnist_compact.training.device import describe_environment

    environment = describe_environment(torch.device("cpu"))
    musts = limits(wall, cpu, steady)
    if options.json:
        record = {
            "environment": environment,
            "limits": [must.record() for must in musts],
            "proposal_s": wall,
            "proposal_cpu_s": cpu,
            "throughput": [asdict(load) for load in loads],
            "load": asdict(steady),
        }
        print(json.dumps(record, indent=2, ensure_ascii=False))
    else:
        print(f"{machine_line(environment)}\n{rounds} rounds; one proposal, median [lowest–highest]")
        print("trials                 seconds             CPU seconds")
        for size in wall:
            print(f"{int(size):6,}  {Spread.of(wall[size]).text():>22}  {Spread.of(cpu[size]).text():>22}")
        print(f"\ntrials of no length for {seconds:g} s, {sizes[1]:,} earlier trials\n{HEADER}")
        print(*(load.text() for load in loads), sep="\n")
        print(f"\ntrials of {TRIAL_S:g} s for {steady.measured_s:g} s\n{HEADER}\n{steady.text()}\n")
        print(*(must.text() for must in musts), sep="\n")
    return verdict(musts, check=options.check)


if __name__ == "__main__":
    sys.exit(main())
