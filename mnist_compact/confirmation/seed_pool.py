"""Worker processes that train the seeds of confirmations side by side."""

import os
import sys
from collections.abc import Iterable, Sequence
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
ENDED = (Status.COMPLETED, Status.DIVERGED)  # another attempt would repeat the same result


def seed_folder(folder: Path, seed: int) -> Path:
    """Return the run folder of a seed in the folder of a confirmation."""
    return folder / SEEDS / f"{seed:04d}"


def seeds_of(folder: Path) -> list[int]:
    """Return the seeds that have a run folder in the folder of a confirmation, in ascending order."""
    return sorted(int(path.name) for path in (folder / SEEDS).glob("*") if path.name.isdigit())


def lock_of(folder: Path, seed: int | None = None) -> Path:
    """Return the lock file of the process that trains a seed, or without a seed that of the whole confirmation."""
    return folder / "locks" / ("all.lock" if seed is None else f"{seed:04d}.lock")


def train(requested: Iterable[tuple[Path, list[int]]], jobs: int, callbacks: Sequence[str] = ()) -> list[str]:
    """Train the seeds that have not ended. A seed that fails is tried a second time.

    The processes share the cores as if there were always `jobs` of them: the number of threads changes the result, and
    seeds that are added later should be computed like the first.

    Args:
        requested: Folder and seeds of each confirmation.
        jobs: Number of processes side by side; 0 means one for each core.
        callbacks: Callbacks of every seed's run, by the names of `named_callbacks`.

    Returns:
        An error message for each seed that could not be trained.

    Raises:
        ConfigError: Another process trains one of the confirmations.
    """
    requested = list(requested)
    with ExitStack() as locks:
        for folder, _ in requested:
            lock_of(folder).parent.mkdir(parents=True, exist_ok=True)
            try:
                locks.enter_context(lock_file(lock_of(folder), timeout=0))
            except Timeout as error:
                raise ConfigError([f"another process is training the seeds of {folder}; wait until it ends"]) from error
        total = sum(len(seeds) for _, seeds in requested)
        errors = _attempt(requested, jobs, total, callbacks)
        return _attempt(requested, jobs, total, callbacks) if errors else []


def has_ended(run: Path) -> bool:
    """Return whether a seed's run was completed or diverged, so that it is not trained again."""
    try:
        return RunRecord.read(run).status in ENDED
    except RecordError:
        return False


def _attempt(requested: list[tuple[Path, list[int]]], jobs: int, total: int, callbacks: Sequence[str]) -> list[str]:
    missing = [
        (folder, seed) for folder, seeds in requested for seed in seeds if not has_ended(seed_folder(folder, seed))
    ]
    workers = jobs or cores()
    threads = threads_each(workers)
    several = len(requested) > 1
    pending = [
        ProcessJob(
            number=total - len(missing) + index,
            label=f"{folder.name}, seed {seed}" if several else f"seed {seed}",
            command=[sys.executable, "-m", SEED, str(folder), str(seed), str(threads), str(os.getpid()), *callbacks],
            folder=seed_folder(folder, seed),
            threads=threads,
        )
        for index, (folder, seed) in enumerate(missing)
    ]
    outcomes = run_all(pending, workers, total)
    return [f"{job.label}: {outcomes[job.number].fault}" for job in pending if outcomes[job.number].fault]
