"""The trials of a study as a table."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_compact.reports.cells import dtype_of
from mnist_compact.search.reading import SWEEPS, objectives, state_of, study_named

if TYPE_CHECKING:
    import pandas as pd
    from optuna.study import Study
    from optuna.trial import FrozenTrial

TIME = "datetime64[us]"


def load_study(study: str | Path, *, folder: str | Path = SWEEPS, storage: str | None = None) -> "pd.DataFrame":
    """Load the trials of a study into a table.

    Args:
        study: The name of the study, or the path of an exported file.
        folder: The folder of the studies.
        storage: An Optuna URL, used instead of the database in `folder`.

    Returns:
        One row per trial in order: `trial`, its number; `state`: complete, pruned, failed, running, waiting or refused
        (over budget or discarded, and never trained); the objectives of complete trials; `parameters` of the network;
        finished `epochs` and the `last_score` after them, per cent; `seconds` of training; the `reason` of a trial that
        was not completed; `started_at` and `finished_at` in the local time of the machine that ran the search; then
        the searched keys of the command line, in a branch preceded by its name (`sgd.optim.lr`).

    Raises:
        ConfigError: If there is no such study.

    Example:
        >>> load_study("evidence/under_8k/under_8k.study.json.gz")  # doctest: +SKIP
    """
    with study_named(study, folder=folder, storage=storage) as opened:
        return _table(opened)


def _table(study: "Study") -> "pd.DataFrame":
    import pandas as pd

    trials = study.get_trials(deepcopy=False)
    states = [state_of(trial) for trial in trials]
    curves = [sorted(trial.intermediate_values.items()) for trial in trials]
    columns: dict[str, pd.Series[Any]] = {"trial": pd.Series([trial.number for trial in trials], dtype="Int64")}
    columns["state"] = pd.Series(states, dtype="string")
    for index, name in enumerate(objectives(study)):
        values = [
            trial.values[index] if state == "complete" else None for trial, state in zip(trials, states, strict=True)
        ]
        columns[name] = pd.Series(values, dtype="Float64")
    columns["parameters"] = pd.Series(_attributes(trials, "parameters"), dtype="Int64")
    columns["epochs"] = pd.Series([curve[-1][0] if curve else 0 for curve in curves], dtype="Int64")
    columns["last_score"] = pd.Series([curve[-1][1] if curve else None for curve in curves], dtype="Float64")
    columns["seconds"] = pd.Series(_attributes(trials, "seconds"), dtype="Float64")
    columns["reason"] = pd.Series(_attributes(trials, "refused", "reason"), dtype="string")
    columns["started_at"] = pd.Series([trial.datetime_start for trial in trials], dtype=TIME)
    columns["finished_at"] = pd.Series([trial.datetime_complete for trial in trials], dtype=TIME)
    # Optuna's parameter names of a branch contain a colon, which XML does not allow in the name of a column.
    for key in dict.fromkeys(key for trial in trials for key in sorted(trial.params)):
        columns[key.replace(":", ".")] = _searched([trial.params.get(key) for trial in trials])
    return pd.DataFrame(columns)


def _attributes(trials: "Sequence[FrozenTrial]", *names: str) -> list[Any]:
    """Return the first of these attributes that each trial has."""
    return [next((trial.user_attrs[name] for name in names if name in trial.user_attrs), None) for trial in trials]


def _searched(values: list[Any]) -> "pd.Series[Any]":
    import pandas as pd

    dtype = dtype_of(set(map(type, values)) - {type(None)})
    if dtype == "string":
        values = [None if value is None else str(value) for value in values]
    return pd.Series(values, dtype=dtype)
