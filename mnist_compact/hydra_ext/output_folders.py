"""Removal of the folders of refused runs. Hydra creates them before the configuration is checked."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

_existing: list[Path] = []  # absolute path of the deepest folder above the run's that existed before the run


class NoteExistingFolders(Callback):
    """Hydra callback: notes which folders exist before Hydra creates any."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Note the folders above the run's."""
        with suppress(OmegaConfBaseException):  # Hydra reports it next
            _note(config.hydra.run.dir)

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Note the folders above the grid's."""
        _note(config.hydra.sweep.dir)


def _note(folder: str) -> None:
    path = Path(folder).absolute()
    _existing[:] = [next(each for each in (path, *path.parents) if each.exists())]


def remove_if_empty(folder: Path) -> None:
    """Remove the run's folder, and the folders above that were created for it, if they are empty."""
    path = folder.absolute()
    for each in (path, *path.parents):
        if not _existing or _existing[0].is_relative_to(each):
            return
        try:
            each.rmdir()
        except OSError:
            return  # it is not empty


def as_shown(folder: str) -> Path:
    """Return the path relative to the working folder, unless it is on another drive."""
    try:
        return Path(os.path.relpath(folder))
    except ValueError:
        return Path(folder)
