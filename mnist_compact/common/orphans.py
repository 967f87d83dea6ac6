"""Ending a process when the process that started it ends."""

import os
import threading
import time
from collections.abc import Callable

from mnist_compact.common.errors import EXIT_FAILED

CHECK_EVERY_S = 1.0
CLEANUP_S = 5.0


def end_with(parent: int, at_last: Callable[[], object] = lambda: None) -> None:
    """End this process at most about CHECK_EVERY_S after its parent has ended.

    Args:
        parent: The process id of the parent.
        at_last: Called in a separate thread before the end; it has CLEANUP_S to finish.
    """
    end_unless(lambda: os.getppid() == parent, at_last)


def end_unless(alive: Callable[[], bool], at_last: Callable[[], object]) -> None:
    """End this process when `alive`, which is called every CHECK_EVERY_S in a thread, returns False.

    Args:
        alive: Whether this process is still needed.
        at_last: Called in a separate thread before the end; it has CLEANUP_S to finish.
    """

    def watch() -> None:
        while alive():
            time.sleep(CHECK_EVERY_S)
        last = threading.Thread(target=at_last, daemon=True)
        last.start()
        last.join(CLEANUP_S)
        os._exit(EXIT_FAILED)

    threading.Thread(target=watch, daemon=True).start()
