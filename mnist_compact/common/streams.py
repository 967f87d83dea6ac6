"""Standard streams that do not abort a command: characters are degraded, closed and full outputs are noticed.

Every command calls `prepare_streams` before it prints anything, and asks `output_error` at its end.
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
DEFAULT_HANDLERS = ("strict", "surrogateescape")  # of Python; any other was chosen by the user


def degraded(error: UnicodeError) -> tuple[str | bytes, int]:
    """Codec error handler: write a similar ASCII text for characters that the output's encoding lacks.

    Bytes of file names that are no text are written as they are.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    if "\udc80" <= character <= "\udcff":  # as Python decodes such bytes
        return bytes([ord(character) - 0xDC00]), error.start + 1
    similar = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return REPLACEMENTS.get(character) or similar or "?", error.start + 1


codecs.register_error(DEGRADE, degraded)


class _KeepsError(io.FileIO):
    """A file that keeps its first write error, and raises it only if it is a broken pipe, which ends a command."""

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
    """Make stdout and stderr safe to print to, whatever their encoding and wherever they lead.

    A closed stream leads to the null device from here on, so that no file takes its number.
    """
    _open_closed_descriptors()
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, io.TextIOWrapper):
            continue  # a notebook's, or of a program that replaced it
        if stream.errors in DEFAULT_HANDLERS:
            stream.reconfigure(errors=DEGRADE)
        raw = getattr(stream.buffer, "raw", stream.buffer)
        if type(raw) is io.FileIO:
            setattr(sys, name, _keeping_errors(stream, raw))


def output_error() -> str | None:
    """Flush stdout and tell why it could not be written to; None for success and for a reader that left, as `head`."""
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
    kept = _KeepsError(raw.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        kept if stream.buffer is raw else io.BufferedWriter(kept),
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
                os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
