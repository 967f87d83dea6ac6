"""Bulk access to studies: write a study in one transaction, and read all its trials with a few plain queries.

Optuna writes one trial per transaction, counts the earlier trials each time, and builds an object for every row that it
reads. Both take minutes for 20,000 trials. `benchmarks/studies.py` measures the functions of this module.
"""

import json
import math
import sys
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._rdb import models
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, String, func, insert, select, type_coerce
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from mnist_compact.common.garbage import collection_paused
from mnist_compact.common.slow_work import announced

METRIC_NAMES = "study:metric_names"  # Optuna's system attribute
CHUNK = 5000  # rows that are in memory at a time, in addition to the trials built from them
NOT_FINITE = {"INF_POS": math.inf, "INF_NEG": -math.inf, "NAN": math.nan}  # Optuna's value types for such values
Row = dict[str, Any]

distribution_of = lru_cache(maxsize=10_000)(json_to_distribution)  # a study has few, and they are never modified
scalar_of = lru_cache(maxsize=10_000)(json.loads)  # many attributes have the same number or text


@dataclass(slots=True, frozen=True)
class StudyContent:
    """The complete content of a study. `user_attrs` are written last, in the given order."""

    directions: Sequence[StudyDirection]
    trials: Sequence[FrozenTrial]
    system_attrs: Mapping[str, Any]
    user_attrs: Mapping[str, Any]


def create(storage: BaseStorage, name: str, content: StudyContent) -> Study:
    """Write the complete study, or nothing if that fails.

    Raises:
        DuplicatedStudyError: A study of this name exists.
    """
    if isinstance(storage, Database):
        storage.create_complete_study(name, content)
        return optuna.load_study(study_name=name, storage=storage)
    study = optuna.create_study(study_name=name, storage=storage, directions=list(content.directions))
    try:
        for trial in content.trials:
            storage.create_new_trial(study._study_id, template_trial=trial)
        for key, value in content.system_attrs.items():
            storage.set_study_system_attr(study._study_id, key, value)
        for key, value in content.user_attrs.items():
            study.set_user_attr(key, value)
    except BaseException:
        optuna.delete_study(study_name=name, storage=storage)
        raise
    return study


class Database(RDBStorage):
    """Optuna's relational storage, with fast bulk reads and writes."""

    def create_complete_study(self, name: str, content: StudyContent) -> None:
        """Write a study in one transaction.

        Raises:
            DuplicatedStudyError: A study of this name exists.
        """
        try:
            with announced(f"writing the study {name}"), self.engine.begin() as connection, collection_paused():
                study_table: Any = models.StudyModel.__table__
                inserted: Any = connection.execute(insert(study_table).values(study_name=name)).inserted_primary_key
                (study_id,) = inserted
                _insert(connection, models.StudyDirectionModel, _directions(study_id, content))
                kinds: dict[Any, Mapping[str, Any]] = {
                    models.StudySystemAttributeModel: content.system_attrs,
                    models.StudyUserAttributeModel: content.user_attrs,
                }
                for kind, attributes in kinds.items():
                    _insert(connection, kind, ({"study_id": study_id, **row} for row in _attributes(attributes)))
                _insert(connection, models.TrialModel, (_trial(study_id, trial) for trial in content.trials))
                trial_columns = models.TrialModel.__table__.c
                query = select(trial_columns.number, trial_columns.trial_id).where(trial_columns.study_id == study_id)
                ids = {row.number: row.trial_id for row in connection.execute(query)}
                for model, rows_of in ROWS.items():
                    rows = (
                        {"trial_id": ids[trial.number], **row} for trial in content.trials for row in rows_of(trial)
                    )
                    _insert(connection, model, rows)
        except IntegrityError as error:
            raise optuna.exceptions.DuplicatedStudyError from error

    def count(self, study_id: int) -> int:
        """Count the trials of a study without reading them."""
        trial = models.TrialModel.__table__.c
        with self.engine.connect() as connection:
            query = select(func.count()).where(trial.study_id == study_id)
            return connection.execute(query).scalar_one()

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        """Read trials in bulk: all, or those that may have changed since the last read.

        Workers read all running trials several times for each proposal, so that with many workers this takes most of
        the time of the coordination.
        """
        if states is not None:
            return super()._get_trials(study_id, states, included_trial_ids, trial_id_greater_than)
        try:
            with ExitStack() as opened:
                connection = opened.enter_context(self.engine.connect())
                opened.enter_context(collection_paused())
                if trial_id_greater_than < 0:
                    opened.enter_context(announced("reading the study's trials"))
                    connection = connection.execution_options(yield_per=CHUNK)
                return _read_trials(connection, study_id, included_trial_ids, trial_id_greater_than)
        except SQLAlchemyError as error:
            raise optuna.exceptions.StorageInternalError(str(error)) from error


def _insert(connection: Connection, model: Any, rows: Iterator[Row]) -> None:
    """Insert rows into the model's table, without an object per row."""
    while chunk := [*islice(rows, CHUNK)]:
        connection.execute(insert(model.__table__), chunk)


def _directions(study_id: int, content: StudyContent) -> Iterator[Row]:
    for objective, direction in enumerate(content.directions):
        yield {"study_id": study_id, "objective": objective, "direction": direction}


def _trial(study_id: int, trial: FrozenTrial) -> Row:
    return {
        "study_id": study_id,
        "number": trial.number,
        "state": trial.state,
        "datetime_start": _utc(trial.datetime_start),
        "datetime_complete": _utc(trial.datetime_complete),
    }


def _params(trial: FrozenTrial) -> Iterator[Row]:
    for name, value in trial.params.items():
        distribution = trial.distributions[name]
        yield {
            "param_name": name,
            "param_value": distribution.to_internal_repr(value),
            "distribution_json": distribution_to_json(distribution),
        }


def _values(trial: FrozenTrial) -> Iterator[Row]:
    for objective, value in enumerate(trial.values or ()):
        stored, kind = models.TrialValueModel.value_to_stored_repr(value)
        yield {"objective": objective, "value": stored, "value_type": kind}


def _intermediate_values(trial: FrozenTrial) -> Iterator[Row]:
    for step, value in trial.intermediate_values.items():
        stored, kind = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(value)
        yield {"step": step, "intermediate_value": stored, "intermediate_value_type": kind}


def _attributes(attributes: Mapping[str, Any]) -> Iterator[Row]:
    for key, value in attributes.items():
        yield {"key": key, "value_json": json.dumps(value)}


ROWS: dict[Any, Callable[[FrozenTrial], Iterable[Row]]] = {
    models.TrialParamModel: _params,
    models.TrialValueModel: _values,
    models.TrialIntermediateValueModel: _intermediate_values,
    models.TrialUserAttributeModel: lambda trial: _attributes(trial.user_attrs),
    models.TrialSystemAttributeModel: lambda trial: _attributes(trial.system_attrs),
}


def _read_trials(connection: Connection, study_id: int, included: set[int], after: int) -> list[FrozenTrial]:
    """Read plain rows of each table instead of one object per row.

    Args:
        connection: A connection to the database.
        study_id: The study.
        included: Trials to read that are not after `after`.
        after: All trials with a higher id are read; negative for all trials.
    """
    studies = models.StudyModel.__table__.c
    if connection.execute(select(studies.study_id).where(studies.study_id == study_id)).first() is None:
        raise KeyError(f"there is no study with id {study_id}")
    trial = models.TrialModel.__table__.c
    of_study = trial.study_id == study_id
    if after >= 0:
        of_study &= (trial.trial_id > after) | trial.trial_id.in_(included)
    columns_of_trial = (trial.trial_id, trial.number, trial.state, trial.datetime_start, trial.datetime_complete)
    # First, because a finished trial is never read again: its attributes and values were written before its state.
    found = connection.execute(select(*columns_of_trial).where(of_study).order_by(trial.trial_id)).all()
    if not found:
        return []
    ids: Any = [row.trial_id for row in found]
    if len(ids) > CHUNK:  # databases limit the length of a statement
        ids = select(trial.trial_id).where(of_study)

    def rows(model: Any, *names: str) -> Iterator[Any]:
        """Yield the rows of all these trials, with the trial id first, in the order of the primary key."""
        table = model.__table__
        columns = [type_coerce(table.c[name], String) if name.endswith("_type") else table.c[name] for name in names]
        query = select(table.c.trial_id, *columns).where(table.c.trial_id.in_(ids))
        for chunk in connection.execute(query.order_by(*table.primary_key)).partitions():  # faster than row by row
            yield from chunk

    params, distributions = defaultdict[int, Row](dict), defaultdict[int, dict[str, BaseDistribution]](dict)
    for trial_id, name, value, text in rows(models.TrialParamModel, "param_name", "param_value", "distribution_json"):
        name, distribution = sys.intern(name), distribution_of(text)
        params[trial_id][name] = distribution.to_external_repr(value)
        distributions[trial_id][name] = distribution
    values = defaultdict[int, dict[int, float]](dict)
    for trial_id, objective, value, kind in rows(models.TrialValueModel, "objective", "value", "value_type"):
        values[trial_id][objective] = NOT_FINITE.get(kind, value)
    curves = defaultdict[int, dict[int, float]](dict)
    columns = ("step", "intermediate_value", "intermediate_value_type")
    for trial_id, step, value, kind in rows(models.TrialIntermediateValueModel, *columns):
        curves[trial_id][step] = NOT_FINITE.get(kind, value)
    user = _read_attributes(rows(models.TrialUserAttributeModel, "key", "value_json"))
    system = _read_attributes(rows(models.TrialSystemAttributeModel, "key", "value_json"))
    return [
        FrozenTrial(
            number=number,
            state=state,
            value=None,
            values=[values[trial_id][objective] for objective in sorted(values[trial_id])] or None,
            datetime_start=_local(start),
            datetime_complete=_local(end),
            params=params[trial_id],
            distributions=distributions[trial_id],
            user_attrs=user[trial_id],
            system_attrs=system[trial_id],
            intermediate_values=curves[trial_id],
            trial_id=trial_id,
        )
        for trial_id, number, state, start, end in found
    ]


def _utc(local: datetime | None) -> datetime | None:
    """Convert the naive local time of Optuna's trials to the naive UTC time of the database."""
    return None if local is None else local.astimezone(UTC).replace(tzinfo=None)


def _local(utc: datetime | None) -> datetime | None:
    """Convert the database's naive UTC time to the naive local time that Optuna's trials have."""
    return None if utc is None else utc.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)


def _read_attributes(rows: Iterable[Any]) -> defaultdict[int, Row]:
    attributes = defaultdict[int, Row](dict)
    for trial_id, key, text in rows:
        decode = json.loads if text.startswith(("[", "{")) else scalar_of  # lists and mappings must not be shared
        attributes[trial_id][sys.intern(key)] = decode(text)
    return attributes
