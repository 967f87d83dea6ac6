"""URLs of storages: their file, their timeout, and how to print them. Nothing is opened here."""

from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

JOURNAL = "journal://"
WAIT_S = 60.0  # default timeout for a locked SQLite file; `?timeout=<seconds>` in the URL overrides it


def file_of(url: str) -> Path | None:
    """Return the storage's file; None for a server, for SQLite with options other than `timeout`, and for no URL."""
    if url.startswith(JOURNAL):
        return Path(url.removeprefix(JOURNAL))
    try:
        parsed = make_url(url)
    except ArgumentError:
        return None
    plain = parsed.get_backend_name() == "sqlite" and not parsed.query.keys() - {"timeout"}
    return Path(parsed.database) if plain and parsed.database and parsed.database != ":memory:" else None


def rule_broken_by(url: str) -> str | None:
    """Return the rule that a URL breaks, as far as it can be checked without opening the storage."""
    try:
        wait_of(url)
    except (ArgumentError, ValueError):
        return "must be an Optuna URL or journal:///path"
    file = file_of(url)
    if file is None and make_url(url).get_backend_name() == "sqlite" and "?" not in url:
        return "must name a file, because several processes share it"
    if file is not None and not url.startswith(JOURNAL) and not file.parent.is_dir():
        return "must be in an existing folder"
    return None


def sharing_rule_broken_by(url: str | None) -> str | None:
    """Return the rule that a valid URL, or None for SQLite, breaks if workers on several machines are to open it."""
    if url is not None and (url.startswith(JOURNAL) or make_url(url).get_backend_name() != "sqlite"):
        return None
    return (
        "must be postgresql://… or mysql://… for a server, or journal:///path for a file on a file system of all "
        "machines, because SQLite's locks do not hold between machines"
    )


def shown(url: str) -> str:
    """Return the URL for printing, without its password."""
    try:
        parsed = None if url.startswith(JOURNAL) else make_url(url)
    except ArgumentError:
        return url
    return parsed.render_as_string(hide_password=True) if parsed and parsed.password else url


def wait_of(url: str) -> float:
    """Return how many seconds to wait for a locked storage before it counts as lost."""
    return WAIT_S if url.startswith(JOURNAL) else float(str(make_url(url).query.get("timeout", WAIT_S)))
