"""Create a study, or load it if it exists. Studies of other programs are never modified."""

import secrets
import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import DuplicatedStudyError
from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import TrialState

from mnist_compact.common.atomic import replacing
from mnist_compact.common.errors import ConfigError
from mnist_compact.records.discovery import TRIALS
from mnist_compact.search.counts import FIXED
from mnist_compact.search.locate import opened
from mnist_compact.search.migrations import migrate_snapshot
from mnist_compact.search.objectives import OBJECTIVES
from mnist_compact.search.snapshot import ConfigSnapshot, differences
from mnist_compact.search.storage import is_locked, locked, open_storage
from mnist_compact.search.storage_urls import file_of, shown

CREATION_S = 20.0  # how long another machine may take from the creation of the study to its last enqueued point
POLL_S = 0.2
OWNER = "study.id"  # file in the folder: the attribute `id` of the study whose trials the folder contains


def stored_snapshot(name: str, url: str, wait_s: float) -> ConfigSnapshot | None:
    """Read a study's config snapshot. Nothing is created except the tables on a database server.

    Returns:
        The snapshot; None if there is no complete study of this name.

    Raises:
        StorageLost: The storage is locked for longer than `wait_s` seconds.
        ConfigError: The storage cannot be opened.
    """
    file = file_of(url)
    if file is not None and not file.exists():
        return None
    try:
        with opened(url, wait_s) as storage:
            attributes = optuna.load_study(study_name=name, storage=storage).user_attrs
    except KeyError:
        return None
    except Exception as error:  # each database driver has exceptions of its own
        raise _open_error(url, error.__cause__ if isinstance(error, ConfigError) else error) from error
    return attributes.get("frozen") if attributes.get("founded") else None


def _open_error(url: str, error: BaseException | None) -> Exception:
    if error is not None and is_locked(error):
        return locked(url)
    reason = str(error).strip().partition("\n")[0]
    return ConfigError([f"hydra.sweeper.storage cannot be opened, got {shown(url)} ({reason})"])


def owner_of(folder: Path) -> str:
    """Return the id of the study whose trials a folder contains; "" for studies of earlier versions."""
    path = folder / OWNER
    return path.read_text(encoding="utf-8") if path.exists() else ""


def claim_folder(folder: Path, study_id: str) -> None:
    """Write the study's id to the folder.

    Raises:
        ConfigError: The folder contains trials of another study, which would be mistaken for this study's.
    """
    if owner_of(folder) == study_id:
        return
    if any((folder / TRIALS).glob("*")):
        raise _foreign_trials(folder)
    with replacing(folder / OWNER) as temporary:
        temporary.write_text(study_id, encoding="utf-8")


def _foreign_trials(folder: Path) -> ConfigError:
    return ConfigError([f"{folder} contains trials of another study: move them, or choose another study_name"])


@dataclass(slots=True, frozen=True)
class StudySpec:
    """The content of a study, and where it is stored.

    The study's attribute `frozen`, its config snapshot, marks it as created by this program. The attribute `founded`
    marks it as complete. The attribute `id` is unique; studies of earlier versions do not have it.

    Attributes:
        private: Whether the database is in the study's own folder, so that the folder's lock protects it.
        points: The points to try first, or next if the study exists.
        exists: Whether the study existed when the search was checked.
    """

    name: str
    folder: Path
    url: str
    private: bool
    snapshot: ConfigSnapshot
    points: list[dict[str, Any]]
    exists: bool = False

    def create_or_load(self) -> None:
        """Create the study, or load it and add new points. The caller holds the folder's lock.

        Raises:
            ConfigError: The study belongs to another program, or has other settings.
            StorageLost: The storage is locked.
        """
        file, trained = file_of(self.url), any((self.folder / TRIALS).glob("*"))
        if trained and file is not None and not file.exists():
            missing = f"{self.folder} contains trials, but {file} with their study is missing"
            raise ConfigError([f"{missing}: restore it, or choose another study_name"])
        storage = self._open()
        while (study := self._load(storage)) is None:
            if trained:
                raise _foreign_trials(self.folder)
            study = self._create(storage)
            if study is not None:
                break
        claim_folder(self.folder, study.user_attrs.get("id", ""))

    def _open(self) -> BaseStorage:
        try:
            return open_storage(self.url)
        except Exception as error:  # each kind of storage has exceptions of its own
            raise _open_error(self.url, error) from error

    def _create(self, storage: BaseStorage) -> Study | None:
        """Create the study. Return None if another machine has just created it: machines do not share a lock."""
        if self.exists:
            raise ConfigError([f"the study {self.name} has just been deleted from {shown(self.url)}"])
        objectives = self.snapshot["settings"]["objectives"]
        directions = [OBJECTIVES[name].direction for name in objectives]
        try:
            study = optuna.create_study(study_name=self.name, storage=storage, directions=directions)
        except DuplicatedStudyError:
            return None
        study.set_user_attr("frozen", self.snapshot)
        study.set_user_attr("id", secrets.token_hex(8))
        study.set_metric_names(objectives)
        for point in self.points:
            study.enqueue_trial(point)
        study.set_user_attr("founded", True)
        return study

    def _load(self, storage: BaseStorage) -> Study | None:
        """Load the study if it exists and is complete; delete the rest of one whose creator has died."""
        try:
            study = optuna.load_study(study_name=self.name, storage=storage)
            attributes = self._wait_until_complete(study)
            if attributes is None:
                storage.delete_study(study._study_id)  # by its id, because another study may have the name now
                return None
        except KeyError:  # there is none, or another machine has just deleted it
            return None
        self._compare(migrate_snapshot(attributes["frozen"]))
        self._add_points(study, attributes["frozen"])
        return study

    def _add_points(self, study: Study, stored: ConfigSnapshot) -> None:
        """Enqueue the points that the study does not have yet, and add their entries to its snapshot."""
        if self.points:
            existing = [trial.system_attrs.get(FIXED, trial.params) for trial in study.get_trials(deepcopy=False)]
            for point in self.points:
                if point not in existing:
                    study.enqueue_trial(point)
        entries = stored["settings"]["enqueue"]
        added = [entry for entry in self.snapshot["settings"]["enqueue"] if entry not in entries]
        if added:
            study.set_user_attr("frozen", {**stored, "settings": {**stored["settings"], "enqueue": [*entries, *added]}})

    def _wait_until_complete(self, study: Study) -> dict[str, Any] | None:
        """Wait until the study is complete, and return its attributes; None if its creator must have died.

        Raises:
            ConfigError: This program has not created the study.
        """
        start = time.monotonic()
        while True:
            attributes = study.user_attrs
            if attributes.get("founded"):
                return attributes
            trials = study.get_trials(deepcopy=False)
            created_here = "frozen" in attributes or (self.private and not trials)
            waited = self.private or time.monotonic() - start > CREATION_S
            if any(trial.state is not TrialState.WAITING for trial in trials) or (waited and not created_here):
                raise ConfigError(
                    [
                        f"{shown(self.url)} contains a study {self.name!r} that this program has not created: "
                        "choose another name with hydra.sweeper.study_name=<name>"
                    ]
                )
            if waited:
                return None
            time.sleep(POLL_S)

    def _compare(self, then: ConfigSnapshot) -> None:
        changed = differences(then, self.snapshot)
        if changed:
            raise ConfigError(
                [
                    f"the study {self.name} in {self.folder} was created with other settings:",
                    *(f"  {line}" for line in changed),
                    "Restore them, or create another study with hydra.sweeper.study_name=<name>, or continue the study "
                    f"with its own settings: python -m mnist_compact {shlex.quote(f'resume={self.folder}')}",
                ]
            )
