"""Studies as JSON for the page."""

import math
import os
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_compact.records.discovery import DATABASE, EXPORTED, SEEDS, TRIALS
from mnist_compact.search.reading import counts, is_refused, objectives, prior_counts, state_of, studies_in

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

FEWEST = 20  # complete trials; with fewer, importances are not computed
FEWEST_BEST = 5  # trials among the best that stable importances need, as Optuna advises for its evaluator

Json = dict[str, Any]


def studies(paths: Sequence[Path]) -> tuple[list[Json], list[str]]:
    """Collect the studies in the databases and exported files at or under some paths.

    Args:
        paths: Folders to search.

    Returns:
        The studies, and a line for each that cannot be read or lies in another storage.
    """
    files, homes = _found(paths)
    found: list[Json] = []
    faults: list[str] = []
    for path in {path.resolve(): path for path in files}.values():
        try:
            with studies_in(path) as opened:
                found += [_study(study) | {"path": str(path)} for study in opened]
        except Exception as error:  # from any layer: the page reports it and shows the other studies
            reason = str(error.__cause__ or error).strip().partition("\n")[0]
            faults.append(f"{path} cannot be read as a study: {type(error).__name__}: {reason}")
    return found, faults + _in_other_storage(homes, {study["name"] for study in found})


def _found(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Find databases and exported files at or under `paths`, and the folders that contain the trials of a study.

    The many folders of trials and seeds contain no studies and are not searched.
    """
    files, homes = list[Path](), list[Path]()
    for path in paths:
        for folder, below, names in os.walk(path):
            here = Path(folder)
            files += [here / name for name in sorted(names) if name == DATABASE or name.endswith(EXPORTED)]
            if TRIALS in below and any((here / TRIALS).glob("[0-9]*")):
                homes.append(here)
            below[:] = sorted({*below} - {TRIALS, SEEDS})
    return files, homes


def _in_other_storage(homes: Sequence[Path], known: set[str]) -> list[str]:
    """Return a line for each folder of trials whose study is in another storage and not among the `known`."""
    return [
        f"{home.name} is in another storage. To show it here, export it: python -m mnist_compact.study export "
        f"{shlex.quote(home.name)} --storage <URL> --out {shlex.quote(str(home.parent / (home.name + EXPORTED)))}"
        for home in {home.resolve(): home for home in homes}.values()
        if home.resolve().name not in known and not (home / DATABASE).exists()
    ]


def _study(study: "Study") -> Json:
    """Return the trials without refused ones, counts, and one value per trial for each parameter."""
    trials = [trial for trial in study.get_trials(deepcopy=False) if not is_refused(trial)]
    by_state = counts(study)
    names = dict.fromkeys(name for trial in trials for name in sorted(trial.params))
    return {
        "name": study.study_name,
        "counts": by_state,
        "prior": sum(prior_counts(study).values()),
        "objectives": [
            {"name": name, "maximize": direction.name == "MAXIMIZE"}
            for name, direction in zip(objectives(study), study.directions, strict=True)
        ],
        "trials": [_trial(trial) for trial in trials],
        "parameters": [_parameter(name, trials) for name in names],
        "importances": [_importances(study, objective) for objective in range(len(study.directions))],
        "fewest": FEWEST,
        "best": _best_among(by_state["complete"]),
    }


def _trial(trial: "FrozenTrial") -> Json:
    curve, size = sorted(trial.intermediate_values.items()), trial.user_attrs.get("parameters")
    return {
        "number": trial.number,
        "state": state_of(trial),
        "values": [_finite(value) for value in trial.values or []],
        "steps": [step for step, _ in curve],
        "curve": [_finite(value) for _, value in curve],
        "size": size if isinstance(size, int) else None,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _parameter(name: str, trials: "Sequence[FrozenTrial]") -> Json:
    """Return a numeric or categorical parameter; the value is null in trials without it."""
    from optuna.distributions import CategoricalDistribution

    distributions = [trial.distributions[name] for trial in trials if name in trial.distributions]
    values = [trial.params.get(name) for trial in trials]
    if isinstance(distributions[-1], CategoricalDistribution):
        return {"name": name, "kind": "choice", "values": [None if value is None else str(value) for value in values]}
    return {"name": name, "kind": "number", "log": bool(getattr(distributions[-1], "log", False)), "values": values}


def _importances(study: "Study", objective: int) -> dict[str, float]:
    """Return PED-ANOVA importances: the share of each parameter in being among the best trials.

    PED-ANOVA supports conditional parameters and needs no further library. Parameters that fewer than FEWEST complete
    trials have are left out, because they could appear important by chance.
    """
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
    from optuna.trial import TrialState

    complete = [
        trial for trial in study.get_trials(deepcopy=False, states=[TrialState.COMPLETE]) if not is_refused(trial)
    ]
    if len(complete) < FEWEST:
        return {}
    trained = optuna.create_study(directions=study.directions)
    trained.add_trials(complete)
    sign = -1 if study.directions[objective].name == "MAXIMIZE" else 1  # the evaluator considers small values good
    # The evaluator rounds up: subtract half a trial, so that no rounding error adds one.
    evaluator = PedAnovaImportanceEvaluator(target_quantile=(_best_among(len(complete)) - 0.5) / len(complete))
    shares = get_param_importances(trained, evaluator=evaluator, target=lambda trial: sign * trial.values[objective])
    tried = Counter(name for trial in complete for name in trial.params)
    finite = {name: share for name, share in shares.items() if math.isfinite(share) and tried[name] >= FEWEST}
    total = sum(finite.values()) or 1.0
    return {name: round(share / total, 4) for name, share in finite.items()}


def _best_among(complete: int) -> int:
    """Return the number of complete trials that count as the best: a tenth, at least FEWEST_BEST."""
    return max(FEWEST_BEST, math.ceil(complete / 10))
