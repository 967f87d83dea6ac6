"""One task of a Slurm job array: a worker of a search that writes its exit code to a file.

The batch script runs it as `python -m mnist_compact.search.slurm_task <spec>`, where the spec is that of all tasks of
the array.
"""

import os
import sys
from dataclasses import replace
from pathlib import Path

from mnist_compact.common.cpu import threads_each
from mnist_compact.common.errors import EXIT_FAILED
from mnist_compact.search.worker import run_worker
from mnist_compact.search.worker_spec import WorkerSpec


def main(path: Path) -> int:
    """Run the worker of this task, and return its exit code."""
    array = WorkerSpec.read(path)
    name = f"{array.worker}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    restarts = os.environ.get("SLURM_RESTART_COUNT", "0")
    # A task that Slurm has started again may be on another machine, so that it is another worker.
    worker = name if restarts == "0" else f"{name}.{restarts}"
    machine = replace(array.machine, threads=array.machine.threads or threads_each(1))
    exit_file, code = path.with_name(f"{name}.exit"), EXIT_FAILED
    exit_file.unlink(missing_ok=True)
    try:
        code = run_worker(replace(array, worker=worker, machine=machine))
    finally:
        exit_file.write_text(f"{code}\n", encoding="ascii")
    return code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
