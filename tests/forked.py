"""Child processes of the program that are forked from the test instead of started by a new interpreter.

A grid, a search or a confirmation starts `python -m <module>` for each job. Importing torch takes seconds in each of
them. A forked process has imported it already; apart from that it is a process like the other: it has its own memory,
signals, environment and output, and runs the module as `__main__`.
"""

import os
import runpy
import signal
import subprocess
import sys
import time
import traceback
import warnings
from contextlib import suppress

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig


class ForkedPopen:
    """What the program uses of `subprocess.Popen`, for a command `[python, "-m", <module>, <argument>, …]`."""

    def __init__(self, command, *, env, stdout, stderr, stdin=None, start_new_session=False):
        assert command[:2] == [sys.executable, "-m"]
        assert stderr == subprocess.STDOUT
        assert stdin in (None, subprocess.DEVNULL)
        self.args, self.returncode = command, None
        self.pid = os.fork()
        if self.pid == 0:
            _run_and_exit(command[2:], env, stdout.fileno(), start_new_session)

    def poll(self):
        """The exit code as Popen has it, negative for a signal; None while the process runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout=None):
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(self.args, timeout)
            time.sleep(0.01)
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)


def _run_and_exit(arguments, environment, output, new_session):
    """In the child: run a module as `python -m` does, and end the process with its exit code."""
    code = 1
    with suppress(BaseException):  # nothing of the test may run in the child
        try:
            if new_session:
                os.setsid()
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(output, 1)
            os.dup2(output, 2)
            sys.stdout = open(1, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115
            sys.stderr = open(2, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115
            os.environ.clear()
            os.environ.update(environment)
            GlobalHydra.instance().clear()
            HydraConfig.instance().cfg = None
            warnings.filterwarnings(
                "ignore", ".* found in sys.modules", RuntimeWarning
            )  # the module runs a second time
            sys.argv = arguments
            runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)
