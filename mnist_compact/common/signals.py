"""Handling of SIGTERM and SIGHUP: they raise an exception, so that the program cleans up before it ends."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager


def exit_on_signals() -> AbstractContextManager[None]:
    """Within this context, SIGTERM and SIGHUP raise SystemExit with the code 128 + signal number."""

    def leave(number: int) -> None:
        sys.exit(128 + number)

    return _handled_by(leave)


def interrupted_by_signals() -> AbstractContextManager[None]:
    """Within this context, SIGTERM and SIGHUP raise KeyboardInterrupt with the name of the signal."""

    def interrupt(number: int) -> None:
        raise KeyboardInterrupt(f"ended by {signal.Signals(number).name}")

    return _handled_by(interrupt)


@contextmanager
def _handled_by(act: Callable[[int], None]) -> Iterator[None]:
    """Handlers can be set only in the main thread; in any other thread this does nothing."""
    main = threading.current_thread() is threading.main_thread()
    ours = (signal.SIGTERM, signal.SIGHUP) if main else ()
    handled = [number for number in ours if signal.getsignal(number) is not signal.SIG_IGN]  # nohup ignores SIGHUP
    before = {number: signal.signal(number, lambda got, _: act(got)) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
