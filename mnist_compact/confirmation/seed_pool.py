"""The seeds of confirmations as processes side by side."""

import os
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from filelock import Timeout

from mnist_compact.common.cpu import cores, threads_each
from mnist_compact.common.errors import ConfigError
from mnist_compact.common.locks import lock_file
from mnist_compact.records.discovery import SEEDS
from mnist_compact.records.record import RecordError, RunRecord, Status
from mnist_compact.runs.jobs import ProcessJob, run_all

SEED = "mnist_compact.cli.confirm_seed"
ENDED = (Status.COMPLETED, Status.DIVERGED)  # what another attempt would only repeat


def home_of(folder: Path, seed: int) -> Path:
    """The run folder of a seed."""
    return folder / SEEDS / f"{seed:04d}"


def seeds_of(folder: Path) -> list[int]:
    """Those that a confirmation's folder has a run folder of, ascending."""
    return sorted(int(path.name) for path in (folder / SEEDS).glob("*") if path.name.isdigit())


def lock_of(folder: Path, seed: int | None = None) -> Path:
    """The file that the process at work on a seed holds, or on the whole confirmation."""
    return folder / "locks" / ("all.lock" if seed is None else f"{seed:04d}.lock")


def train(wanted: Iterable[tuple[Path, list[int]]], jobs: int) -> list[str]:
    """Train every seed of every confirmation folder that has not ended; returns what went wrong, a line a seed.

    At most `jobs` at a time (0 = one a core), sharing the cores as if there were always so many: threads change the
    bits, and seeds added later should be computed like the first. A seed whose process dies is tried once more. Raises
    ConfigError where another process is at work on one of the confirmations.
    """
    wanted = list(wanted)
    with ExitStack() as locks:
        for folder, _ in wanted:
            lock_of(folder).parent.mkdir(parents=True, exist_ok=True)
            try:
                locks.enter_context(lock_file(lock_of(folder), timeout=0))
            except Timeout as error:
                raise ConfigError([f"another process is at work on {folder}"]) from error
        total = sum(len(seeds) for _, seeds in wanted)
        faults = _attempt(wanted, jobs, total)
        return _attempt(wanted, jobs, total) if faults else []


def has_ended(home: Path) -> bool:
    try:
        return RunRecord.read(home).status in ENDED
    except RecordError:
        return False


def _attempt(wanted: list[tuple[Path, list[int]]], jobs: int, total: int) -> list[str]:
    missing = [(folder, seed) for folder, seeds in wanted for seed in seeds if not has_ended(home_of(folder, seed))]
    workers = jobs or cores()
    threads = threads_each(workers)
    several = len(wanted) > 1
    lined_up = [
        ProcessJob(
            number=total - len(missing) + index,
            told=f"{folder.name}, seed {seed}" if several else f"seed {seed}",
            command=[sys.executable, "-m", SEED, str(folder), str(seed), str(threads), str(os.getpid())],
            folder=home_of(folder, seed),
            threads=threads,
        )
        for index, (folder, seed) in enumerate(missing)
    ]
    outcomes = run_all(lined_up, workers, total)
    return [f"{job.told}: {outcomes[job.number].fault}" for job in lined_up if outcomes[job.number].fault]
