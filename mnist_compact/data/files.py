"""The four files of a data set on disk: found or fetched, and proved by SHA-256 before anyone reads them.

They lie uncompressed under their classic names in one folder. A file that is there is never replaced. Processes that
start together on an empty folder fetch once: one holds the lock file, the others wait and find the work done. The
kernel drops the lock of a killed process.
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
    """The files could not be had; the message says what was tried, why it failed, and what to put where by hand."""


def folder_of(published: Published, root: str | None) -> Path:
    """The absolute path, its own in that of all data sets: `root`, else MNIST_COMPACT_DATA, else in the user's cache.

    Raises `DataUnavailable` for the home of a user that does not exist.
    """
    return _folder_of_all(root) / published.subfolder


def _folder_of_all(root: str | None) -> Path:
    if chosen := root or os.environ.get("MNIST_COMPACT_DATA"):
        try:
            return Path(chosen).expanduser().absolute()
        except RuntimeError as error:
            key = "machine.data_root" if root else "MNIST_COMPACT_DATA"
            raise DataUnavailable(f"{key} must begin with the home of a user, got {chosen!r}") from error
    try:
        return _user_cache().absolute() / "mnist_compact"
    except RuntimeError as error:
        raise DataUnavailable(
            "this user has no home folder to keep data in: give machine.data_root or MNIST_COMPACT_DATA a folder"
        ) from error


def _user_cache() -> Path:
    """Raises RuntimeError for a user without a home."""
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
    """Paths of the named files, uncompressed and verified at this call; fetched into its folder if need be.

    A folder that already holds them, plainly or in torchvision's layout, is only read. `announce` gets a line for each
    thing that may take long. Raises `DataUnavailable`, also for a `root` that does not exist, because it may be
    mistyped, and for files of these names with other contents, because they may be the user's own.
    """
    folder = folder_of(published, root)
    if root and not _folder_of_all(root).is_dir():
        raise DataUnavailable(
            f"machine.data_root must be a folder that exists, got {root!r}; make it to have {published.title} put there"
        )
    if len(found := _verified(folder, names, published)) == len(set(names)):
        return found
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _sole_writer(folder, announce, published.title):
            return _fill(folder, names, announce, published)
    except OSError as error:
        raise DataUnavailable(
            f"{published.title} is not in {folder}, and it cannot be put there: {error.strerror or error}. "
            f"Give machine.data_root or MNIST_COMPACT_DATA a folder that can be written to, or one that already "
            f"{published.held}: {', '.join(names)}"
        ) from error


def _places(folder: Path, published: Published) -> tuple[Path, Path]:
    """Where in a folder the files may lie: plainly, or as torchvision lays them."""
    return folder, folder / published.torchvision / "raw"


def _verified(folder: Path, names: Sequence[MnistFile], published: Published) -> dict[MnistFile, Path]:
    found = {}
    for name in names:
        for path in (place / name for place in _places(folder, published)):
            try:
                good = hashlib.sha256(read_bytes(path)).hexdigest() == published.sha256[name]
            except OSError:
                continue
            if good:
                found[name] = path
                break
    return found


@contextmanager
def _sole_writer(folder: Path, announce: Callable[[str], None], title: str) -> Iterator[None]:
    lock = lock_file(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        announce(f"waiting for another process that is fetching {title} into {folder}")
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
    published: Published,
) -> dict[MnistFile, Path]:
    found = _verified(folder, names, published)  # again: the wait for the lock may have brought them
    missing = [name for name in names if name not in found]
    _check_no_other_data(folder, missing, published)
    by_hand = Source(name="the folder itself", fetch=partial(unpack, _places(folder, published), missing))
    reasons = []
    for source in (by_hand, *published.sources):
        if source is not by_hand:
            announce(f"fetching {published.title} into {folder}: {source.name}")
        reasons.append(f"  {source.name}: {_take(source, folder, published)}")
        found = _verified(folder, names, published)
        missing = [name for name in names if name not in found]
        if not missing:
            return found
    raise DataUnavailable(
        f"{published.title} is not in {folder}, and no source gave {', '.join(missing)}:\n"
        + "\n".join(reasons)
        + f"\nPut {', '.join(missing)} into {folder} by hand, as they are or with .gz, "
        f"or name a folder that {published.held} with machine.data_root or MNIST_COMPACT_DATA."
    )


def _check_no_other_data(folder: Path, names: Sequence[MnistFile], published: Published) -> None:
    """Raises `DataUnavailable` for files of these names with other contents: they are the user's own, or damaged."""
    places = _places(folder, published)
    other = [path for name in names for place in places if os.path.lexists(path := place / name)]
    other += [
        path for name in names for place in places if _unpacks_to_other(path := place / f"{name}.gz", name, published)
    ]
    if other:
        raise DataUnavailable(
            f"these files are not the published ones of {published.title} (their SHA-256 differs, or they cannot be "
            f"read), and they are never replaced: {', '.join(map(str, other))}. If they are damaged, delete them and "
            f"run the command again. If they are your own images, name another folder for {published.title} with "
            f"machine.data_root or MNIST_COMPACT_DATA; to train on your own, pass them from Python as the `data` of "
            f"mnist_compact.runs.trainer.run"
        )


def _unpacks_to_other(archive: Path, name: MnistFile, published: Published) -> bool:
    """Whether the archive is whole, with other contents than the published ones."""
    try:
        with gzip.open(archive) as packed:
            return hashlib.file_digest(packed, "sha256").hexdigest() != published.sha256[name]
    except (OSError, EOFError, zlib.error):
        return False


def _take(source: Source, folder: Path, published: Published) -> str:
    """Put every good file of the source in its place; return why the source did not suffice, should it not have."""
    with tempfile.TemporaryDirectory(prefix=_TEMPORARY, dir=folder, ignore_cleanup_errors=True) as temporary:
        try:
            source.fetch(Path(temporary))
            reason = "it gave files that are incomplete or not the published ones"
        except (SourceFailed, OSError) as error:
            reason = " ".join(str(error).split())
        for name, path in _verified(Path(temporary), tuple(MnistFile), published).items():
            if not _verified(folder, [name], published) and not os.path.lexists(folder / name):
                os.replace(path, folder / name)
    return reason


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
