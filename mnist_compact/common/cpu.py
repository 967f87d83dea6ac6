"""The number of available CPU cores, and an equal share of them for each process."""

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

PROCESS_CGROUPS = Path("/proc/self/cgroup")
CGROUPS = Path("/sys/fs/cgroup")


def cores() -> int:
    """Return the number of cores this process may use.

    It respects the CPU affinity and the CPU quotas of the cgroups (v1 and v2), which are rounded up.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([allowed, *(math.ceil(quota) for quota in _quotas())]))


def threads_each(processes: int) -> int:
    """Return the number of threads for each of several parallel processes: an equal share, at most OMP_NUM_THREADS."""
    limit = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    share = max(1, cores() // processes)
    return min(share, int(limit)) if limit.isdecimal() and int(limit) else share


def _quotas() -> Iterator[float]:
    """Yield the CPU quotas, in cores, of this process's cgroups and their parents; nothing without a quota."""
    for folder in _cgroup_folders():
        with suppress(OSError, ValueError, ZeroDivisionError):  # missing file, "max", or another format
            quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()  # v2
            yield int(quota) / int(period)
        with suppress(OSError, ValueError, ZeroDivisionError):
            quota, period = (
                (folder / f"cpu.cfs_{name}_us").read_text(encoding="ascii") for name in ("quota", "period")
            )  # v1
            if int(quota) > 0:  # -1: no limit
                yield int(quota) / int(period)


def _cgroup_folders() -> Iterator[Path]:
    """Yield the cgroup folders of this process and all their parents.

    In a container the path may be the host's; then only the root of the mount exists.
    """
    try:
        lines = PROCESS_CGROUPS.read_text(encoding="ascii").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            root = CGROUPS  # v2
        elif "cpu" in controllers.split(","):
            root = CGROUPS / "cpu"  # v1; a link where cpu and cpuacct share a folder
        else:
            continue
        inside = PurePosixPath(path.lstrip("/"))
        yield from (root / each for each in dict.fromkeys((inside, *inside.parents)))
