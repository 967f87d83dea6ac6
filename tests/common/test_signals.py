"""Interruptions that a library drops."""

import os
import signal

import pytest

from mnist_compact.common.signals import interrupted_by_signals, interruptible


def drop_interrupt(number=signal.SIGINT):
    """Receive a signal and drop its KeyboardInterrupt, as Numba's compiler does."""
    try:
        os.kill(os.getpid(), number)
    except KeyboardInterrupt:
        return
    pytest.fail("the signal raised no KeyboardInterrupt")


def work(*steps):
    """Run steps that may be interrupted; `None` is a check."""
    with interrupted_by_signals(), interruptible() as check:
        for step in steps:
            (step or check)()


def fail():
    raise RuntimeError("no compiled object yet")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_error_after_a_dropped_interrupt_is_an_interrupt(number):
    with pytest.raises(KeyboardInterrupt):
        work(lambda: drop_interrupt(number), fail)


def test_dropped_interrupt_is_raised_again_by_the_check():
    with pytest.raises(KeyboardInterrupt, match="ended by SIGTERM"):
        work(None, lambda: drop_interrupt(signal.SIGTERM), None, fail)


def test_error_without_an_interrupt_stays():
    with pytest.raises(RuntimeError, match="no compiled object yet"):
        work(None, fail)


def test_signal_handlers_are_restored():
    before = signal.getsignal(signal.SIGINT)
    with interruptible():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
