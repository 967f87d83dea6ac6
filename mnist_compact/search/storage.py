"""Where a study is kept: opened by its URL, watched while a search goes on, spoken of in words when it is lost."""

import os
import sqlite3
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError, ProgrammingError, SQLAlchemyError

from mnist_compact.common.errors import check_installed
from mnist_compact.search.bulk import Database
from mnist_compact.search.storage_urls import JOURNAL, file_of, wait_of

RIVALS = 9  # that may make a server's tables at the same time
TROUBLE = (StorageInternalError, SQLAlchemyError)  # what storages raise: no fault of the trial they are told of

T = TypeVar("T")


class StorageLost(RuntimeError):
    """The storage has gone or does not answer. `remedy` begins the sentence on how to go on."""

    def __init__(self, what: str, remedy: str, *, locked: bool = False) -> None:
        super().__init__(what)
        self.remedy, self.locked = remedy, locked


def open_storage(url: str, *, create: bool = True, wait_s: float | None = None) -> BaseStorage:
    """An Optuna URL, or journal:///path. Without `create` a file that is not there is an error.

    A locked SQLite file is waited for `wait_s`, by default as long as the URL says. Raises ConfigError where
    PostgreSQL's driver is not installed, for everything else what the storage's own driver raises.
    """
    file = file_of(url)
    if url.startswith(JOURNAL):
        assert file is not None
        if create:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        return JournalStorage(_Journal(str(file)))
    if file is None:
        return _served(url)

    def connect() -> sqlite3.Connection:  # SQLAlchemy would make the file anew, now or for a later connection
        place = f"{file.resolve().as_uri()}?mode={'rwc' if create else 'rw'}"
        wait = wait_of(url) if wait_s is None else wait_s
        return sqlite3.connect(place, uri=True, timeout=wait, check_same_thread=False)

    return Database(url, engine_kwargs={"creator": connect})


def _served(url: str) -> Database:
    if make_url(url).get_driver_name() == "psycopg":
        check_installed("PostgreSQL", "psycopg", package="'psycopg[binary]'", extra="postgresql")
    for _ in range(RIVALS):  # machines that come at once make the same tables: who is refused for that looks again
        with suppress(IntegrityError, ProgrammingError):
            return _pinged(url)
    return _pinged(url)


def _pinged(url: str) -> Database:
    """Connections that a server has closed, at its restart say, are replaced before they are used."""
    return Database(url, engine_kwargs={"pool_pre_ping": True})


def patiently(read: Callable[[], T], url: str, tell: Callable[[str], None]) -> T:
    """What `read` gives once the storage is free, waited for as long as its URL says; raises StorageLost.

    Where each reading waits only shortly, Ctrl-C is heard: within SQLite it is not.
    """
    wait_s, began, told = wait_of(url), time.monotonic(), False
    while True:
        try:
            return read()
        except StorageLost as lost:
            if not lost.locked or time.monotonic() - began > wait_s:
                raise
            if not told:
                tell(f"{lost}: waiting for up to {wait_s:g} s")
            told = True


class Watch:
    """Over a storage that exists: `with watch.over():` raises StorageLost for all that goes wrong with it."""

    def __init__(self, url: str) -> None:
        self.url, self.file = url, file_of(url)
        self.first = self._identity()

    @contextmanager
    def over(self) -> Iterator[None]:
        self._look()
        try:
            with in_words(self.url):
                yield
        except StorageLost:
            self._look()  # the name's absence says more than what it led to
            raise

    def _look(self) -> None:
        """An open file can be read long after its name is gone: whoever only reads would not notice."""
        now = self._identity()
        if self.file is not None and now is None:
            raise StorageLost(f"the study's storage {self.file} is gone", "put it back, and")
        if now != self.first:
            raise StorageLost(f"the study's storage {self.file} was exchanged for another file", "if that is meant,")

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = None if self.file is None else self.file.stat()
        except OSError:
            return None
        return found and (found.st_dev, found.st_ino)


@contextmanager
def in_words(url: str) -> Iterator[None]:
    """StorageLost for what a storage's driver raises."""
    try:
        yield
    except TROUBLE as error:
        said = str(error.__cause__ or error).partition("\n")[0]
        if is_locked(error):
            raise locked(url) from error
        raise StorageLost(f"the study's storage fails ({said})", "when that is mended,") from error


def is_locked(error: BaseException) -> bool:
    return "database is locked" in f"{error} {error.__cause__}"


def locked(url: str) -> StorageLost:
    what = f"the study's storage {file_of(url) or ''} is locked by another process"
    return StorageLost(what, "when it is free,", locked=True)


class _Journal(JournalFileBackend):
    """Fails as other storages do, never begins a second file where the first is gone, and mends a torn last line."""

    def __init__(self, path: str) -> None:
        with _trouble():
            os.stat(path)
        super().__init__(path)
        self._mend()

    def _mend(self) -> None:
        """Cut off what a writer that was killed has left of a line: what comes behind it could never be read."""
        if not _is_torn(self._file_path):
            return
        self._lock.acquire()  # a writer that is at it has the lock
        try:
            if _is_torn(self._file_path):
                whole = Path(self._file_path).read_bytes().rfind(b"\n") + 1
                os.truncate(self._file_path, whole)
        finally:
            self._lock.release()

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        with _trouble():
            yield from super().read_logs(log_number_from)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        with _trouble():
            os.stat(self._file_path)
            self._mend()
            super().append_logs(logs)


def _is_torn(path: str) -> bool:
    with open(path, "rb") as file:
        if not file.seek(0, os.SEEK_END):
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


@contextmanager
def _trouble() -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:  # the file, a line of it, its lock
        raise StorageInternalError(str(error)) from error
