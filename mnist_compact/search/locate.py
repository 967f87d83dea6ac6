"""Where studies are found: the databases of searches, other storages, exported files. Light until one is opened."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_compact.common.errors import ConfigError, nearest
from mnist_compact.records.discovery import DATABASE, EXPORTED, is_below

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.study import Study

SWEEPS = "outputs/sweeps"  # where searches keep their studies if not told otherwise


def study_and_number(word: str) -> tuple[str, int]:
    """What STUDY:N names. Raises ConfigError for a word of another form."""
    study, _, number = word.rpartition(":")
    if not study or not number.isdigit():
        raise ConfigError([f"--trial must be STUDY:N, got {word!r}"])
    return study, int(number)


def files(path: Path) -> list[Path]:
    """The databases and exported files in a folder of studies or of one, or the file that `path` is."""
    if path.is_dir():
        return sorted({*path.glob(DATABASE), *path.glob(f"*/{DATABASE}"), *path.glob(f"*{EXPORTED}")})
    if path.exists():
        return [path]
    raise ConfigError([f"a path must be an existing folder or file, got {str(path)!r}"])


@contextmanager
def studies_in(path: Path) -> Iterator[list["Study"]]:
    """Those in a database, or the one in an exported file. Raises ConfigError for what is neither."""
    if not path.is_file():  # a named pipe, for which a database would wait
        raise ConfigError([f"{path} is not a regular file"])
    if path.name.endswith(EXPORTED):
        yield [from_file(path)]
        return
    with opened(f"sqlite:///{path}") as storage:
        yield _all_of(storage)


@contextmanager
def studies_at(url: str) -> Iterator[list["Study"]]:
    """Those in a storage. Raises ConfigError where there is none."""
    with existing(url) as storage:
        yield _all_of(storage)


def _all_of(storage: "BaseStorage") -> list["Study"]:
    import optuna

    names = sorted(study.study_name for study in storage.get_all_studies())
    return [optuna.load_study(study_name=name, storage=storage) for name in names]


def from_file(path: Path) -> "Study":
    """The study in an exported file, in memory."""
    from optuna.storages import InMemoryStorage

    from mnist_compact.search.counts import quieten
    from mnist_compact.search.transfer import import_study, read

    quieten()
    exchange = read(path)
    return import_study(exchange, InMemoryStorage(), exchange["name"])


def database_of(folder: Path, name: str) -> Path:
    """Where a search keeps the study. Raises ConfigError for a name, maybe out of a file, that leads elsewhere."""
    if not is_below(name):
        raise ConfigError([f"a study's name must be a folder's below {folder}, got {name!r}; give --name <name>"])
    return folder / name / DATABASE


@contextmanager
def storage_of(name: str, folder: Path, url: str | None) -> Iterator["BaseStorage"]:
    """Where the study is kept: `url` or its database in `folder`. Raises ConfigError where neither is.

    Nothing is made: opening a database that does not exist would make it.
    """
    if url:
        with existing(url) as storage:
            yield storage
        return
    database = database_of(folder, name)
    if not database.is_file():
        others = [path.parent.name for path in folder.glob(f"*/{DATABASE}")]
        raise ConfigError(
            [f"There is no study {name!r} in {folder}.{nearest(name, others)} Elsewhere: --storage <URL>."]
        )
    with opened(f"sqlite:///{database}") as storage:
        yield storage


@contextmanager
def existing(url: str, wait_s: float | None = None) -> Iterator["BaseStorage"]:
    """As `opened`, but for a file that is not there, which would be made."""
    from mnist_compact.search.storage_urls import file_of, shown

    file = file_of(url)
    if file is not None and not file.exists():
        raise ConfigError([f"--storage must exist, got {shown(url)}"])
    with opened(url, wait_s) as storage:
        yield storage


@contextmanager
def opened(url: str, wait_s: float | None = None) -> Iterator["BaseStorage"]:
    """A storage, closed again at the end; a locked one is waited for as by `open_storage`.

    Raises ConfigError for what is none.
    """
    from mnist_compact.search.counts import quieten
    from mnist_compact.search.storage import open_storage
    from mnist_compact.search.storage_urls import shown

    quieten()
    try:
        storage = open_storage(url, wait_s=wait_s)
    except Exception as error:  # of any database's driver
        reason = str(error).partition("\n")[0]
        raise ConfigError([f"{shown(url)} cannot be opened as a storage of studies: {reason}"]) from error
    try:
        yield storage
    finally:
        storage.remove_session()
        if hasattr(storage, "engine"):
            storage.engine.dispose()
