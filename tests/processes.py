"""What the tests of whole processes share: patience that ends, kills that may come late, no traceback."""

import contextlib
import os
import signal
import subprocess
import time

PATIENCE_S = 300  # of one process; it needs about five, and many times that on a busy machine


def finish(process):
    """Wait for it; its outputs and exit code."""
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
    """With -9; how many that hit, for some may just have ended by themselves."""
    hit = 0
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            hit += 1
    return hit
