"""Common error handling of all commands except training: one line on stderr and an exit code."""

import sys
from collections.abc import Callable

from mnist_compact.common.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_REFUSED, ExecutionError, UserError
from mnist_compact.common.streams import output_error, prepare_streams


def run_command(name: str, work: Callable[[], int | None], *, interrupted: str = "interrupted") -> None:
    """Run a command and exit with its code, unless that is 0 or None.

    The exit code is 2 for a UserError or OSError, an ExecutionError's own `status`, 130 for Ctrl-C, and 1 if the
    command succeeded but stdout could not be written to.

    Args:
        name: The name of the command, which begins every message.
        work: The command; it returns its exit code.
        interrupted: The message after Ctrl-C.
    """
    prepare_streams()
    try:
        status = _status_of(work)
        if problem := output_error():
            sys.stderr.write(f"{name}: {problem}\n")
            status = status or EXIT_FAILED
    except BrokenPipeError:  # the reader, such as `head`, has closed the pipe; nothing must be flushed at exit
        sys.stdout = None
        status = 0
    except (UserError, OSError) as error:
        sys.stderr.write(f"{name}: {error}\n")
        status = error.status if isinstance(error, ExecutionError) else EXIT_REFUSED
    except KeyboardInterrupt:
        sys.stderr.write(f"{name}: {interrupted}\n")
        status = EXIT_INTERRUPTED
    if status:
        raise SystemExit(status)


def _status_of(work: Callable[[], int | None]) -> int | str | None:
    """Return the exit code of the command, also if argparse raises it after `--help` and after wrong usage."""
    try:
        return work()
    except SystemExit as end:
        return end.code
