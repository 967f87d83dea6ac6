"""Many trials at once: a study written in one transaction, and all trials of a study read with a few plain queries.

Optuna's own ways write one trial a transaction, counting those before it each time, and build an object for every row
that they read. Both take minutes for 20,000 trials; `benchmarks/studies.py` has the times of these.
"""

import json
import sys
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._rdb import models
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session

METRIC_NAMES = "study:metric_names"  # Optuna's system attribute
Row = dict[str, Any]

distribution_of = lru_cache(maxsize=10_000)(json_to_distribution)  # a study has few; nobody changes them


@dataclass(slots=True, frozen=True)
class WholeStudy:
    """All that a storage holds of a study. `user_attrs` are written last, in this order."""

    directions: Sequence[StudyDirection]
    trials: Sequence[FrozenTrial]
    system_attrs: Mapping[str, Any]
    user_attrs: Mapping[str, Any]


def create(storage: BaseStorage, name: str, whole: WholeStudy) -> Study:
    """Write the study whole or not at all: in one transaction, or so that nothing is left where it fails.

    Raises:
        DuplicatedStudyError: A study of this name exists.
    """
    if isinstance(storage, Database):
        storage.create_whole(name, whole)
        return optuna.load_study(study_name=name, storage=storage)
    study = optuna.create_study(study_name=name, storage=storage, directions=list(whole.directions))
    try:
        for trial in whole.trials:
            storage.create_new_trial(study._study_id, template_trial=trial)
        for key, value in whole.system_attrs.items():
            storage.set_study_system_attr(study._study_id, key, value)
        for key, value in whole.user_attrs.items():
            study.set_user_attr(key, value)
    except BaseException:
        optuna.delete_study(study_name=name, storage=storage)
        raise
    return study


class Database(RDBStorage):
    """Optuna's storage in a database, quick where a study has many trials."""

    def create_whole(self, name: str, whole: WholeStudy) -> None:
        """Write a study in one transaction. Raises DuplicatedStudyError where the name is taken."""
        try:
            with Session(self.engine) as session, session.begin():
                session.add(study := models.StudyModel(study_name=name))
                session.flush()
                _insert(session, models.StudyDirectionModel, _directions(study.study_id, whole))
                for model, attributes in (
                    (models.StudySystemAttributeModel, whole.system_attrs),
                    (models.StudyUserAttributeModel, whole.user_attrs),
                ):
                    _insert(session, model, ({"study_id": study.study_id, **row} for row in _attributes(attributes)))
                trials = [_trial_model(study.study_id, trial) for trial in whole.trials]
                session.add_all(trials)
                session.flush()
                ids = [trial.trial_id for trial in trials]
                for model, rows_of in ROWS.items():
                    rows = (
                        {"trial_id": trial_id, **row}
                        for trial_id, trial in zip(ids, whole.trials, strict=True)
                        for row in rows_of(trial)
                    )
                    _insert(session, model, rows)
        except IntegrityError as error:
            raise optuna.exceptions.DuplicatedStudyError from error

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        """As Optuna's; what is asked for after the first reading is little, and read by Optuna."""
        if states is not None or trial_id_greater_than >= 0:
            return super()._get_trials(study_id, states, included_trial_ids, trial_id_greater_than)
        try:
            with Session(self.engine) as session, session.begin():
                return _all_trials(session, study_id)
        except SQLAlchemyError as error:
            raise optuna.exceptions.StorageInternalError(str(error)) from error


def _insert(session: Session, model: Any, rows: Iterable[Row]) -> None:
    if found := list(rows):
        session.execute(insert(model), found)


def _directions(study_id: int, whole: WholeStudy) -> Iterator[Row]:
    for objective, direction in enumerate(whole.directions):
        yield {"study_id": study_id, "objective": objective, "direction": direction}


def _trial_model(study_id: int, trial: FrozenTrial) -> Any:
    return models.TrialModel(
        study_id=study_id,
        number=trial.number,
        state=trial.state,
        datetime_start=trial.datetime_start,
        datetime_complete=trial.datetime_complete,
    )


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


ROWS = {
    models.TrialParamModel: _params,
    models.TrialValueModel: _values,
    models.TrialIntermediateValueModel: _intermediate_values,
    models.TrialUserAttributeModel: lambda trial: _attributes(trial.user_attrs),
    models.TrialSystemAttributeModel: lambda trial: _attributes(trial.system_attrs),
}


def _all_trials(session: Session, study_id: int) -> list[FrozenTrial]:
    def rows(model: Any, *columns: Any, order: Any) -> Iterator[Any]:
        """Of all trials of the study, led by the trial's id."""
        query = select(model.trial_id, *columns).join(models.TrialModel).where(models.TrialModel.study_id == study_id)
        return iter(session.execute(query.order_by(order)))

    models.StudyModel.find_or_raise_by_id(study_id, session)
    params, distributions = defaultdict[int, Row](dict), defaultdict[int, dict[str, BaseDistribution]](dict)
    param = models.TrialParamModel
    columns = (param.param_name, param.param_value, param.distribution_json)
    for trial_id, name, value, text in rows(param, *columns, order=param.param_id):
        name, distribution = sys.intern(name), distribution_of(text)
        params[trial_id][name] = distribution.to_external_repr(value)
        distributions[trial_id][name] = distribution
    values = defaultdict[int, list[float]](list)
    model: Any = models.TrialValueModel
    for trial_id, value, kind in rows(model, model.value, model.value_type, order=model.objective):
        values[trial_id].append(model.stored_repr_to_value(value, kind))
    curves = defaultdict[int, dict[int, float]](dict)
    model = models.TrialIntermediateValueModel
    columns = (model.step, model.intermediate_value, model.intermediate_value_type)
    for trial_id, step, value, kind in rows(model, *columns, order=model.trial_intermediate_value_id):
        curves[trial_id][step] = model.stored_repr_to_intermediate_value(value, kind)
    user, system = (
        _read_attributes(rows(model, model.key, model.value_json, order=model.trial_id))
        for model in (models.TrialUserAttributeModel, models.TrialSystemAttributeModel)
    )
    trials = select(models.TrialModel).where(models.TrialModel.study_id == study_id)
    return [
        FrozenTrial(
            number=trial.number,
            state=trial.state,
            value=None,
            values=values.get(trial.trial_id),
            datetime_start=trial.datetime_start,
            datetime_complete=trial.datetime_complete,
            params=params[trial.trial_id],
            distributions=distributions[trial.trial_id],
            user_attrs=user[trial.trial_id],
            system_attrs=system[trial.trial_id],
            intermediate_values=curves[trial.trial_id],
            trial_id=trial.trial_id,
        )
        for trial in session.scalars(trials.order_by(models.TrialModel.trial_id))
    ]


def _read_attributes(rows: Iterable[Any]) -> defaultdict[int, Row]:
    attributes = defaultdict[int, Row](dict)
    for trial_id, key, text in rows:
        attributes[trial_id][sys.intern(key)] = json.loads(text)
    return attributes
