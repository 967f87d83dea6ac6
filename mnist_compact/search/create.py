"""A study founded once, by whoever comes first, or joined: to studies of others nothing is done."""

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

FOUNDING_S = 20.0  # how long a founder elsewhere may take from the study's creation to its last point
LOOK_S = 0.2
OWNER = "study.id"  # in the folder: of the study whose trials lie there, as in its attribute `id`


def question_of(name: str, url: str, wait_s: float) -> ConfigSnapshot | None:
    """What the study of this name searches; None if there is no whole one. Nothing is made but a server's tables.

    Raises StorageLost where the storage is locked for longer than `wait_s`; ConfigError where it cannot be opened.
    """
    file = file_of(url)
    if file is not None and not file.exists():
        return None
    try:
        with opened(url, wait_s) as storage:
            attributes = optuna.load_study(study_name=name, storage=storage).user_attrs
    except KeyError:
        return None
    except Exception as error:  # of any database's driver
        raise _unopened(url, error.__cause__ if isinstance(error, ConfigError) else error) from error
    return attributes.get("frozen") if attributes.get("founded") else None


def _unopened(url: str, error: BaseException | None) -> Exception:
    if error is not None and is_locked(error):
        return locked(url)
    reason = str(error).strip().partition("\n")[0]
    return ConfigError([f"hydra.sweeper.storage cannot be opened, got {shown(url)} ({reason})"])


@dataclass(slots=True, frozen=True)
class StudySpec:
    """What a study is founded with, and where.

    Its attribute `snapshot` marks it as ours, `founded` as whole, `id` tells it from all others; those that earlier
    versions have founded have none.
    """

    name: str
    folder: Path
    url: str
    private: bool  # in its own folder: who has the folder's lock is alone
    snapshot: ConfigSnapshot
    points: list[dict[str, Any]]  # to be tried first, or next if the study is there
    exists: bool = False  # whether the study was there already

    def create_or_load(self) -> None:
        """To be called under the folder's lock.

        Raises ConfigError for a study of others, or with other settings; StorageLost where its storage is locked.
        """
        file, trained = file_of(self.url), any((self.folder / TRIALS).glob("*"))
        if trained and file is not None and not file.exists():
            away = f"{self.folder} holds trials, but {file} with their study is gone"
            raise ConfigError([f"{away}: put it back, or choose another study_name"])
        storage = self._open()
        while (study := self._join(storage)) is None:
            if trained:
                raise self._foreign()
            study = self._found(storage)
            if study is not None:
                break
        self._own(study.user_attrs.get("id", ""), trained=trained)

    def _own(self, study_id: str, *, trained: bool) -> None:
        """Raises ConfigError for a folder with trials of another study: its runs would be taken for this one's."""
        mark = self.folder / OWNER
        owner = mark.read_text(encoding="utf-8") if mark.exists() else ""
        if owner == study_id:
            return
        if trained:
            raise self._foreign()
        with replacing(mark) as beside:
            beside.write_text(study_id, encoding="utf-8")

    def _foreign(self) -> ConfigError:
        return ConfigError([f"{self.folder} holds trials of another study: move them, or choose another study_name"])

    def _open(self) -> BaseStorage:
        try:
            return open_storage(self.url)
        except Exception as error:  # each kind of storage has errors of its own
            raise _unopened(self.url, error) from error

    def _found(self, storage: BaseStorage) -> Study | None:
        """The study, if this is its founder: two machines share no lock, and one of them is first."""
        if self.exists:
            raise ConfigError([f"the study {self.name} has just gone from {shown(self.url)}"])
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

    def _join(self, storage: BaseStorage) -> Study | None:
        """The study, if it is there, whole; what a founder that died has left of it is taken away."""
        try:
            study = optuna.load_study(study_name=self.name, storage=storage)
            attributes = self._once_whole(study)
            if attributes is None:
                storage.delete_study(study._study_id)  # by its id: another may stand under the name by now
                return None
        except KeyError:  # there is none, or another machine has just taken it away
            return None
        self._compare(migrate_snapshot(attributes["frozen"]))
        self._add_points(study, attributes["frozen"])
        return study

    def _add_points(self, study: Study, then: ConfigSnapshot) -> None:
        """Enqueue the points that the study does not have yet, and note the entries that they were made of."""
        if self.points:
            had = [trial.system_attrs.get(FIXED, trial.params) for trial in study.get_trials(deepcopy=False)]
            for point in self.points:
                if point not in had:
                    study.enqueue_trial(point)
        entries = then["settings"]["enqueue"]
        added = [entry for entry in self.snapshot["settings"]["enqueue"] if entry not in entries]
        if added:
            study.set_user_attr("frozen", {**then, "settings": {**then["settings"], "enqueue": [*entries, *added]}})

    def _once_whole(self, study: Study) -> dict[str, Any] | None:
        """The attributes of the study, its founder elsewhere waited for; None where that one must have died.

        Raises ConfigError for a study that this program has not begun.
        """
        began = time.monotonic()
        while True:
            attributes = study.user_attrs
            if attributes.get("founded"):
                return attributes
            trials = study.get_trials(deepcopy=False)
            ours = "frozen" in attributes or (self.private and not trials)
            waited = self.private or time.monotonic() - began > FOUNDING_S
            if any(trial.state is not TrialState.WAITING for trial in trials) or (waited and not ours):
                raise ConfigError(
                    [
                        f"{shown(self.url)} holds a study {self.name!r} that this program has not begun: "
                        "choose another name with hydra.sweeper.study_name=<name>"
                    ]
                )
            if waited:
                return None
            time.sleep(LOOK_S)

    def _compare(self, then: ConfigSnapshot) -> None:
        changed = differences(then, self.snapshot)
        if changed:
            raise ConfigError(
                [
                    f"the study {self.name} in {self.folder} was begun with other settings:",
                    *(f"  {line}" for line in changed),
                    "Take them back, or begin another with hydra.sweeper.study_name=<name>, or continue it as it was "
                    f"begun: python -m mnist_compact {shlex.quote(f'resume={self.folder}')}",
                ]
            )
