"""What a search is refused for before its study is founded: nothing of it is found out in the middle."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any

import optuna
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning

from mnist_compact.common.errors import ConfigError, Validator, check_installed
from mnist_compact.config.error_messages import explain
from mnist_compact.records.discovery import is_below
from mnist_compact.search.branches import Parameter, Way
from mnist_compact.search.builders import is_grid, pruner_of, sampler_of, space_of
from mnist_compact.search.consistency import check_space
from mnist_compact.search.objectives import OBJECTIVES
from mnist_compact.search.snapshot import Composer, ConfigSnapshot
from mnist_compact.search.storage_urls import rule_broken_by, shown

PREFLIGHT_PROPOSALS = 3  # proposals: the first ones of many samplers are random
LIBRARIES = {"CmaEsSampler": "cmaes"}  # that samplers import with the first proposal that is not random


def check_settings(config: DictConfig) -> None:
    """Raises ConfigError naming every key of `hydra.sweeper` that is out of range."""
    sweeper, validator, known = config.hydra.sweeper, Validator("hydra.sweeper"), ", ".join(OBJECTIVES)
    for name in sweeper.objectives:
        validator.check(name in OBJECTIVES, "objectives", f"must be out of {known}", name)
    distinct = len(set(sweeper.objectives)) == len(sweeper.objectives)
    validator.check(distinct, "objectives", "must name each objective once", [*sweeper.objectives])
    validator.check(bool(sweeper.objectives), "objectives", f"must name at least one of {known}", [])
    for key, least in {"n_trials": 1, "n_jobs": 0, "target_trials": 1, "max_failures": 0, "max_refusals": 1}.items():
        validator.check(sweeper[key] >= least, key, f"must be at least {least}", sweeper[key])
    limit, target, name = sweeper.time_limit_minutes, sweeper.target, sweeper.study_name
    validator.check(limit is None or limit > 0, "time_limit_minutes", "must be above 0", limit)
    validator.check(target is None or len(sweeper.objectives) < 2, "target", "needs a single objective", target)
    for objective in sweeper.objectives if target is not None and len(sweeper.objectives) == 1 else ():
        if objective in OBJECTIVES:
            wanted = f"{OBJECTIVES[objective].rule_of_target()} for {objective}"
            validator.check(OBJECTIVES[objective].can_be_passed(target), "target", wanted, target)
    validator.check(name is None or is_below(name), "study_name", f"must be a folder's below {sweeper.folder}", name)
    if sweeper.storage is not None:
        rule = rule_broken_by(sweeper.storage)
        validator.check(rule is None, "storage", rule or "", shown(sweeper.storage))
    primary = config.hydra.job.config_name
    if primary != "config":
        validator.found.append(f"--config-name must be left out of a search, which composes config.yaml, got {primary}")
    validator.raise_if_any()


def check_keys(composer: Composer, snapshot: ConfigSnapshot) -> None:
    """Every searched key and option must exist wherever its branch is taken, and none may score on the test split.

    The space must not contradict itself. Too many epochs are a proposal's own fault, unless each of these has one.
    Raises ConfigError.
    """
    space, unfit = space_of(snapshot), list[str]()
    check_space(space, snapshot["arguments"], composer.known().get)
    branched: list[tuple[str, tuple[Parameter, ...], Way]] = [
        (f"branches.{branch.name}.params", branch.parameters, way)
        for branch in space.branches
        for way in space.ways(branch)
    ]
    for name, parameters, when in [("params", space.parameters, {}), *branched]:
        values = {parameter.key: _values(parameter.distribution) for parameter in parameters}
        turns = range(max(map(len, values.values()), default=0))  # so every value is composed once a condition
        for chosen, turn in product(product(*when.values()), turns):
            condition = [f"{key}={value}" for key, value in zip(when, chosen, strict=True)]
            point = [f"{key}={options[turn % len(options)]}" for key, options in values.items()]
            try:
                unfit.append(_unfit(composer.composed([*condition, *point])))
            except Exception as error:
                raise ConfigError([f"hydra.sweeper.{name}: {explain(error) or error}"]) from error
    if unfit and all(unfit):
        raise ConfigError([unfit[0]])


def _unfit(composed: DictConfig) -> str:
    """Why nothing that shares these epochs and this budget may train; empty where it may."""
    budget: Any = OmegaConf.to_object(composed.budget)
    try:
        budget.check(parameters=0, epochs=composed.train.epochs)
    except ConfigError as error:
        return str(error)
    return ""


def preflight(snapshot: ConfigSnapshot, known: dict[str, Any]) -> None:
    """A few proposals in memory, for a worker would die of what its sampler or pruner cannot do.

    Raises ConfigError.
    """
    objectives = [OBJECTIVES[name] for name in snapshot["settings"]["objectives"]]
    library = LIBRARIES.get(_named(snapshot, "sampler"))
    if library is not None:
        check_installed(f"hydra/sweeper/sampler={library}", library, package=library, extra=library)
    kind = "pruner"
    try:
        with _quiet():
            pruner = pruner_of(snapshot)
            kind = "sampler"
            sampler = sampler_of(snapshot, "rehearsal")
            if is_grid(snapshot) and space_of(snapshot).points(known.get) is None:
                raise ValueError("a grid has no end where a range has no steps: range(…) or choice(…) for interval(…)")
            study = optuna.create_study(
                directions=[objective.direction for objective in objectives], sampler=sampler, pruner=pruner
            )
            for _ in range(PREFLIGHT_PROPOSALS):
                kind = "sampler"
                trial = study.ask()
                space_of(snapshot).suggest(trial, known.get)
                if len(objectives) == 1:
                    kind = "pruner"
                    trial.report(objectives[0].worst, step=1)
                    trial.should_prune()
                kind = "sampler"
                study.tell(trial, [objective.worst for objective in objectives])
    except Exception as error:
        named = _named(snapshot, kind)
        raise ConfigError([f"hydra/sweeper/{kind} must be one that works here, got {named}: {error}"]) from error


def _named(snapshot: ConfigSnapshot, kind: str) -> str:
    name: str = snapshot["settings"][kind]["_target_"].rpartition(".")[2]
    return name


@contextmanager
def _quiet() -> Iterator[None]:
    """The workers will warn of what is to be warned of."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)


def _values(distribution: BaseDistribution) -> list[Any]:
    """All choices, or of a range its lower end."""
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return [distribution.low]
