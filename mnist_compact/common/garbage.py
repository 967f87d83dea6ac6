"""Pause garbage collection while many objects are created that all stay in use."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collection_paused() -> Iterator[None]:
    """Pause garbage collection within this context.

    Python looks for garbage each time many objects have been created. If none of them is garbage, as when a large table
    or study is read, the search takes much of the time and finds nothing.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
