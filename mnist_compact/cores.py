"""How many cores there are to share."""

import os


def cores() -> int:
    """Those this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_each(processes: int) -> int:
    """For each of so many side by side: an even share of the cores, within what OMP_NUM_THREADS allows."""
    told = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    share = max(1, cores() // processes)
    return min(share, int(told)) if told.isdecimal() and int(told) else share
