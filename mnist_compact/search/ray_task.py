"""A Ray task that runs one worker of a search in a process of its own, so that only that process loads torch."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

POLL_S = 0.5


def run_in_process(spec_file: str, folder: str, threads: int) -> int:
    """Run a worker until it ends. If the task is cancelled, the worker releases its trial first.

    Args:
        spec_file: The worker's specification; its log and its exit code are written beside it.
        folder: The working folder.
        threads: The number of CPU threads.

    Returns:
        The exit code of the worker's process; minus the number of the signal that has ended it.
    """
    spec = Path(spec_file)
    with spec.with_suffix(".log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mnist_compact.search.ray_task", spec_file, str(os.getpid())],
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )
    try:
        while process.poll() is None:
            time.sleep(POLL_S)  # Ray cannot interrupt a wait for a process
    except KeyboardInterrupt:  # Ray raises it in a task that is cancelled
        process.terminate()
    code = process.wait()
    spec.with_suffix(".exit").write_text(f"{code}\n", encoding="ascii")
    return code


def main(path: Path, parent: int) -> int:
    """Run a worker in this process, which a Ray task has started, and return its exit code."""
    from mnist_compact.search.worker import run_worker
    from mnist_compact.search.worker_spec import WorkerSpec

    return run_worker(replace(WorkerSpec.read(path), parent=parent))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
