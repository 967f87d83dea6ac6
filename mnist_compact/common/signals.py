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
    """Let SIGTERM and SIGHUP raise SystemExit with the code 128 + signal number within this context."""

    def leave(number: int) -> None:
        sys.exit(128 + number)

    return _handled_by(leave)


def interrupted_by_signals() -> AbstractContextManager[None]:
    """Let SIGTERM and SIGHUP raise KeyboardInterrupt with the name of the signal within this context."""

    def interrupt(number: int) -> None:
        raise KeyboardInterrupt(f"ended by {signal.Signals(number).name}")

    return _handled_by(interrupt)


@contextmanager
def interruptible() -> Iterator[Callable[[], None]]:
    """Replace every error that follows an interruption within this context by the interruption.

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
    """Append the KeyboardInterrupts that the current signal handlers raise to `noted`; they are raised as before."""

    def recorded(handler: Callable[[int, FrameType | None], Any]) -> Callable[[int, FrameType | None], None]:
        def handle(number: int, frame: FrameType | None) -> None:
            try:
                handler(number, frame)
            except KeyboardInterrupt as interrupt:
                noted.append(interrupt)
                raise

        return handle

    main = threading.current_thread() is threading.main_thread()
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, *_ENDING)} if main else {}
    handlers = {number: handler for number, handler in previous.items() if callable(handler)}
    for number, handler in handlers.items():
        signal.signal(number, recorded(handler))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def _handled_by(act: Callable[[int], None]) -> Iterator[None]:
    """Handle the signals by `act` within this context; outside the main thread, which alone may do that, do nothing."""
    main = threading.current_thread() is threading.main_thread()
    signals = _ENDING if main else ()
    handled = [number for number in signals if signal.getsignal(number) is not signal.SIG_IGN]  # nohup ignores SIGHUP
    previous = {number: signal.signal(number, lambda received, _: act(received)) for number in handled}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
