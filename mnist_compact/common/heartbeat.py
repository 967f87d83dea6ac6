"""A file that changes as long as its process is alive, for processes on other machines that share the file system."""

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path

from mnist_compact.common.atomic import replacing

BEAT_S = 20.0
EXPIRES_S = 90.0  # network file systems may show a change after many seconds


class Heartbeat:
    """Changes a file every BEAT_S from `start` to `stop`, which removes the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stopped: threading.Event | None = None  # None while there is no heartbeat

    @property
    def is_running(self) -> bool:
        return self.stopped is not None

    def start(self) -> None:
        """Write the file, and start the heartbeat unless it is running."""
        if self.stopped is None:
            self._write()
            self.stopped = threading.Event()
            threading.Thread(target=self._beat, args=(self.stopped,), daemon=True).start()

    def stop(self) -> None:
        """End the heartbeat and remove the file."""
        if self.stopped is not None:
            self.stopped.set()
            self.stopped = None
            self.path.unlink(missing_ok=True)

    def _beat(self, stopped: threading.Event) -> None:
        while not stopped.wait(BEAT_S):
            with contextlib.suppress(OSError):  # the file system may respond again at the next beat
                self._write()
                if stopped.is_set():  # it was removed in the meantime
                    self.path.unlink(missing_ok=True)

    def _write(self) -> None:
        with replacing(self.path) as temporary:  # a new file, of which a network file system keeps no old content
            temporary.write_text(str(time.time()), encoding="ascii")  # only has to differ each time


def is_beating(path: Path) -> Callable[[], bool]:
    """Return a function that tells whether the process that writes a heartbeat is alive.

    It is dead if the file is missing, or has not changed for EXPIRES_S by the clock of this machine, because the clocks
    of other machines may be wrong.
    """
    content, since = "", time.monotonic()

    def beating() -> bool:
        nonlocal content, since
        try:
            now = path.read_text(encoding="ascii")
        except FileNotFoundError:
            return False
        except OSError:  # the file system does not respond
            now = content
        if now != content:
            content, since = now, time.monotonic()
        return time.monotonic() - since < EXPIRES_S

    return beating
