"""Standard streams that do not abort a command: unsupported characters are replaced, write errors are reported once.

Every command calls `prepare_streams` before it prints anything, and `output_error` at its end.
"""

import codecs
import io
import os
import sys
import unicodedata
from contextlib import suppress
from typing import Any

DEGRADE = "mnist_compact.degrade"  # name of the error handler
REPLACEMENTS = {"→": "->", "×": "x", "·": "-", "±": "+/-", "–": "-", "─": "-", "…": "...", "≤": "<=", "≥": ">="}
DEFAULT_HANDLERS = ("strict", "surrogateescape")  # Python's defaults; any other handler was chosen by the user


def degraded(error: UnicodeError) -> tuple[str | bytes, int]:
    """Handle a codec error: return a similar ASCII text for a character that the encoding of the output lacks.

    Bytes of file names that are not valid text are written unchanged.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    if "\udc80" <= character <= "\udcff":  # how Python decodes such bytes
        return bytes([ord(character) - 0xDC00]), error.start + 1
    similar = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return REPLACEMENTS.get(character) or similar or "?", error.start + 1


codecs.register_error(DEGRADE, degraded)


class _KeepsError(io.FileIO):
    """A file that keeps its first write error and raises it only if it is a broken pipe, which ends a command."""

    error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if self.error is None:
                self.error = error
                if isinstance(error, BrokenPipeError):
                    raise
            return memoryview(data).nbytes


def prepare_streams() -> None:
    """Make stdout and stderr safe to print to, whatever their encoding and destination.

    A closed stream is redirected to the null device, so that no other file gets its descriptor.
    """
    _open_closed_descriptors()
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, io.TextIOWrapper):
            continue  # replaced by a notebook or another program
        if stream.errors in DEFAULT_HANDLERS:
            stream.reconfigure(errors=DEGRADE)
        raw = getattr(stream.buffer, "raw", stream.buffer)
        if type(raw) is io.FileIO:
            setattr(sys, name, _keeping_errors(stream, raw))


def output_error() -> str | None:
    """Flush stdout.

    Returns:
        Why it could not be written to; None on success, and if the reader closed the pipe, as `head` does.
    """
    if sys.stdout is None:
        return None
    with suppress(BrokenPipeError):
        sys.stdout.flush()
    buffer = getattr(sys.stdout, "buffer", None)
    error = getattr(getattr(buffer, "raw", buffer), "error", None)
    if error is None or isinstance(error, BrokenPipeError):
        return None
    return f"standard output could not be written to ({error.strerror})"


def _keeping_errors(stream: io.TextIOWrapper, raw: io.FileIO) -> io.TextIOWrapper:
    stream.flush()
    unbuffered = _KeepsError(raw.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        unbuffered if stream.buffer is raw else io.BufferedWriter(unbuffered),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _open_closed_descriptors() -> None:
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            with suppress(OSError):
                os.open(os.devnull, os.O_RDWR)  # gets the lowest free descriptor
