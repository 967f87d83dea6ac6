"""The four MNIST files on disk: found or fetched, and proved by SHA-256 before anyone reads them.

They lie uncompressed under their classic names in one folder. Processes that start together on an empty folder fetch
once: one holds the lock file, the others wait and find the work done. The kernel drops the lock of a killed process.
"""

import gzip
import hashlib
import math
import os
import shutil
import struct
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from filelock import FileLock, Timeout

from mnist_compact.data.sources import SOURCES, TORCHVISION_LAYOUT, MnistFile, Source, SourceFailed
from mnist_compact.faults import Refusal

TRAINING_FILES = (MnistFile.TRAIN_IMAGES, MnistFile.TRAIN_LABELS)
TEST_FILES = (MnistFile.TEST_IMAGES, MnistFile.TEST_LABELS)

# Of the uncompressed files.
SHA256: Mapping[MnistFile, str] = {
    MnistFile.TRAIN_IMAGES: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    MnistFile.TRAIN_LABELS: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    MnistFile.TEST_IMAGES: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    MnistFile.TEST_LABELS: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}

_TEMPORARY = ".fetching-"


class DataUnavailable(Refusal):
    """The files could not be had; the message says what was tried, why it failed, and what to put where by hand."""


def mnist_folder(root: str | None) -> Path:
    """The absolute path: `root` (key `data.root`), else MNIST_COMPACT_DATA, else in the user's cache.

    Raises `DataUnavailable` for the home of a user that does not exist.
    """
    if chosen := root or os.environ.get("MNIST_COMPACT_DATA"):
        try:
            return Path(chosen).expanduser().absolute()
        except RuntimeError as error:
            key = "data.root" if root else "MNIST_COMPACT_DATA"
            raise DataUnavailable(f"{key} must begin with the home of a user, got {chosen!r}") from error
    if sys.platform == "win32":
        cache = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        cache = Path.home() / "Library" / "Caches"
    else:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache.absolute() / "mnist_compact"


def obtain(
    root: str | None,
    names: Sequence[MnistFile] = tuple(MnistFile),
    announce: Callable[[str], None] = lambda line: None,
    *,
    sources: Sequence[Source] = SOURCES,
    checksums: Mapping[MnistFile, str] = SHA256,
) -> dict[MnistFile, Path]:
    """Paths of the named files, uncompressed and verified at this call; fetched into `mnist_folder(root)` if need be.

    A folder that already holds them, plainly or in torchvision's layout, is only read. `announce` gets a line for each
    thing that may take long. Raises `DataUnavailable`, also for a `root` that does not exist: it may be mistyped.
    """
    folder = mnist_folder(root)
    if root and not folder.is_dir():
        raise DataUnavailable(f"data.root must be a folder that exists, got {root!r}; make it to have MNIST put there")
    if len(found := _verified(folder, names, checksums)) == len(set(names)):
        return found
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _sole_writer(folder, announce):
            return _fill(folder, names, announce, sources, checksums)
    except OSError as error:
        raise DataUnavailable(
            f"MNIST is not in {folder}, and it cannot be put there: {error.strerror or error}. "
            "Give data.root or MNIST_COMPACT_DATA a folder that can be written to, or one that already holds "
            + ", ".join(names)
        ) from error


def _verified(folder: Path, names: Sequence[MnistFile], checksums: Mapping[MnistFile, str]) -> dict[MnistFile, Path]:
    found = {}
    for name in names:
        for path in (folder / name, folder / TORCHVISION_LAYOUT / name):
            try:
                with path.open("rb") as file:
                    good = hashlib.file_digest(file, "sha256").hexdigest() == checksums[name]
            except OSError:
                continue
            if good:
                found[name] = path
                break
    return found


@contextmanager
def _sole_writer(folder: Path, announce: Callable[[str], None]) -> Iterator[None]:
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        announce(f"waiting for another process that is fetching MNIST into {folder}")
        lock.acquire()
    try:
        for left_by_the_killed in folder.glob(f"{_TEMPORARY}*"):
            shutil.rmtree(left_by_the_killed, ignore_errors=True)
        yield
    finally:
        lock.release()


def _fill(
    folder: Path,
    names: Sequence[MnistFile],
    announce: Callable[[str], None],
    sources: Sequence[Source],
    checksums: Mapping[MnistFile, str],
) -> dict[MnistFile, Path]:
    found = _verified(folder, names, checksums)  # again: the wait for the lock may have brought them
    missing = [name for name in names if name not in found]
    by_hand = Source(name="the folder itself", fetch=partial(_unpack, folder, missing))
    reasons = []
    for source in (by_hand, *sources):
        if source is not by_hand:
            announce(f"fetching MNIST into {folder}: {source.name}")
        reasons.append(f"  {source.name}: {_take(source, folder, checksums)}")
        found = _verified(folder, names, checksums)
        missing = [name for name in names if name not in found]
        if not missing:
            return found
    raise DataUnavailable(
        f"MNIST is not in {folder}, and no source gave {', '.join(missing)}:\n"
        + "\n".join(reasons)
        + f"\nPut {', '.join(missing)} into {folder} by hand, as they are or with .gz, "
        "or name a folder that holds them with data.root or MNIST_COMPACT_DATA."
    )


def _take(source: Source, folder: Path, checksums: Mapping[MnistFile, str]) -> str:
    """Put every good file of the source in its place; return why the source did not suffice, should it not have."""
    with tempfile.TemporaryDirectory(prefix=_TEMPORARY, dir=folder, ignore_cleanup_errors=True) as temporary:
        try:
            source.fetch(Path(temporary))
            reason = "it gave files that are incomplete or not the published ones"
        except (SourceFailed, OSError) as error:
            reason = " ".join(str(error).split())
        for name, path in _verified(Path(temporary), tuple(MnistFile), checksums).items():
            if not _verified(folder, [name], checksums):
                os.replace(path, folder / name)
    return reason


def _unpack(folder: Path, names: Sequence[MnistFile], into: Path) -> None:
    faults = []
    for name in names:
        archives = (folder / f"{name}.gz", folder / TORCHVISION_LAYOUT / f"{name}.gz")
        archive = next((path for path in archives if path.is_file()), None)
        if archive is None:
            faults.append(f"{name} is {'altered' if (folder / name).exists() else 'absent'}")
            continue
        try:
            with gzip.open(archive) as packed, (into / name).open("wb") as plain:
                shutil.copyfileobj(packed, plain)
        except (OSError, EOFError, zlib.error):
            faults.append(f"{archive.name} is damaged")
    if faults:
        raise SourceFailed(", ".join(faults))


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """The array of an uncompressed IDX file of bytes, in its own shape: (N,) for labels, (N, 28, 28) for images.

    Raises `ValueError` if the header is not one of bytes or does not agree with the file's length.
    """
    content = np.fromfile(path, dtype=np.uint8)  # not frombuffer: torch warns of arrays that cannot be written to
    if content[:3].tolist() != [0, 0, 8] or content.size < 4 or content[3] == 0:
        raise ValueError(
            f"{path} is not an IDX file of bytes: it starts with {content[:4].tobytes().hex() or 'nothing'}"
        )
    header = 4 + 4 * int(content[3])
    if content.size < header:
        raise ValueError(f"{path} ends within its IDX header, after {content.size} of {header} bytes")
    shape = struct.unpack(f">{content[3]}I", content[4:header].tobytes())
    if content.size != header + math.prod(shape):
        raise ValueError(f"{path} must have {header + math.prod(shape)} bytes for shape {shape}, got {content.size}")
    return content[header:].reshape(shape)
