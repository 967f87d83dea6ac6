"""Measure the coordination of many workers: `python -m benchmarks.coordination [--quick] [--json] [--check]`.

Each worker is a process with the code of a search: it proposes a trial, leases it, and stores its result in a
PostgreSQL server on 127.0.0.1. Nothing is trained: a trial waits for a given time and has a random score. Each worker
has a host name of its own, so that no two workers share the lock for proposals, like workers on different machines.

- Growth: one worker, trials of no length. In each round it proposes once in each of several studies, which differ in
  the numbers of trials that have ended, and that are running elsewhere.
- Throughput: 1 to 256 workers, trials of no length, in a study of 1,000 trials.
- Load: 64 workers whose trials take five minutes each and report 15 epochs. All workers are within a trial when the
  measured time begins, each at a random moment of it, so that the requests arrive at the rate of a long search.
"""

import argparse
import gc
import json
import math
import multiprocessing
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from benchmarks.measured_worker import Interval, MeasuredWorker, Usage, spec_of
from benchmarks.postgresql import Server, cpu_of, postgresql_server
from benchmarks.studies import synthetic_study
from benchmarks.timing import Must, Samples, Spread, machine_line, paired, verdict
from mnist_compact.common.signals import exit_on_signals
from mnist_compact.search import leases
from mnist_compact.search.bulk import Database
from mnist_compact.search.storage import open_storage
from mnist_compact.search.transfer import export_study, parse, store
from mnist_compact.search.worker_spec import WorkerSpec

FORK = multiprocessing.get_context("fork")  # a worker that imports torch itself takes seconds and 300 MB
Studies = dict[str, tuple[int, int]]  # name → the number of trials that have ended, and that are running
SMALLEST, TYPICAL, LARGEST = "100", "1,000", "20,000"
STUDIES: Studies = {SMALLEST: (100, 0), TYPICAL: (1_000, 0), "5,000": (5_000, 0), LARGEST: (20_000, 0)} | {
    f"1,000 and {running:,} running": (1_000, running) for running in (64, 256, 1_000)
}
WORKERS = (1, 4, 16, 64, 256)
TRIAL_S = 300.0
LARGEST_SHARE = 2.0  # % of the time of 64 workers
LARGEST_GROWTH = 4.0  # a proposal at the largest size, relative to the smallest
LONGEST_WAIT_S = 3600.0  # for the slowest of the workers


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


@dataclass(slots=True, frozen=True)
class Growth:
    """The seconds of one proposal in each study and round."""

    wall_s: Samples
    cpu_s: Samples  # CPU seconds of the worker, with those of storing the result
    server_cpu_s: Samples  # CPU seconds of the database server, which the system counts in steps of 10 ms

    def text(self) -> str:
        lines = [f"{'trials':23}  {'seconds':>22}  {'CPU seconds':>22}  ms CPU of the server (mean)"]
        for name in self.wall_s:
            wall, cpu = Spread.of(self.wall_s[name]).text(), Spread.of(self.cpu_s[name]).text()
            lines.append(f"{name:23}  {wall:>22}  {cpu:>22}  {1000 * statistics.mean(self.server_cpu_s[name]):10.0f}")
        return "\n".join(lines)


def create_studies(server: Server, studies: Studies) -> None:
    """Create the studies."""
    database = open_storage(server.url)
    assert isinstance(database, Database)
    for name, (ended, running) in studies.items():
        content = parse(export_study(synthetic_study(ended + running), "large"))
        for trial in content.trials[ended:]:
            trial.state, trial.values, trial.datetime_complete = TrialState.RUNNING, None, None
            trial.user_attrs["lease"] = {"worker": f"w{trial.number}", "host": "elsewhere", "lock": "none"}
        store(content, database, name)
    database.engine.dispose()  # forked processes must not use this connection


def prepare_forks(server: Server, folder: Path, study_name: str) -> None:
    """Process one trial, so that forked workers share the modules and the tables of libraries that this fills."""
    worker = MeasuredWorker(spec_of(folder, server.url, study_name, "first"), 0.0)
    worker.measured = 0.0, math.inf
    with worker.leases.alive:
        worker.process_trial()
    worker.proposer.composer.close()
    storage = worker.leases.storage
    assert isinstance(storage, Database)
    storage.engine.dispose()
    gc.collect()
    gc.freeze()  # the collector would write to each shared page


def measure_growth(server: Server, folder: Path, studies: Studies, rounds: int) -> Growth:
    """Let one worker propose in each study in turn."""
    growth = Growth({name: [] for name in studies}, {name: [] for name in studies}, {name: [] for name in studies})
    with _pool() as start:
        workers = {}
        for name in studies:
            workers[name], other_end = FORK.Pipe()
            start(_propose_on_demand, spec_of(folder, server.url, name, f"growth-{name}"), other_end)
        for turn in range(rounds + 1):
            for name, connection in workers.items():
                server_cpu_s = server.cpu_s()
                connection.send(True)
                proposals, wall_s, cpu_s = connection.recv()
                if turn:  # the first proposal reads the whole study
                    growth.wall_s[name].append(wall_s / proposals)
                    growth.cpu_s[name].append(cpu_s / proposals)
                    growth.server_cpu_s[name].append((server.cpu_s() - server_cpu_s) / proposals)
    return growth


def _propose_on_demand(spec: WorkerSpec, connection: Any) -> None:
    worker = MeasuredWorker(spec, 0.0)
    worker.measured = 0.0, math.inf
    leases.LEASE_S = math.inf  # the running trials of the study have no workers, and must not be reclaimed
    with worker.leases.alive:
        while connection.recv():
            before, cpu = len(worker.leases.trials()), time.process_time()
            worker.process_trial()
            proposals = len(worker.leases.trials()) - before  # a claim goes on until a proposal is not refused
            connection.send((proposals, worker.usage.proposals_s[-1], time.process_time() - cpu))


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

        pids = [start(_work, spec_of(folder, server.url, study_name, name), trial_s, begin, usages) for name in names]
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
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        socket.gethostname = lambda: spec.worker  # each worker is a machine of its own
        tempfile.tempdir = spec.folder  # a process that is terminated does not remove its files
        with open(Path(spec.folder) / f"{spec.worker}.log", "w") as log:
            sys.stdout = sys.stderr = log
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


def limits(growth: Growth, load: Load) -> list[Must]:
    """Return the limits. Growth is the median of the ratios of the rounds, without the large study in quick runs."""
    wall, cpu = growth.wall_s, growth.cpu_s
    largest = LARGEST if LARGEST in wall else TYPICAL
    compared = f"of a proposal, {largest} trials / {SMALLEST}"
    share = Spread.of([load.coordination_share])
    return [
        Must(f"seconds {compared}", paired(wall[largest], wall[SMALLEST]), LARGEST_GROWTH),
        Must(f"CPU seconds {compared}", paired(cpu[largest], cpu[SMALLEST]), LARGEST_GROWTH),
        Must(f"coordination of {load.workers} workers, trials of {TRIAL_S:g} s, % of the time", share, LARGEST_SHARE),
    ]


def _environment() -> dict[str, Any]:
    import torch

    from mnist_compact.training.device import describe_environment

    return describe_environment(torch.device("cpu"))


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.coordination", description="Measure the coordination of many workers."
    )
    parser.add_argument("--quick", action="store_true", help="smaller studies, at most 16 workers, shorter times")
    parser.add_argument("--workers", type=int, metavar="N", help="measure only N workers with trials of no length")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a limit is exceeded")
    options = parser.parse_args()
    only_one_load = options.workers is not None
    names = [SMALLEST, TYPICAL] if options.quick or only_one_load else list(STUDIES)
    studies = {name: STUDIES[name] for name in names}
    counts = [options.workers] if only_one_load else WORKERS[:3] if options.quick else WORKERS
    rounds, seconds = (5, 10.0) if options.quick else (15, 30.0)
    environment = _environment()

    def show(*lines: str) -> None:
        if not options.json:
            print(*lines, sep="\n", flush=True)

    show(machine_line(environment))
    with (
        exit_on_signals(),  # otherwise SIGTERM would leave the server and the workers running
        tempfile.TemporaryDirectory(prefix="pg") as data,
        tempfile.TemporaryDirectory() as name,
    ):
        folder = Path(name)
        with postgresql_server(Path(data)) as server:
            create_studies(server, studies)
            prepare_forks(server, folder, SMALLEST)
            growth = steady = None
            if not only_one_load:
                growth = measure_growth(server, folder, studies, rounds)
                show(f"one proposal; median [lowest–highest] of {rounds} rounds", growth.text(), "")
                steady = measure_load(
                    server, folder, TYPICAL, workers=64, trial_s=TRIAL_S, warm_up_s=0.0, measured_s=4 * seconds
                )
                show(f"trials of {TRIAL_S:g} s, for {steady.measured_s:g} s", HEADER, steady.text(), "")
            show(f"trials of no length, for {seconds:g} s", HEADER)
            loads = []
            for n in counts:
                loads.append(
                    measure_load(
                        server, folder, TYPICAL, workers=n, trial_s=0.0, warm_up_s=seconds / 2, measured_s=seconds
                    )
                )
                show(loads[-1].text())
    musts = limits(growth, steady) if growth and steady else []
    show("", *(must.text() for must in musts))
    if options.json:
        record = {
            "environment": environment,
            "limits": [must.record() for must in musts],
            "growth": growth and asdict(growth),
            "throughput": [asdict(load) for load in loads],
            "load": steady and asdict(steady),
        }
        print(json.dumps(record, indent=2, ensure_ascii=False))
    return verdict(musts, check=options.check)


if __name__ == "__main__":
    sys.exit(main())
