"""An exported file made a study again, whole or not at all, and the command that continues it."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mnist_compact.common.atomic import replacing
from mnist_compact.common.errors import ConfigError
from mnist_compact.common.signals import interrupted_by_signals
from mnist_compact.records.discovery import TRIALS
from mnist_compact.search.locate import database_of, opened
from mnist_compact.search.status import ASKED
from mnist_compact.search.storage_urls import file_of, shown
from mnist_compact.search.transfer import import_study, parse, read

ENDED = ("COMPLETE", "PRUNED", "FAIL")
MORE = 10  # trials that the printed command adds to a study that has reached its total


def import_file(path: Path, folder: Path, url: str | None, name: str | None) -> list[str]:
    """Import the study of an exported file into `folder`, or into the storage `url`.

    Args:
        path: The exported file.
        folder: Where the study's own folder is, or will be.
        url: An Optuna URL or journal:///path, in place of a database in the study's folder.
        name: The study's new name; None for the one that it had.

    Returns:
        A line that says what was imported, and the command that continues the study.

    Raises:
        ConfigError: The file is damaged, or the name is taken.
    """
    exchange = read(path)
    parse(exchange)  # a damaged file is refused before anything is made
    name = name or exchange["name"]
    if url:
        with _undone(file_of(url)), interrupted_by_signals(), opened(url) as storage:
            import_study(exchange, storage, name)
    else:
        database = database_of(folder, name)
        if database.exists():
            raise ConfigError([f"{database} exists already; --name <name> imports the study as another"])
        if any((database.parent / TRIALS).glob("*")):  # later than the file, or another study's
            raise ConfigError(
                [f"{database.parent} holds trials already: move them, or --name <name> imports the study as another"]
            )
        with (
            _undone(database),
            interrupted_by_signals(),
            replacing(database) as beside,
            opened(f"sqlite:///{beside}") as storage,
        ):
            import_study(exchange, storage, name)
    ended = sum(entry["state"] in ENDED and "refused" not in entry["user_attrs"] for entry in exchange["trials"])
    asked = exchange["user_attrs"].get(ASKED, {}).get("n_trials", 0)
    total = asked if asked > ended else ended + MORE
    words = [f"resume={folder / name}", f"hydra.sweeper.n_trials={total}"]
    if url:
        words.append(f"hydra.sweeper.storage={shown(url)}")
    told = f"{len(exchange['trials'])} trials, of which {ended} have ended and count"
    return [f"study {name}: {told}; to continue to {total}:", shlex.join(["python", "-m", "mnist_compact", *words])]


@contextmanager
def _undone(path: Path | None) -> Iterator[None]:
    """Remove `path`, and the folders that were made for it, if what is done within fails."""
    made = [] if path is None else [place for place in (path, *path.parents) if not place.exists()]
    try:
        yield
    except BaseException:
        for place in made:
            with suppress(OSError):  # never made, or something else is in it
                place.rmdir() if place.is_dir() else place.unlink()
        raise
