"""Peak resident memory of whole processes, read by themselves at their end from /proc (Linux only).

Not ru_maxrss: a child's begins at what its parent held when it was started, and a benchmark holds much.
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
    """MB (2²⁰ bytes) that a run takes at most over a bare `import torch`."""

    first: float  # of an installation: it compiles the kernels
    later: float  # with the kernels from their cache


def memory_above_torch(threads: int, *, synthetic: bool) -> RunMemory:
    """Of one epoch of experiment=m3_reference from start to end, twice, with a cache of kernels that begins empty.

    Synthetic runs train on the 2,560 images of data=synthetic and say less.
    """
    with tempfile.TemporaryDirectory() as folder:
        data = "synthetic" if synthetic else "mnist"
        run = ("experiment=m3_reference", "train.epochs=1", f"machine.threads={threads}", f"data={data}")
        environment = {**os.environ, "NUMBA_CACHE_DIR": f"{folder}/kernels"}
        torch_alone = peak(IMPORT_TORCH, environment=environment)
        first, later = (peak(RUN, *run, f"hydra.run.dir={folder}/{i}", environment=environment) for i in range(2))
        return RunMemory(first - torch_alone, later - torch_alone)


def peak(code: str, *arguments: str, environment: Mapping[str, str]) -> float:
    """MB at most resident in a Python process that runs `code`."""
    with tempfile.TemporaryDirectory() as folder:
        status = Path(folder) / "status"
        command = [sys.executable, "-c", code, str(status), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=1800, env=environment)
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024  # from kB, which /proc takes for 1024 bytes
