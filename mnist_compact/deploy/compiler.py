"""Compilation of an exported C program by the machine's C compiler, to check and to measure it."""

import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mnist_compact.common.errors import EXIT_FAILED, ConfigError, ExecutionError
from mnist_compact.common.shapes import CLASSES

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic")
LIMIT_S = 3600.0


@dataclass(slots=True, frozen=True)
class Compiled:
    """A C program in a temporary folder.

    Attributes:
        compiler: The C compiler.
        program: The executable of main.c and network.c.
    """

    compiler: str
    program: Path

    def code_bytes(self) -> int | None:
        """Return the bytes of network.c's code and constants for this machine, optimized for size.

        Returns:
            The bytes; None if the program `size` is not installed.
        """
        size, folder = shutil.which("size"), self.program.parent
        if size is None:
            return None
        _run([self.compiler, *STRICT, "-Os", "-c", "network.c", "-o", "network.o"], folder)
        return int(_run([size, "network.o"], folder).splitlines()[1].split()[0])  # the column `text`


@contextmanager
def compiled(files: dict[str, str], optimization: str = "-O3") -> Iterator[Compiled]:
    """Compile a C program strictly in a temporary folder, which exists as long as the context.

    Args:
        files: Text of every file by its name; main.c and network.c among them.
        optimization: The compiler's option for the speed of the program.

    Raises:
        ConfigError: There is no C compiler.
        ExecutionError: The compiler reports an error or a warning.
    """
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise ConfigError(
            ["the check of the export needs a C compiler: install gcc, or set the environment variable CC"]
        )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for each, text in files.items():
            (folder / each).write_text(text, encoding="utf-8")
        _run([compiler, *STRICT, optimization, "main.c", "network.c", "-lm", "-o", "main"], folder)
        yield Compiled(compiler, folder / "main")


def logits_by(program: Path, images: Tensor) -> Tensor:
    """Run a compiled program on images.

    Args:
        program: The executable of main.c.
        images: uint8, (N, 28, 28).

    Returns:
        Its logits, (N, 10) in float64: integers for the int8 program.
    """
    path = program.with_name("images")
    path.write_bytes(struct.pack(">BBBBIII", 0, 0, 8, 3, *images.shape) + images.contiguous().numpy().tobytes())
    printed = _run([str(program), str(path)], program.parent)
    return torch.from_numpy(np.array(printed.split(), dtype=np.float64).reshape(-1, CLASSES))


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    if done.returncode:
        raise ExecutionError(f"{Path(command[0]).name} failed with code {done.returncode}: {done.stderr}", EXIT_FAILED)
    return done.stdout
