"""What `kill` sends, and a terminal that is closed: they unwind the stack, so that what was begun ends in order."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager


def exit_on_signals() -> AbstractContextManager[None]:
    """Let SIGTERM and SIGHUP exit, so that no work outlives who has begun it."""

    def leave(number: int) -> None:
        sys.exit(128 + number)

    return _heard_by(leave)


def interrupted_by_signals() -> AbstractContextManager[None]:
    """Let SIGTERM and SIGHUP be a Ctrl-C that says what it was."""

    def interrupt(number: int) -> None:
        raise KeyboardInterrupt(f"ended by {signal.Signals(number).name}")

    return _heard_by(interrupt)


@contextmanager
def _heard_by(act: Callable[[int], None]) -> Iterator[None]:
    """In the main thread, the only one that hears signals."""
    main = threading.current_thread() is threading.main_thread()
    ours = (signal.SIGTERM, signal.SIGHUP) if main else ()
    heard = [number for number in ours if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, lambda got, _: act(got)) for number in heard}  # not under nohup: SIGHUP
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
