"""The four files of a data set on disk: located or downloaded, and verified by SHA-256 before they are read.

The files are stored uncompressed in one folder, under their usual names. An existing file is never replaced. If several
processes start with an empty folder, one of them holds the lock file and downloads; the others wait and then find the
files. The operating system releases the lock of a killed process.
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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from filelock import Timeout

from mnist_compact.common.bounded_read import read_bytes
from mnist_compact.common.errors import UserError
from mnist_compact.common.locks import lock_file
from mnist_compact.data.published import MNIST, Published
from mnist_compact.data.sources import MnistFile, Source, SourceFailed, unpack

TRAINING_FILES = (MnistFile.TRAIN_IMAGES, MnistFile.TRAIN_LABELS)
TEST_FILES = (MnistFile.TEST_IMAGES, MnistFile.TEST_LABELS)

_TEMPORARY = ".fetching-"


class DataUnavailable(UserError):
    """The files are missing. The message lists the sources with their errors, and the files to put into the folder."""


def folder_of(published: Published, root: str | None) -> Path:
    """Return the absolute path of a data set's folder.

    Args:
        published: The data set; it may have a subfolder of its own.
        root: Folder of all data sets. None means the environment variable MNIST_COMPACT_DATA, or the user's cache
            folder if the variable is not set.

    Raises:
        DataUnavailable: The path names the home folder of a user that does not exist.
    """
    return _folder_of_all(root) / published.subfolder


def _folder_of_all(root: str | None) -> Path:
    if chosen := root or os.environ.get("MNIST_COMPACT_DATA"):
        try:
            return Path(chosen).expanduser().absolute()
        except RuntimeError as error:
            key = "machine.data_root" if root else "MNIST_COMPACT_DATA"
            raise DataUnavailable(
                f"{key} names the home folder of a user that does not exist, got {chosen!r}"
            ) from error
    try:
        return _user_cache().absolute() / "mnist_compact"
    except RuntimeError as error:
        raise DataUnavailable(
            "this user has no home folder to store data in: set machine.data_root or MNIST_COMPACT_DATA to a folder"
        ) from error


def _user_cache() -> Path:
    """Return the user's cache folder. Raises RuntimeError for a user without a home folder."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def obtain(
    root: str | None,
    names: Sequence[MnistFile] = tuple(MnistFile),
    announce: Callable[[str], None] = lambda line: None,
    published: Published = MNIST,
) -> dict[MnistFile, Path]:
    """Return the paths of verified, uncompressed files, and download missing files.

    A folder that already contains the files, directly or in torchvision's layout, is only read.

    Args:
        root: Folder of all data sets; None for the default folder.
        names: The files that are needed.
        announce: Receives a sentence when something takes time.
        published: The data set that the files belong to.

    Raises:
        DataUnavailable: No source provides the files; or `root` does not exist, because it may be mistyped; or files
            with these names have other contents, because they may be the user's own.
    """
    folder = folder_of(published, root)
    if root and not _folder_of_all(root).is_dir():
        raise DataUnavailable(
            f"machine.data_root must be a folder that exists, got {root!r}; create it to store {published.title} there"
        )
    if len(found := _verified(folder, names, published)) == len(set(names)):
        return found
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _sole_writer(folder, announce, published.title):
            return _fill(folder, names, announce, published)
    except OSError as error:
        raise DataUnavailable(
            f"{published.title} is not in {folder}, and it cannot be stored there: {error.strerror or error}. "
            f"Set machine.data_root or MNIST_COMPACT_DATA to a folder that can be written to, or to one that already "
            f"{published.contained}: {', '.join(names)}"
        ) from error


def _locations(folder: Path, published: Published) -> tuple[Path, Path]:
    """Return the folders that may contain the files: the folder itself, or torchvision's layout in it."""
    return folder, folder / published.torchvision / "raw"


def _verified(folder: Path, names: Sequence[MnistFile], published: Published) -> dict[MnistFile, Path]:
    found = {}
    for name in names:
        for path in (location / name for location in _locations(folder, published)):
            try:
                verified = hashlib.sha256(read_bytes(path)).hexdigest() == published.sha256[name]
            except OSError:
                continue
            if verified:
                found[name] = path
                break
    return found


@contextmanager
def _sole_writer(folder: Path, announce: Callable[[str], None], title: str) -> Iterator[None]:
    lock = lock_file(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        announce(f"waiting for another process that is downloading {title} into {folder}")
        lock.acquire()
    try:
        for left_by_killed_process in folder.glob(f"{_TEMPORARY}*"):
            shutil.rmtree(left_by_killed_process, ignore_errors=True)
        yield
    finally:
        lock.release()


def _fill(
    folder: Path,
    names: Sequence[MnistFile],
    announce: Callable[[str], None],
    published: Published,
) -> dict[MnistFile, Path]:
    found = _verified(
        folder, names, published
    )  # again: another process may have downloaded them while this one waited for the lock
    missing = [name for name in names if name not in found]
    _check_no_other_data(folder, missing, published)
    by_hand = Source(name="the folder itself", fetch=partial(unpack, _locations(folder, published), missing))
    reasons = []
    for source in (by_hand, *published.sources):
        if source is not by_hand:
            announce(f"downloading {published.title} into {folder}: {source.name}")
        reasons.append(f"  {source.name}: {_take(source, folder, published)}")
        found = _verified(folder, names, published)
        missing = [name for name in names if name not in found]
        if not missing:
            return found
    raise DataUnavailable(
        f"{published.title} is not in {folder}, and no source provided {', '.join(missing)}:\n"
        + "\n".join(reasons)
        + f"\nPut {', '.join(missing)} into {folder} yourself, uncompressed or as .gz files, "
        f"or set machine.data_root or MNIST_COMPACT_DATA to a folder that {published.contained}."
    )


def _check_no_other_data(folder: Path, names: Sequence[MnistFile], published: Published) -> None:
    """Raise DataUnavailable if files of these names have other contents: they are the user's own, or damaged."""
    locations = _locations(folder, published)
    other = [path for name in names for location in locations if os.path.lexists(path := location / name)]
    other += [
        path
        for name in names
        for location in locations
        if _unpacks_to_other(path := location / f"{name}.gz", name, published)
    ]
    if other:
        raise DataUnavailable(
            f"these files are not the published ones of {published.title} (their SHA-256 differs, or they cannot be "
            f"read), and they are never replaced: {', '.join(map(str, other))}. If they are damaged, delete them and "
            f"rerun the command. If they are your own images, set machine.data_root or MNIST_COMPACT_DATA to another "
            f"folder for {published.title}; to train on your own images, pass them from Python as the `data` argument "
            f"of mnist_compact.runs.trainer.run"
        )


def _unpacks_to_other(archive: Path, name: MnistFile, published: Published) -> bool:
    """Return whether the archive is intact but has other contents than the published file."""
    try:
        with gzip.open(archive) as packed:
            return hashlib.file_digest(packed, "sha256").hexdigest() != published.sha256[name]
    except (OSError, EOFError, zlib.error):
        return False


def _take(source: Source, folder: Path, published: Published) -> str:
    """Move every verified file of the source into the folder; return why the source may not suffice."""
    with tempfile.TemporaryDirectory(prefix=_TEMPORARY, dir=folder, ignore_cleanup_errors=True) as temporary:
        try:
            source.fetch(Path(temporary))
            reason = "its files are incomplete or differ from the published ones"
        except (SourceFailed, OSError) as error:
            reason = " ".join(str(error).split())
        for name, path in _verified(Path(temporary), tuple(MnistFile), published).items():
            if not _verified(folder, [name], published) and not os.path.lexists(folder / name):
                os.replace(path, folder / name)
    return reason


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """Read an uncompressed IDX file of bytes.

    Returns:
        The array in its stored shape: (N,) for labels, (N, 28, 28) for images.

    Raises:
        ValueError: The file has no IDX header for bytes, or its length does not match the header.
    """
    content = np.fromfile(path, dtype=np.uint8)  # not frombuffer: torch warns about read-only arrays
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
