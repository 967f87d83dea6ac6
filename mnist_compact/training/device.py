"""Device, threads and memory of a run, and their description for the record."""

import ctypes
import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from mnist_compact.common.cpu import cores
from mnist_compact.common.errors import EXIT_FAILED, ConfigError, ExecutionError
from mnist_compact.training.config import Precision

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h
CPUINFO = Path("/proc/cpuinfo")
BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}  # of x86 and ARM processors in `CPUINFO`
PACKAGES = ("torch", "torchvision", "hydra-core", "optuna", "numpy", "numba")


def resolve_device(name: str) -> torch.device:
    """Return a device by its name.

    Args:
        name: auto, cpu, cuda, cuda:1 or mps.

    Returns:
        The device; a GPU always has its index.

    Raises:
        ConfigError: This machine has no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.empty(0, device=name).device
        if device.type == "meta":
            raise RuntimeError("it cannot compute")
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(
            [f"machine.device must be auto, cpu or a GPU of this machine, got {name!r} ({reason})"]
        ) from error
    return device


@contextmanager
def memory_faults() -> Iterator[None]:
    """Turn out-of-memory errors, which torch reports in several ways, into a message with advice.

    Raises:
        ExecutionError: There is not enough memory.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
            raise
        raise ExecutionError(
            "there is not enough memory: use a smaller train.batch_size, narrower layers or fewer images",
            EXIT_FAILED,
        ) from error


@contextmanager
def prepared(threads: int, device: torch.device) -> Iterator[None]:
    """Call `prepare`, and restore the previous settings at the end of this context.

    It restores the number of threads, the random states, the current GPU, cuDNN's settings and this thread's
    flush-to-zero mode, and returns freed memory to the operating system. torch's other threads keep the mode in which
    they were started.
    """
    threads_before, flushed_before = torch.get_num_threads(), _flushes_denormals()
    # Seeding affects every GPU. A GPU that is not in use yet has no state to restore.
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(gpus), _same_cudnn(device):
        prepare(threads, device)
        try:
            yield
        finally:
            torch.set_num_threads(threads_before)
            torch.set_flush_denormal(flushed_before)
            release_memory()


@contextmanager
def _same_cudnn(device: torch.device) -> Iterator[None]:
    """Restore the current GPU and cuDNN's settings at the end."""
    if device.type != "cuda":
        yield
        return
    current, cudnn = torch.cuda.current_device(), torch.backends.cudnn
    deterministic, allow_tf32 = cudnn.deterministic, cudnn.allow_tf32
    try:
        yield
    finally:
        torch.cuda.set_device(current)
        cudnn.deterministic, cudnn.allow_tf32 = deterministic, allow_tf32


def _flushes_denormals() -> bool:
    """Return whether the calling thread treats denormal numbers as zero. torch can set this mode, but not report it."""
    return bool((torch.tensor([1e-40]) * 1 == 0).item())


def prepare(threads: int, device: torch.device) -> None:
    """Set the number of threads, treat denormals as zero, and let the allocator keep memory that a step frees.

    Args:
        threads: CPU threads; 0 = torch's default, which follows OMP_NUM_THREADS, but at most the cores that this
            process may use.
        device: Device of the run. A GPU becomes the current one and computes convolutions in full float32 with
            deterministic algorithms.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)  # streams and captured graphs belong to the current device
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.allow_tf32 = False
    torch.set_flush_denormal(True)  # before the first parallel work: threads inherit it
    torch.set_num_threads(threads or min(torch.get_num_threads(), cores()))
    libc = ctypes.CDLL(None) if os.name == "posix" else None
    if libc is not None and hasattr(libc, "mallopt"):
        # By default glibc returns large freed blocks to the kernel at every step, which then has to clear them again.
        if not libc.mallopt(M_MMAP_THRESHOLD, 1 << 30):
            libc.mallopt(M_MMAP_THRESHOLD, 1 << 25)  # the largest value that older versions accept
        libc.mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)
        libc.mallopt(M_TOP_PAD, 1 << 24)


def release_memory() -> None:
    """Return freed memory to the operating system. The settings of `prepare` delay this until it is requested."""
    libc = ctypes.CDLL(None) if os.name == "posix" else None
    if libc is not None and hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


def has_bfloat16(device: torch.device) -> bool:
    """Return whether a device computes in bfloat16. A processor without such instructions would imitate them slowly."""
    return device.type != "cpu" or not BFLOAT16_FLAGS.isdisjoint(_cpu_entry("flags", "Features").split())


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """Return the autocast context of a training step.

    It does nothing for float32, nor on a processor without instructions for bfloat16.
    """
    # Converted weights are not cached: the cache would outlive a captured step, and each is used only once per step.
    enabled = precision is Precision.bfloat16 and has_bfloat16(device)
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled, cache_enabled=False)


def describe_environment(device: torch.device) -> dict[str, Any]:
    """Return versions, platform, processor, threads, device and git state, as JSON values for the record."""
    commit, dirty = _git_state()
    return {
        "versions": {package: _version(package) for package in ("mnist-compact", *PACKAGES)},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _cpu_entry("model name") or platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "has_bfloat16": has_bfloat16(device),
        "git_commit": commit,
        "git_dirty": dirty,
    }


@cache
def _cpu_entry(*names: str) -> str:
    """Return the first processor's entry of one of these names in `CPUINFO`; "" if there is none."""
    for line in CPUINFO.read_text(encoding="utf-8").splitlines() if CPUINFO.exists() else ():
        name, _, value = line.partition(":")
        if name.strip() in names:
            return value.strip()
    return ""


def _git_state() -> tuple[str | None, bool | None]:
    """Return the commit and whether the working tree differs from it; (None, None) outside a checkout."""
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


def _version(package: str) -> str:
    """Return the version of a package. The commands also run from a checkout that is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
