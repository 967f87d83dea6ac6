"""Folders that Hydra makes before anyone has looked at the configuration: a refused run leaves none of them."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

_found: list[Path] = []  # absolute; the deepest folder on the way to the run's that was there before


class NoteExistingFolders(Callback):
    """Notes, before Hydra makes any, which folders are the user's."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        with suppress(OmegaConfBaseException):  # Hydra meets it next, and says so
            _note(config.hydra.run.dir)

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        _note(config.hydra.sweep.dir)


def _note(folder: str) -> None:
    path = Path(folder).absolute()
    _found[:] = [next(place for place in (path, *path.parents) if place.exists())]


def remove_if_empty(folder: Path) -> None:
    """Remove the run's folder, and those above that were made for it, as far as nothing is in them."""
    path = folder.absolute()
    for place in (path, *path.parents):
        if not _found or _found[0].is_relative_to(place):
            return
        try:
            place.rmdir()
        except OSError:
            return  # something else is in it


def as_shown(folder: str) -> Path:
    """Relative to where the user stands, unless it lies on another drive."""
    try:
        return Path(os.path.relpath(folder))
    except ValueError:
        return Path(folder)
