"""Messages on stderr about work that takes long."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

FIRST_S = 3.0  # shorter work is not announced
EVERY_S = 8.0


@contextmanager
def announced(work: str) -> Iterator[None]:
    """Print `work` and the time so far on stderr, repeatedly, if the body takes longer than FIRST_S.

    Args:
        work: What the body does, such as `reading 20,000 trials`.
    """
    start, ended = time.monotonic(), threading.Event()

    def announce() -> None:
        pause = FIRST_S
        while not ended.wait(pause):
            pause = EVERY_S
            print(f"{work}: {time.monotonic() - start:.0f} s so far", file=sys.stderr, flush=True)

    thread = threading.Thread(target=announce, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
