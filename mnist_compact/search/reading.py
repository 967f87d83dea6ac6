"""Read-only access to studies for reports: the only module of `search` that `reports` imports."""

import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial

from mnist_compact.records.discovery import EXPORTED
from mnist_compact.search.counts import is_refused
from mnist_compact.search.locate import SWEEPS, from_file, storage_of
from mnist_compact.search.summary import counts, objectives, prior_counts
from mnist_compact.search.transfer import load

__all__ = ["SWEEPS", "counts", "is_refused", "objectives", "prior_counts", "state_of", "studies_in", "study_named"]

WAIT_S = 10.0  # for a search that is writing
STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running", "WAITING": "waiting"}


@contextmanager
def study_named(study: str | Path, *, folder: str | Path = SWEEPS, storage: str | None = None) -> Iterator[Study]:
    """Open one study.

    Args:
        study: The name of the study, or the path of an exported file.
        folder: The folder of the studies.
        storage: An Optuna URL, used instead of the database in `folder`.

    Raises:
        ConfigError: If there is no such study.
    """
    if str(study).endswith(EXPORTED):
        yield from_file(Path(study))
        return
    with storage_of(str(study), Path(folder), storage) as opened:
        yield load(opened, str(study))


@contextmanager
def studies_in(path: Path) -> Iterator[list[Study]]:
    """Open the studies in a database, read-only, or the study in an exported file.

    Raises:
        Exception: If the file is damaged. The type depends on the layer that finds the damage: ConfigError, or an error
            of SQLite, SQLAlchemy or Optuna.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna's warnings about experimental features and importances
        if path.name.endswith(EXPORTED):
            yield [from_file(path)]
            return
        with _read_only(path) as storage:
            names = sorted(study.study_name for study in storage.get_all_studies())
            yield [optuna.load_study(study_name=name, storage=storage) for name in names]


@contextmanager
def _read_only(database: Path) -> Iterator[RDBStorage]:
    def connect() -> sqlite3.Connection:
        url = f"{database.resolve().as_uri()}?mode=ro"
        return sqlite3.connect(url, uri=True, timeout=WAIT_S, check_same_thread=False)

    storage = RDBStorage(f"sqlite:///{database}", engine_kwargs={"creator": connect})
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def state_of(trial: FrozenTrial) -> str:
    """Return the state of a trial: complete, pruned, failed, running, waiting, or refused, which was never trained."""
    return "refused" if is_refused(trial) else STATES[trial.state.name]
