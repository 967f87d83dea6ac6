"""The trials of a study as one table, for a notebook."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_compact.records.discovery import EXPORTED
from mnist_compact.reports.cells import dtype_of
from mnist_compact.search.locate import SWEEPS, from_file, storage_of

if TYPE_CHECKING:
    import pandas as pd
    from optuna.study import Study
    from optuna.trial import FrozenTrial

STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running", "WAITING": "waiting"}
TIME = "datetime64[us]"


def load_study(study: str | Path, *, folder: str | Path = SWEEPS, storage: str | None = None) -> "pd.DataFrame":
    """One row for every trial, in order: of the study of this name in `folder` or in `storage` (an Optuna URL), or of
    the exported file `study`.

    Columns: `trial`; `state`: complete, pruned, failed, running, waiting or refused (over budget or withdrawn, and
    never trained); the objectives, of complete trials; `parameters`; `epochs` done and the `last_score` there, per
    cent; `seconds` of training; `reason` of what was not completed; `started_at` and `finished_at` in the time of the
    machine that searched; then what was searched, under its keys of the command line, in a branch led by its name
    (`sgd.optim.lr`). Raises ConfigError where there is no such study.
    """
    from mnist_compact.search.transfer import load

    if str(study).endswith(EXPORTED):
        return _table(from_file(Path(study)))
    with storage_of(str(study), Path(folder), storage) as opened:
        return _table(load(opened, str(study)))


def _table(study: "Study") -> "pd.DataFrame":
    import pandas as pd

    from mnist_compact.search.counts import is_refused
    from mnist_compact.search.summary import objectives

    trials = study.get_trials(deepcopy=False)
    states = ["refused" if is_refused(trial) else STATES[trial.state.name] for trial in trials]
    curves = [sorted(trial.intermediate_values.items()) for trial in trials]
    columns: dict[str, pd.Series[Any]] = {"trial": pd.Series([trial.number for trial in trials], dtype="Int64")}
    columns["state"] = pd.Series(states, dtype="string")
    for place, name in enumerate(objectives(study)):
        reached = [
            trial.values[place] if state == "complete" else None for trial, state in zip(trials, states, strict=True)
        ]
        columns[name] = pd.Series(reached, dtype="Float64")
    columns["parameters"] = pd.Series(_noted(trials, "parameters"), dtype="Int64")
    columns["epochs"] = pd.Series([curve[-1][0] if curve else 0 for curve in curves], dtype="Int64")
    columns["last_score"] = pd.Series([curve[-1][1] if curve else None for curve in curves], dtype="Float64")
    columns["seconds"] = pd.Series(_noted(trials, "seconds"), dtype="Float64")
    columns["reason"] = pd.Series(_noted(trials, "refused", "reason"), dtype="string")
    columns["started_at"] = pd.Series([trial.datetime_start for trial in trials], dtype=TIME)
    columns["finished_at"] = pd.Series([trial.datetime_complete for trial in trials], dtype=TIME)
    # A colon, as Optuna's names of a branch's parameters have it, is none of a column's name in XML.
    for key in dict.fromkeys(key for trial in trials for key in sorted(trial.params)):
        columns[key.replace(":", ".")] = _searched([trial.params.get(key) for trial in trials])
    return pd.DataFrame(columns)


def _noted(trials: "Sequence[FrozenTrial]", *names: str) -> list[Any]:
    """The first of these attributes that each trial has."""
    return [next((trial.user_attrs[name] for name in names if name in trial.user_attrs), None) for trial in trials]


def _searched(values: list[Any]) -> "pd.Series[Any]":
    import pandas as pd

    dtype = dtype_of(set(map(type, values)) - {type(None)})
    if dtype == "string":
        values = [None if value is None else str(value) for value in values]
    return pd.Series(values, dtype=dtype)
