"""Import an exported study completely or not at all, and print the command that continues it."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mnist_compact.common.atomic import replacing
from mnist_compact.common.errors import ConfigError
from mnist_compact.common.signals import interrupted_by_signals
from mnist_compact.common.wording import counted
from mnist_compact.records.discovery import TRIALS
from mnist_compact.search.locate import database_of, opened
from mnist_compact.search.status import CRITERIA
from mnist_compact.search.storage_urls import file_of, shown
from mnist_compact.search.transfer import parse, read, store

ENDED = ("COMPLETE", "PRUNED", "FAIL")
MORE = 10  # trials that the printed command adds to a study that has reached its `n_trials`


def import_file(path: Path, folder: Path, url: str | None, name: str | None) -> list[str]:
    """Import the study of an exported file into `folder`, or into the storage `url`.

    Args:
        path: The exported file.
        folder: The folder that contains, or will contain, the study's own folder.
        url: An Optuna URL or journal:///path, in place of a database in the study's folder.
        name: The study's new name; None keeps the exported name.

    Returns:
        A line that describes what was imported, and the command that continues the study.

    Raises:
        ConfigError: The file is damaged, or the name is taken.
    """
    exported = read(path)
    content = parse(exported)  # a damaged file is refused before anything is created
    name = name or exported["name"]
    if url:
        with _removed_on_failure(file_of(url)), interrupted_by_signals(), opened(url) as storage:
            store(content, storage, name)
    else:
        database = database_of(folder, name)
        if database.exists():
            raise ConfigError([f"{database} exists already; --name <name> imports the study under another name"])
        if any((database.parent / TRIALS).glob("*")):  # newer than the file, or of another study
            raise ConfigError(
                [
                    f"{database.parent} contains trials already: move them, "
                    "or give --name <name> to import the study under another name"
                ]
            )
        with (
            _removed_on_failure(database),
            interrupted_by_signals(),
            replacing(database) as temporary,
            opened(f"sqlite:///{temporary}") as storage,
        ):
            store(content, storage, name)
    ended = sum(entry["state"] in ENDED and "refused" not in entry["user_attrs"] for entry in exported["trials"])
    n_trials = exported["user_attrs"].get(CRITERIA, {}).get("n_trials", 0)
    total = n_trials if n_trials > ended else ended + MORE
    words = [f"resume={folder / name}", f"hydra.sweeper.n_trials={total}"]
    if url:
        words.append(f"hydra.sweeper.storage={shown(url)}")
    verb = "counts" if ended == 1 else "count"
    trials = f"{counted(len(exported['trials']), 'trial')}, {ended:,} of which {verb} towards n_trials"
    command = shlex.join(["python", "-m", "mnist_compact", *words])
    return [f"study {name}: {trials}; to continue it to {counted(total, 'trial')}:", command]


@contextmanager
def _removed_on_failure(path: Path | None) -> Iterator[None]:
    """Remove `path`, and the folders created for it, if the body fails."""
    created = [] if path is None else [each for each in (path, *path.parents) if not each.exists()]
    try:
        yield
    except BaseException:
        for each in created:
            with suppress(OSError):  # never created, or not empty
                each.rmdir() if each.is_dir() else each.unlink()
        raise
