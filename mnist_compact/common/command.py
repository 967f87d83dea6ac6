"""How every command but training ends: what went wrong in one line on stderr, and an exit code."""

import sys
from collections.abc import Callable

from mnist_compact.common.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_REFUSED, ExecutionError, UserError
from mnist_compact.common.streams import output_error, prepare_streams


def run_command(name: str, work: Callable[[], int | None], *, interrupted: str = "interrupted") -> None:
    """Do `work` for the command `name` and exit with its code, unless that is 0 or None.

    What cannot be done (UserError, OSError) gives 2, what was begun and cannot be finished the fault's own code;
    Ctrl-C gives 130 and the words `interrupted`. Where stdout could not be written to, success becomes 1.
    """
    prepare_streams()
    try:
        status = work()
        if fault := output_error():
            sys.stderr.write(f"{name}: {fault}\n")
            status = status or EXIT_FAILED
    except BrokenPipeError:  # the reader, `head` say, has seen enough; nothing must be flushed at exit
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
