"""Locate and open studies: databases of searches, other storages, exported files.

Optuna is imported only when a study is opened.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_compact.common.errors import ConfigError, nearest
from mnist_compact.records.discovery import DATABASE, EXPORTED, is_below

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.study import Study

SWEEPS = "outputs/sweeps"  # the default folder of searches


def study_and_number(word: str) -> tuple[str, int]:
    """Split STUDY:N into the study's name and the trial's number.

    Raises:
        ConfigError: The word has another form.
    """
    study, _, number = word.rpartition(":")
    if not study or not number.isdigit():
        raise ConfigError([f"--trial must be STUDY:N, got {word!r}"])
    return study, int(number)


def files(path: Path) -> list[Path]:
    """Return the databases and exported files in a folder, or `path` itself if it is a file.

    Raises:
        ConfigError: The path does not exist.
    """
    if path.is_dir():
        return sorted({*path.glob(DATABASE), *path.glob(f"*/{DATABASE}"), *path.glob(f"*{EXPORTED}")})
    if path.exists():
        return [path]
    raise ConfigError([f"a path must be an existing folder or file, got {str(path)!r}"])


@contextmanager
def studies_in(path: Path) -> Iterator[list["Study"]]:
    """Open the studies in a database, or the study in an exported file.

    Raises:
        ConfigError: The file is neither.
    """
    if not path.is_file():  # opening a named pipe would block
        raise ConfigError([f"{path} is not a regular file"])
    if path.name.endswith(EXPORTED):
        yield [from_file(path)]
        return
    with opened(f"sqlite:///{path}") as storage:
        yield _all_of(storage)


@contextmanager
def studies_at(url: str) -> Iterator[list["Study"]]:
    """Open the studies in a storage.

    Raises:
        ConfigError: The storage does not exist.
    """
    with existing(url) as storage:
        yield _all_of(storage)


def _all_of(storage: "BaseStorage") -> list["Study"]:
    import optuna

    names = sorted(study.study_name for study in storage.get_all_studies())
    return [optuna.load_study(study_name=name, storage=storage) for name in names]


def from_file(path: Path) -> "Study":
    """Load the study in an exported file into memory."""
    from optuna.storages import InMemoryStorage

    from mnist_compact.search.counts import quieten
    from mnist_compact.search.transfer import import_study, read

    quieten()
    exported = read(path)
    return import_study(exported, InMemoryStorage(), exported["name"])


def database_of(folder: Path, name: str) -> Path:
    """Return the path of the database in which a search keeps the study.

    Raises:
        ConfigError: The name, which may come from a file, would lead out of `folder`.
    """
    if not is_below(name):
        raise ConfigError([f"a study's name must be that of a folder in {folder}, got {name!r}"])
    return folder / name / DATABASE


@contextmanager
def storage_of(name: str, folder: Path, url: str | None) -> Iterator["BaseStorage"]:
    """Open the storage of a study: `url`, or its database in `folder`. A missing database is not created.

    Raises:
        ConfigError: The storage does not exist.
    """
    if url:
        with existing(url) as storage:
            yield storage
        return
    database = database_of(folder, name)
    if not database.is_file():
        others = [path.parent.name for path in folder.glob(f"*/{DATABASE}")]
        raise ConfigError(
            [
                f"There is no study {name!r} in {folder}.{nearest(name, others)} "
                "If it is in another storage, give --storage <URL>."
            ]
        )
    with opened(f"sqlite:///{database}") as storage:
        yield storage


@contextmanager
def existing(url: str, wait_s: float | None = None) -> Iterator["BaseStorage"]:
    """Like `opened`, but raise ConfigError for a missing file instead of creating it."""
    from mnist_compact.search.storage_urls import file_of, shown

    file = file_of(url)
    if file is not None and not file.exists():
        raise ConfigError([f"--storage must exist, got {shown(url)}"])
    with opened(url, wait_s) as storage:
        yield storage


@contextmanager
def opened(url: str, wait_s: float | None = None) -> Iterator["BaseStorage"]:
    """Open a storage and close it at the end.

    Args:
        url: An Optuna URL or journal:///path.
        wait_s: How long to wait for a locked SQLite file, in seconds; None for the URL's timeout.

    Raises:
        ConfigError: The storage cannot be opened.
    """
    from mnist_compact.search.counts import quieten
    from mnist_compact.search.storage import open_storage
    from mnist_compact.search.storage_urls import shown

    quieten()
    try:
        storage = open_storage(url, wait_s=wait_s)
    except Exception as error:  # each database driver has exceptions of its own
        reason = str(error).partition("\n")[0]
        raise ConfigError([f"{shown(url)} cannot be opened as a storage of studies: {reason}"]) from error
    try:
        yield storage
    finally:
        storage.remove_session()
        if hasattr(storage, "engine"):
            storage.engine.dispose()
