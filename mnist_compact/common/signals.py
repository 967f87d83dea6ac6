"""Handling of signals: they raise an exception, so that the program cleans up before it ends."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import Any

_ENDING = (signal.SIGTERM, signal.SIGHUP)


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
def interruptible() -> Iterator[Callable[[], None]]:
    """Context manager: whatever error follows an interruption is an interruption, too.

    The KeyboardInterrupt of a signal may be lost in a library: Numba's compiler drops it in a callback from C, and then
    fails with an error of its own ("no compiled object yet") or continues.

    Yields:
        A function that raises KeyboardInterrupt again if it was lost.
    """
    noted: list[KeyboardInterrupt] = []

    def check() -> None:
        if noted:
            raise KeyboardInterrupt(*noted[0].args)

    with _noting(noted):
        try:
            yield check
        except Exception:
            check()
            raise


@contextmanager
def _noting(noted: list[KeyboardInterrupt]) -> Iterator[None]:
    """Append the KeyboardInterrupts that the present handlers of signals raise; they are raised all the same."""

    def noting(handler: Callable[[int, FrameType | None], Any]) -> Callable[[int, FrameType | None], None]:
        def handle(number: int, frame: FrameType | None) -> None:
            try:
                handler(number, frame)
            except KeyboardInterrupt as interrupt:
                noted.append(interrupt)
                raise

        return handle

    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *_ENDING)} if main else {}
    handlers = {number: handler for number, handler in before.items() if callable(handler)}
    for number, handler in handlers.items():
        signal.signal(number, noting(handler))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def _handled_by(act: Callable[[int], None]) -> Iterator[None]:
    """Handlers can be set only in the main thread; in any other thread this does nothing."""
    main = threading.current_thread() is threading.main_thread()
    ours = _ENDING if main else ()
    handled = [number for number in ours if signal.getsignal(number) is not signal.SIG_IGN]  # nohup ignores SIGHUP
    before = {number: signal.signal(number, lambda got, _: act(got)) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
