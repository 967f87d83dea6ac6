"""How many cores there are to share."""

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

PROCESS_CGROUPS = Path("/proc/self/cgroup")
CGROUPS = Path("/sys/fs/cgroup")


def cores() -> int:
    """Those this process may use: by its affinity, and by the CPU quotas of its cgroups (v1 and v2), rounded up."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([allowed, *(math.ceil(quota) for quota in _quotas())]))


def threads_each(processes: int) -> int:
    """For each of so many side by side: an even share of the cores, within what OMP_NUM_THREADS allows."""
    told = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    share = max(1, cores() // processes)
    return min(share, int(told)) if told.isdecimal() and int(told) else share


def _quotas() -> Iterator[float]:
    """CPUs' worth of time that this process's cgroups and those above them may have; none without limits."""
    for folder in _cgroup_folders():
        with suppress(OSError, ValueError, ZeroDivisionError):  # not there, "max", or another format
            quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()  # v2
            yield int(quota) / int(period)
        with suppress(OSError, ValueError, ZeroDivisionError):
            quota, period = (
                (folder / f"cpu.cfs_{name}_us").read_text(encoding="ascii") for name in ("quota", "period")
            )  # v1
            if int(quota) > 0:  # -1: no limit
                yield int(quota) / int(period)


def _cgroup_folders() -> Iterator[Path]:
    """Of the process and of all above it.

    In a container the path may be the host's, of which only the mount's root is there.
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
