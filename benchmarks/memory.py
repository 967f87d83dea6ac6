"""Peak resident memory of whole processes, which they read from /proc at their end (Linux only).

ru_maxrss is not used: in a child process it begins with the memory of the parent, and a benchmark uses much memory.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

RECORD_PEAK = """
import atexit, pathlib, sys
target = pathlib.Path(sys.argv.pop(1))
atexit.register(lambda: target.write_text(pathlib.Path("/proc/self/status").read_text()))
"""
IMPORT_TORCH = RECORD_PEAK + "import torch"
RUN = RECORD_PEAK + "from mnist_compact.cli.train import main; main()"


@dataclass(slots=True, frozen=True)
class RunMemory:
    """Peak memory of a run in MB (2²⁰ bytes), minus that of a process that only imports torch."""

    first: float  # the first run of an installation, which compiles the kernels
    later: float  # a run that loads the kernels from their cache


def memory_above_torch(threads: int, *, synthetic: bool) -> RunMemory:
    """Measure one epoch of experiment=m3_reference twice, starting with an empty cache of kernels.

    Synthetic runs train on the 2,560 images of data=synthetic and use less memory.
    """
    with tempfile.TemporaryDirectory() as folder:
        data = "synthetic" if synthetic else "mnist"
        run = ("experiment=m3_reference", "train.epochs=1", f"machine.threads={threads}", f"data={data}")
        environment = {**os.environ, "NUMBA_CACHE_DIR": f"{folder}/kernels"}
        torch_alone = peak(IMPORT_TORCH, environment=environment)
        first, later = (peak(RUN, *run, f"hydra.run.dir={folder}/{i}", environment=environment) for i in range(2))
        return RunMemory(first - torch_alone, later - torch_alone)


def peak(code: str, *arguments: str, environment: Mapping[str, str]) -> float:
    """Return the peak resident memory in MB of a Python process that runs `code`."""
    with tempfile.TemporaryDirectory() as folder:
        status = Path(folder) / "status"
        command = [sys.executable, "-c", code, str(status), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=1800, env=environment)
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024  # from kB, which in /proc are 1024 bytes
