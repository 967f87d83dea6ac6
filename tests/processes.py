"""Functions for tests of separate processes: waiting with a timeout, and kills that may come too late."""

import contextlib
import os
import signal
import subprocess
import time

PATIENCE_S = 300  # for one process, which takes about 5 s, and many times that on a busy machine


def finish(process):
    """Wait for the process to end; return its outputs and exit code."""
    try:
        stdout, stderr = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert "Traceback" not in stdout + stderr
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def wait_for(condition, seconds=180):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.2)  # some conditions read a whole study


def kill(pids):
    """Send SIGKILL; return how many processes were still alive."""
    hit = 0
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            hit += 1
    return hit
