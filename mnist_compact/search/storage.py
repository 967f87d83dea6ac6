"""The storage of a study: open it by its URL, detect its loss during a search, and explain the loss to the user."""

import os
import sqlite3
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError, ProgrammingError, SQLAlchemyError

from mnist_compact.common.errors import ConfigError, check_installed
from mnist_compact.common.file_systems import network_file_system
from mnist_compact.common.locks import has_record_locks
from mnist_compact.search.bulk import Database
from mnist_compact.search.storage_urls import JOURNAL, file_of, wait_of

TABLE_ATTEMPTS = 9  # retries while other machines create a server's tables at the same time
SILENT_S = 60  # a PostgreSQL connection ends if the other machine does not respond for this time
STORAGE_ERRORS = (StorageInternalError, SQLAlchemyError)  # raised by storages; such an error does not fail a trial

T = TypeVar("T")


class StorageLost(RuntimeError):
    """The storage is missing or does not respond. `remedy` is the first half of a sentence on how to continue."""

    def __init__(self, what: str, remedy: str, *, locked: bool = False) -> None:
        super().__init__(what)
        self.remedy, self.locked = remedy, locked


def open_storage(url: str, *, create: bool = True, wait_s: float | None = None) -> BaseStorage:
    """Open a storage.

    Args:
        url: An Optuna URL, or journal:///path.
        create: Whether to create a missing file, and to warn of SQLite on a network file system. The workers of a
            search do neither.
        wait_s: How long to wait for a locked SQLite file, in seconds; None for the URL's timeout.

    Raises:
        ConfigError: PostgreSQL's driver is not installed, or the file system does not support SQLite's locks.
        Exception: Any other error is raised as the storage's driver raises it.
    """
    file = file_of(url)
    if url.startswith(JOURNAL):
        assert file is not None
        if create:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        return JournalStorage(_Journal(str(file.absolute())))  # a relative lock of a dead process never expires
    if file is None:
        return _open_server(url)
    if not has_record_locks(file.parent):  # SQLite would report a locked database
        raise ConfigError(
            [
                f"SQLite needs a file system with locks, which {file.parent} is not on: use a journal, which needs "
                f"none, with {JOURNAL}{file.absolute().parent}/study.log as hydra.sweeper.storage or --storage"
            ]
        )
    if create:
        _warn_of_network(file.absolute().parent)

    def connect() -> sqlite3.Connection:  # SQLAlchemy would create a missing file, also for a later connection
        uri = f"{file.resolve().as_uri()}?mode={'rwc' if create else 'rw'}"
        wait = wait_of(url) if wait_s is None else wait_s
        return sqlite3.connect(uri, uri=True, timeout=wait, check_same_thread=False)

    return Database(url, engine_kwargs={"creator": connect})


@cache  # one warning
def _warn_of_network(folder: Path) -> None:
    kind = network_file_system(folder)
    if kind is not None:
        advice = f"keep the study on a local disk, or use {JOURNAL}{folder}/study.log or a PostgreSQL server"
        where = f"{folder} is on a network file system ({kind})"
        print(f"warning: {where}, on which SQLite can damage the study: {advice} as its storage", file=sys.stderr)


def _open_server(url: str) -> Database:
    if make_url(url).get_driver_name() == "psycopg":
        check_installed("PostgreSQL", "psycopg", package="'psycopg[binary]'", extra="postgresql")
    for _ in range(TABLE_ATTEMPTS):  # machines that start at once create the same tables: all but one fail and retry
        with suppress(IntegrityError, ProgrammingError):
            return _open_with_ping(url)
    return _open_with_ping(url)


def _open_with_ping(url: str) -> Database:
    """Open a storage that replaces connections which the server has closed, for example at a restart.

    It keeps one idle connection, because a server allows few: PostgreSQL 100 by default.
    """
    settings: dict[str, Any] = {"pool_pre_ping": True, "pool_size": 1}
    parts = make_url(url)
    if parts.get_driver_name() == "psycopg":
        limits = {key: value for key, value in _limits_of_silence().items() if key not in parts.query}
        settings |= {"connect_args": limits, "pool_events": [(_limit_idle_transactions, "connect")]}
    return Database(url, engine_kwargs=settings)


def _limits_of_silence() -> dict[str, int]:
    """Parameters of a PostgreSQL connection by which this machine detects that the server's machine has died."""
    third_s = SILENT_S // 3
    keepalives = {"keepalives_idle": third_s, "keepalives_interval": third_s, "keepalives_count": 2}
    return {"connect_timeout": SILENT_S, "tcp_user_timeout": 1000 * SILENT_S, **keepalives}


def _limit_idle_transactions(connection: Any, _: Any) -> None:
    """Let a PostgreSQL server end the transaction of a machine that has died or that was suspended.

    The transaction may lock the study, so that no worker can propose a trial until the server's operating system gives
    the connection up, by default after two hours.
    """
    connection.execute(f"SET idle_in_transaction_session_timeout = '{SILENT_S}s'")
    connection.commit()


def retry_while_locked(read: Callable[[], T], url: str, report: Callable[[str], None]) -> T:
    """Call `read` until the storage is not locked, for at most the URL's timeout.

    Each call of `read` should wait briefly only, because Ctrl-C has no effect while SQLite waits for a lock.

    Args:
        read: Reads from the storage.
        url: The storage's URL, which may contain a timeout.
        report: Receives one message while the storage is locked.

    Raises:
        StorageLost: The storage is lost, or is still locked after the timeout.
    """
    wait_s, start, reported = wait_of(url), time.monotonic(), False
    while True:
        try:
            return read()
        except StorageLost as lost:
            if not lost.locked or time.monotonic() - start > wait_s:
                raise
            if not reported:
                report(f"{lost}: waiting for up to {wait_s:g} s")
            reported = True


class StorageWatch:
    """Detects the loss of an existing storage: `with watch.guard():` raises StorageLost for every storage error."""

    def __init__(self, url: str) -> None:
        self.url, self.file = url, file_of(url)
        self.first = self._identity()

    @contextmanager
    def guard(self) -> Iterator[None]:
        self._check()
        try:
            with raising_storage_lost(self.url):
                yield
        except StorageLost:
            self._check()  # a missing file explains more than the error that it has caused
            raise

    def _check(self) -> None:
        """Compare the file with the one at the start: an open file stays readable after it has been deleted."""
        now = self._identity()
        if self.file is not None and now is None:
            raise StorageLost(f"the study's storage {self.file} is missing", "restore it, and then")
        if now != self.first:
            raise StorageLost(f"the study's storage {self.file} was replaced", "if that was intended,")

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = None if self.file is None else self.file.stat()
        except OSError:
            return None
        return found and (found.st_dev, found.st_ino)


@contextmanager
def raising_storage_lost(url: str) -> Iterator[None]:
    """Raise StorageLost for the errors of a storage's driver."""
    try:
        yield
    except STORAGE_ERRORS as error:
        reason = str(error.__cause__ or error).partition("\n")[0]
        if is_locked(error):
            raise locked(url) from error
        raise StorageLost(f"the study's storage fails ({reason})", "when it works again,") from error


def is_locked(error: BaseException) -> bool:
    return "database is locked" in f"{error} {error.__cause__}"


def locked(url: str) -> StorageLost:
    what = f"the study's storage {file_of(url) or ''} is locked by another process"
    return StorageLost(what, "when it is unlocked,", locked=True)


class _Journal(JournalFileBackend):
    """A journal file that raises Optuna's storage errors, does not recreate a missing file, and repairs its last line.

    A writer that was killed leaves an incomplete last line, after which nothing could be read.
    """

    def __init__(self, path: str) -> None:
        with _storage_errors():
            os.stat(path)
        super().__init__(path)
        self._repair()

    def _repair(self) -> None:
        """Cut off an incomplete last line."""
        if not _is_torn(self._file_path):
            return
        self._lock.acquire()  # a process that is writing the line holds the lock
        try:
            if _is_torn(self._file_path):
                complete = Path(self._file_path).read_bytes().rfind(b"\n") + 1
                os.truncate(self._file_path, complete)
        finally:
            self._lock.release()

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        with _storage_errors():
            yield from super().read_logs(log_number_from)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        with _storage_errors():
            os.stat(self._file_path)
            self._repair()
            super().append_logs(logs)


def _is_torn(path: str) -> bool:
    with open(path, "rb") as file:
        if not file.seek(0, os.SEEK_END):
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


@contextmanager
def _storage_errors() -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:  # errors of the file, of a line, of the lock
        raise StorageInternalError(str(error)) from error
