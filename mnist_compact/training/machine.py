"""What a run is computed on: device, threads, memory, and how to name them in a record."""

import ctypes
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from mnist_compact.faults import ConfigError
from mnist_compact.training.configs import Precision

PACKAGES = ("torch", "torchvision", "hydra-core", "optuna", "numpy")


def resolve_device(name: str) -> torch.device:
    """Raises ConfigError for a device that torch does not know or this machine does not have."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(
            [f"train.device must be auto, cpu or a GPU of this machine, got {name!r} ({reason})"]
        ) from error
    return device


def prepare(threads: int) -> None:
    """Set the threads (0 = all cores), treat denormals as zero, and let the allocator keep what a step frees."""
    torch.set_flush_denormal(True)  # before the first parallel work: threads inherit it
    torch.set_num_threads(threads or os.cpu_count() or 1)
    libc = ctypes.CDLL(None) if os.name == "posix" else None
    if libc is not None and hasattr(libc, "mallopt"):
        # glibc hands large freed blocks back to the kernel at every step, which then has to clear them again.
        for option, value in ((-3, 1 << 30), (-1, (1 << 31) - 1), (-2, 1 << 24)):  # mmap, trim, top pad
            libc.mallopt(option, value)


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision is Precision.bfloat16)


def describe_environment(device: torch.device) -> dict[str, Any]:
    commit, dirty = _git_state()
    return {
        "versions": {package: version(package) for package in ("mnist-compact", *PACKAGES)},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "git_commit": commit,
        "git_dirty": dirty,
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _git_state() -> tuple[str | None, bool | None]:
    """Commit and whether tracked or new files differ from it; (None, None) outside a checkout of this project."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None, None

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain"))
    except (OSError, subprocess.SubprocessError):
        return None, None
