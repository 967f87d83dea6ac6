"""Studies as the page shows them. The one file of this room that opens a study; it writes nothing to it.

The format of exported studies is the search's: whoever asks for the page brings what opens them.
"""

import math
import os
import shlex
import sqlite3
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_compact.records.discovery import DATABASE, EXPORTED, SEEDS, TRIALS

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial

FEWEST = 20  # complete trials for a word on what mattered
FEWEST_BEST = 5  # trials among the best, for a stable word: Optuna's advice on its evaluator
WAIT_S = 10.0  # for a search that is writing

Json = dict[str, Any]
OpenExport = Callable[[Path], "Study"]  # may raise what it likes


def studies(paths: Sequence[Path], open_export: OpenExport) -> tuple[list[Json], list[str]]:
    """Those in the databases and exported files at or under `paths`, and a line for each that could not be read."""
    places, homes = _found(paths)
    told: list[Json] = []
    faults: list[str] = []
    for place in {place.resolve(): place for place in places}.values():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what is experimental in Optuna, and what it says of importances
                found = [_told(open_export(place))] if place.name.endswith(EXPORTED) else _read(place)
            told += [study | {"place": str(place)} for study in found]
        except Exception as error:  # of any layer between here and the file: the page tells, and goes on
            reason = str(error.__cause__ or error).strip().partition("\n")[0]
            faults.append(f"{place} cannot be read as a study: {type(error).__name__}: {reason}")
    return told, faults + _kept_elsewhere(homes, {study["name"] for study in told})


def _found(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Databases and exported files at or under `paths`, and the folders that hold a study's trials.

    Studies lie neither among trials nor among seeds, which are many: none of these is looked into.
    """
    places, homes = list[Path](), list[Path]()
    for path in paths:
        for folder, below, names in os.walk(path):
            here = Path(folder)
            places += [here / name for name in sorted(names) if name == DATABASE or name.endswith(EXPORTED)]
            if TRIALS in below and any((here / TRIALS).glob("[0-9]*")):
                homes.append(here)
            below[:] = sorted({*below} - {TRIALS, SEEDS})
    return places, homes


def _kept_elsewhere(homes: Sequence[Path], known: set[str]) -> list[str]:
    """A line for each folder of trials whose study is in another storage, and not among the `known`."""
    return [
        f"{home.name} is kept in another storage. To show it here, export it: python -m mnist_compact.study export "
        f"{shlex.quote(home.name)} --storage <URL> --out {shlex.quote(str(home.parent / (home.name + EXPORTED)))}"
        for home in {home.resolve(): home for home in homes}.values()
        if home.resolve().name not in known and not (home / DATABASE).exists()
    ]


def _read(database: Path) -> list[Json]:
    import optuna

    with _opened(database) as storage:
        names = sorted(study.study_name for study in storage.get_all_studies())
        return [_told(optuna.load_study(study_name=name, storage=storage)) for name in names]


@contextmanager
def _opened(database: Path) -> "Iterator[RDBStorage]":
    from optuna.storages import RDBStorage

    def connect() -> sqlite3.Connection:
        place = f"{database.resolve().as_uri()}?mode=ro"
        return sqlite3.connect(place, uri=True, timeout=WAIT_S, check_same_thread=False)

    storage = RDBStorage(f"sqlite:///{database}", engine_kwargs={"creator": connect})
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _told(study: "Study") -> Json:
    """Trials that trained or will; how many were refused by the budget; a list of a value a trial for a parameter."""
    every = study.get_trials(deepcopy=False)
    trials = [trial for trial in every if "refused" not in trial.user_attrs]
    refused = sum("refused" in trial.user_attrs and "withdrawn" not in trial.user_attrs for trial in every)
    names = dict.fromkeys(name for trial in trials for name in sorted(trial.params))
    counts = _counts(trials)
    return {
        "name": study.study_name,
        "counts": counts | {"refused": refused},
        "objectives": _objectives(study),
        "trials": [_trial(trial) for trial in trials],
        "parameters": [_parameter(name, trials) for name in names],
        "importances": [_importances(study, place) for place in range(len(study.directions))],
        "fewest": FEWEST,
        "best": _best_among(counts["complete"]),
    }


def _counts(trials: "Sequence[FrozenTrial]") -> dict[str, int]:
    words = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running", "WAITING": "waiting"}
    states = [trial.state.name for trial in trials]
    return {word: states.count(state) for state, word in words.items()}


def _objectives(study: "Study") -> list[Json]:
    names = study.metric_names or (
        ["score"] if len(study.directions) == 1 else [f"score {place}" for place in range(len(study.directions))]
    )
    return [
        {"name": name, "maximize": direction.name == "MAXIMIZE"}
        for name, direction in zip(names, study.directions, strict=True)
    ]


def _trial(trial: "FrozenTrial") -> Json:
    curve, size = sorted(trial.intermediate_values.items()), trial.user_attrs.get("parameters")
    return {
        "number": trial.number,
        "state": trial.state.name.lower(),
        "values": [_finite(value) for value in trial.values or []],
        "steps": [step for step, _ in curve],
        "curve": [_finite(value) for _, value in curve],
        "size": size if isinstance(size, int) else None,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _parameter(name: str, trials: "Sequence[FrozenTrial]") -> Json:
    """A number of a range, or a choice; null in the trials that do not have it."""
    from optuna.distributions import CategoricalDistribution

    ways = [trial.distributions[name] for trial in trials if name in trial.distributions]
    values = [trial.params.get(name) for trial in trials]
    if isinstance(ways[-1], CategoricalDistribution):
        return {"name": name, "kind": "choice", "values": [None if value is None else str(value) for value in values]}
    return {"name": name, "kind": "number", "log": bool(getattr(ways[-1], "log", False)), "values": values}


def _importances(study: "Study", place: int) -> dict[str, float]:
    """PED-ANOVA's share of each parameter in being of the best; only of those that FEWEST complete trials have.

    It serves conditional parameters too, and needs no further library; but what a branch of few trials has would stand
    out by chance.
    """
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
    from optuna.trial import TrialState

    complete = [
        trial
        for trial in study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
        if "refused" not in trial.user_attrs
    ]
    if len(complete) < FEWEST:
        return {}
    trained = optuna.create_study(directions=study.directions)
    trained.add_trials(complete)
    sign = -1 if study.directions[place].name == "MAXIMIZE" else 1  # the evaluator asks what made it small
    # The evaluator rounds up: half a trial less, so that no float makes it one more.
    evaluator = PedAnovaImportanceEvaluator(target_quantile=(_best_among(len(complete)) - 0.5) / len(complete))
    shares = get_param_importances(trained, evaluator=evaluator, target=lambda trial: sign * trial.values[place])
    tried = Counter(name for trial in complete for name in trial.params)
    judged = {name: share for name, share in shares.items() if math.isfinite(share) and tried[name] >= FEWEST}
    whole = sum(judged.values()) or 1.0
    return {name: round(share / whole, 4) for name, share in judged.items()}


def _best_among(complete: int) -> int:
    """How many of the complete trials are the best, of which importances speak: a tenth, and never too few."""
    return max(FEWEST_BEST, math.ceil(complete / 10))
