"""Processes that must not outlive the one that started them."""

import os
import threading
import time
from collections.abc import Callable

LOOK_S = 1.0
LAST_S = 5.0


def end_with(parent: int, at_last: Callable[[], object] = lambda: None) -> None:
    """End this process, at most about a second after its parent, whose process id is given, has gone.

    Before that `at_last` is called, in a thread of its own, and given LAST_S to come to its end.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_S)
        last = threading.Thread(target=at_last, daemon=True)
        last.start()
        last.join(LAST_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
