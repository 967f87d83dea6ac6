"""Addresses of storages: what file they are, how long they are waited for, how they are printed. Nothing is opened."""

from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

JOURNAL = "journal://"
WAIT_S = 60.0  # for a SQLite file that is locked; `?timeout=<seconds>` in its URL says otherwise


def file_of(url: str) -> Path | None:
    """The one file that this storage is; None for a server's, for SQLite with options of its own, for no URL."""
    if url.startswith(JOURNAL):
        return Path(url.removeprefix(JOURNAL))
    try:
        parsed = make_url(url)
    except ArgumentError:
        return None
    plain = parsed.get_backend_name() == "sqlite" and not parsed.query.keys() - {"timeout"}
    return Path(parsed.database) if plain and parsed.database and parsed.database != ":memory:" else None


def rule_broken_by(url: str) -> str | None:
    """What an address must be and is not, as far as that can be seen without opening anything."""
    try:
        wait_of(url)
    except (ArgumentError, ValueError):
        return "must be an Optuna URL or journal:///path"
    file = file_of(url)
    if file is None and make_url(url).get_backend_name() == "sqlite" and "?" not in url:
        return "must name a file, for processes share it"
    if file is not None and not url.startswith(JOURNAL) and not file.parent.is_dir():
        return "must lie in a folder that exists"
    return None


def shown(url: str) -> str:
    """The URL as it may be printed: without a password."""
    try:
        parsed = None if url.startswith(JOURNAL) else make_url(url)
    except ArgumentError:
        return url
    return parsed.render_as_string(hide_password=True) if parsed and parsed.password else url


def wait_of(url: str) -> float:
    """How long in seconds a locked storage is waited for before it counts as lost."""
    return WAIT_S if url.startswith(JOURNAL) else float(str(make_url(url).query.get("timeout", WAIT_S)))
