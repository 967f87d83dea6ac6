"""Export a study to one small file that can be committed, shown, and continued on another machine.

The file is gzip-compressed JSON whose bytes depend only on the study. It does not contain the leases, which belong to
one machine. Of the attributes that samplers store in the study it contains the position of a quasi-random sequence; the
others may refer to ids of this storage, and the samplers compute them again.
"""

import gzip
import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, check_distribution_compatibility, distribution_to_json
from optuna.storages import BaseStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from mnist_compact.common.atomic import replacing
from mnist_compact.common.bounded_read import LARGE, gunzip, parse_json, read_bytes
from mnist_compact.common.errors import ConfigError
from mnist_compact.common.garbage import collection_paused
from mnist_compact.common.slow_work import announced
from mnist_compact.search.bulk import METRIC_NAMES, StudyContent, create, distribution_of
from mnist_compact.search.counts import FIXED

SCHEMA_VERSION = 1
SEQUENCE = "qmc:"  # prefix of the attributes that contain the position of a quasi-random sequence
ATTEMPT_ATTRIBUTES = {
    "lease",
    "attempts",
    "attempts_since",
    "overrides",
    "folder",
    "parameters",
    "refused",
    "reason",
    "seconds",
    "scored",
}

ExportedStudy = dict[str, Any]  # plain JSON


def load(storage: BaseStorage, name: str) -> Study:
    """Load a study.

    Raises:
        ConfigError: There is no study of this name.
    """
    try:
        return optuna.load_study(study_name=name, storage=storage)
    except KeyError as error:
        names = ", ".join(sorted(study.study_name for study in storage.get_all_studies())) or "none"
        raise ConfigError([f"there is no study {name!r} in this storage; its studies: {names}"]) from error


def export_study(storage: BaseStorage, name: str) -> ExportedStudy:
    """Convert a study to plain JSON. A RUNNING trial becomes WAITING with its point, to be tried again.

    Raises:
        ConfigError: There is no study of this name.
    """
    study = load(storage, name)
    attributes = storage.get_study_system_attrs(study._study_id)
    return {
        "schema_version": SCHEMA_VERSION,
        "name": name,
        "directions": [direction.name.lower() for direction in study.directions],
        "metric_names": study.metric_names,
        "user_attrs": _sorted(study.user_attrs),
        "system_attrs": _sorted({key: value for key, value in attributes.items() if key.startswith(SEQUENCE)}),
        "trials": [_entry(trial) for trial in study.get_trials(deepcopy=False)],
    }


def write(path: Path, exported: ExportedStudy) -> None:
    """Write an exported study completely or not at all; equal studies give equal bytes."""
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=0) as file:
        file.write(json.dumps(exported, separators=(",", ":")).encode())
    with replacing(path) as temporary:
        temporary.write_bytes(packed.getvalue())


def read(path: Path) -> ExportedStudy:
    """Read a file that `write` has written.

    Raises:
        ConfigError: The file is damaged, not an exported study, or of another schema version.
    """
    try:
        with announced(f"reading {path}"), collection_paused():
            exported = parse_json(gunzip(read_bytes(path, LARGE)))
    except OSError as error:
        raise ConfigError([f"{path} cannot be read ({error.strerror})"]) from error
    except ValueError as error:
        raise ConfigError([f"{path} is damaged or not an exported study: {error}"]) from error
    if not isinstance(exported, dict) or "schema_version" not in exported:
        raise ConfigError([f"{path} is not an exported study: it has no schema_version"])
    if exported["schema_version"] != SCHEMA_VERSION:
        raise ConfigError(
            [f"{path} has schema_version {exported['schema_version']!r}; this version reads {SCHEMA_VERSION}"]
        )
    if not isinstance(exported.get("name"), str):
        raise ConfigError([f"{path} is damaged: it has no name of the study"])
    return exported


def parse(exported: ExportedStudy) -> StudyContent:
    """Check and convert the output of `export_study`, without a storage.

    Raises:
        ConfigError: The content is damaged.
    """
    with _damage_errors(), announced("checking the exported study"), collection_paused():
        trials = [_trial(entry) for entry in exported["trials"]]
        directions = [StudyDirection[direction.upper()] for direction in exported["directions"]]
        system_attrs = dict(exported.get("system_attrs", {}))  # earlier versions wrote none
        if exported["metric_names"] is not None:
            system_attrs[METRIC_NAMES] = exported["metric_names"]
        if len(directions) != len(exported["metric_names"] or directions):
            raise ValueError("the numbers of objectives and of their names differ")
        if [trial.number for trial in trials] != list(range(len(trials))):
            raise ValueError("the trials are not numbered in order")
        distributions: dict[str, BaseDistribution] = {}
        for trial in trials:
            trial._validate()
            if trial.values is not None and len(trial.values) != len(directions):
                raise ValueError(f"trial {trial.number} has {len(trial.values)} values")
            for name, distribution in trial.distributions.items():
                check_distribution_compatibility(distributions.setdefault(name, distribution), distribution)
        attributes = dict(exported["user_attrs"])
        if "founded" in attributes:
            attributes["founded"] = attributes.pop("founded")  # last, because it marks the study as complete
    return StudyContent(directions, trials, system_attrs, attributes)


def import_study(exported: ExportedStudy, storage: BaseStorage, name: str) -> Study:
    """Check an exported study and `store` it.

    Raises:
        ConfigError: The name is taken, or the content is damaged.
    """
    return store(parse(exported), storage, name)


def store(content: StudyContent, storage: BaseStorage, name: str) -> Study:
    """Create the study under `name`, with the trials' numbers; nothing is left of it if that fails.

    Raises:
        ConfigError: The name is taken.
    """
    try:
        return create(storage, name, content)
    except optuna.exceptions.DuplicatedStudyError as error:
        raise ConfigError(
            [f"a study {name!r} exists there already; --name <name> imports it under another name"]
        ) from error


def _entry(trial: FrozenTrial) -> dict[str, Any]:
    if trial.state is TrialState.RUNNING:
        return _waiting(trial)
    return {
        "number": trial.number,
        "state": trial.state.name,
        "values": trial.values,
        "params": _sorted(trial.params),
        "distributions": {
            name: distribution_to_json(distribution) for name, distribution in _sorted(trial.distributions).items()
        },
        "intermediate_values": {str(step): value for step, value in _sorted(trial.intermediate_values).items()},
        "user_attrs": {key: value for key, value in _sorted(trial.user_attrs).items() if key != "lease"},
        "system_attrs": _sorted(trial.system_attrs),
        "start": _time_text(trial.datetime_start),
        "end": _time_text(trial.datetime_complete),
    }


def _waiting(trial: FrozenTrial) -> dict[str, Any]:
    """Return the entry of a trial before its start; the worker that starts it checks and reports it again."""
    point = {**trial.system_attrs.get(FIXED, {}), **trial.params}
    return {
        "number": trial.number,
        "state": TrialState.WAITING.name,
        "values": None,
        "params": {},
        "distributions": {},
        "intermediate_values": {},
        "user_attrs": {key: value for key, value in _sorted(trial.user_attrs).items() if key not in ATTEMPT_ATTRIBUTES},
        "system_attrs": {FIXED: _sorted(point)},
        "start": None,
        "end": None,
    }


def _trial(entry: Mapping[str, Any]) -> FrozenTrial:
    return FrozenTrial(
        number=entry["number"],
        state=TrialState[entry["state"]],
        value=None,
        values=entry["values"],
        datetime_start=_time(entry["start"]),
        datetime_complete=_time(entry["end"]),
        params=dict(entry["params"]),
        distributions={name: distribution_of(text) for name, text in entry["distributions"].items()},
        user_attrs=dict(entry["user_attrs"]),
        system_attrs=dict(entry["system_attrs"]),
        intermediate_values={int(step): value for step, value in entry["intermediate_values"].items()},
        trial_id=-1,  # the storage assigns one
    )


def _sorted(mapping: Mapping[Any, Any]) -> dict[Any, Any]:
    """Sort by key. Values stay as they are, because the order of keys within a snapshot has a meaning."""
    return dict(sorted(mapping.items()))


def _time_text(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()


def _time(written: str | None) -> datetime | None:
    return None if written is None else datetime.fromisoformat(written)


@contextmanager
def _damage_errors() -> Iterator[None]:
    """Raise ConfigError for content that `export_study` has not written."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError([f"the exported study is damaged: {type(error).__name__}: {error}"]) from error
