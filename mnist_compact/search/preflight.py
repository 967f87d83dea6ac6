"""Preflight checks of a search: report every configuration error before the study is created."""

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
from mnist_compact.config.sweeper import WorkerEngine
from mnist_compact.records.discovery import is_below
from mnist_compact.search.branches import Conditions, Parameter
from mnist_compact.search.builders import is_grid, pruner_of, sampler_of
from mnist_compact.search.consistency import check_space
from mnist_compact.search.counts import CONSTRAINTS
from mnist_compact.search.objectives import OBJECTIVES
from mnist_compact.search.prior import LEARNING, prior_trials
from mnist_compact.search.remote_workers import check_remote
from mnist_compact.search.slurm import check_slurm
from mnist_compact.search.snapshot import Composer, ConfigSnapshot
from mnist_compact.search.space import SearchSpace
from mnist_compact.search.storage_urls import rule_broken_by, shown

PREFLIGHT_PROPOSALS = 3  # several, because the first proposals of many samplers are random
LIBRARIES = {"CmaEsSampler": "cmaes"}  # imported by the sampler at its first proposal that is not random


def check_settings(config: DictConfig) -> None:
    """Check the ranges of `hydra.sweeper`.

    Raises:
        ConfigError: It names every key that is out of range.
    """
    sweeper, validator, known = config.hydra.sweeper, Validator("hydra.sweeper"), ", ".join(OBJECTIVES)
    for name in sweeper.objectives:
        validator.check(name in OBJECTIVES, "objectives", f"must be one of {known}", name)
    distinct = len(set(sweeper.objectives)) == len(sweeper.objectives)
    validator.check(distinct, "objectives", "must name each objective once", [*sweeper.objectives])
    validator.check(bool(sweeper.objectives), "objectives", f"must name at least one of {known}", [])
    minima = {
        "n_trials": 1,
        "n_jobs": 0,
        "rank_top": 0,
        "ray_cpus": 1,
        "target_trials": 1,
        "max_failures": 0,
        "max_refusals": 1,
    }
    for key, minimum in minima.items():
        validator.check(sweeper[key] >= minimum, key, f"must be at least {minimum}", sweeper[key])
    limit, target, name = sweeper.time_limit_minutes, sweeper.target, sweeper.study_name
    validator.check(limit is None or limit > 0, "time_limit_minutes", "must be above 0", limit)
    validator.check(target is None or len(sweeper.objectives) < 2, "target", "needs a single objective", target)
    for objective in sweeper.objectives if target is not None and len(sweeper.objectives) == 1 else ():
        if objective in OBJECTIVES:
            target_rule = f"{OBJECTIVES[objective].rule_of_target()} for {objective}"
            validator.check(OBJECTIVES[objective].can_be_passed(target), "target", target_rule, target)
    ranks = sweeper.rank_top > 0
    validator.check(not ranks or len(sweeper.objectives) < 2, "rank_top", "needs a single objective", sweeper.rank_top)
    is_local = sweeper.workers is WorkerEngine.local
    validator.check(not ranks or is_local, "rank_top", "needs workers=local, whose machine ranks", sweeper.rank_top)
    sampler = sweeper.sampler._target_.rpartition(".")[2]
    prior_rule = "needs hydra/sweeper/sampler=tpe_joint, tpe or gp, because other samplers ignore prior trials"
    validator.check(not sweeper.prior or sampler in LEARNING, "prior", prior_rule, sampler)
    distinct = len(set(sweeper.prior)) == len(sweeper.prior)
    validator.check(distinct, "prior", "must name each study once", [*sweeper.prior])
    within = name is None or is_below(name)
    validator.check(within, "study_name", f"must be the name of a folder in {sweeper.folder}", name)
    rule = None if sweeper.storage is None else rule_broken_by(sweeper.storage)
    validator.check(rule is None, "storage", rule or "", shown(sweeper.storage or ""))
    if sweeper.workers is WorkerEngine.slurm:
        check_slurm(sweeper, validator)
    if sweeper.workers is WorkerEngine.ray:
        check_remote(sweeper, validator)
    is_share = 0 <= sweeper.ray_gpus <= 1 or (sweeper.ray_gpus > 1 and sweeper.ray_gpus % 1 == 0)
    validator.check(is_share, "ray_gpus", "must be 0, a share below 1, or a whole number", sweeper.ray_gpus)
    primary = config.hydra.job.config_name
    if primary != "config":
        validator.found.append(
            f"--config-name must be left out, because a search always composes config.yaml, got {primary}"
        )
    validator.raise_if_any()


def check_keys(composer: Composer, snapshot: ConfigSnapshot, space: SearchSpace) -> None:
    """Compose every searched value at least once, and check that the space does not contradict itself.

    Every searched key and option must exist wherever its branch is active, and no configuration may score on the test
    split. A configuration over the budget of epochs is refused as a proposal later, unless all of them are over it.

    Raises:
        ConfigError: A key or option does not exist, or the space contradicts itself.
    """
    violations = list[str]()
    check_space(space, snapshot["arguments"], composer.known().get)
    branched: list[tuple[str, tuple[Parameter, ...], Conditions]] = [
        (f"branches.{branch.name}.params", branch.parameters, conditions)
        for branch in space.branches
        for conditions in space.condition_sets(branch)
    ]
    for name, parameters, when in [("params", space.parameters, {}), *branched]:
        values = {parameter.key: _values(parameter.distribution) for parameter in parameters}
        indices = range(max(map(len, values.values()), default=0))  # every value is composed once per condition
        for chosen, index in product(product(*when.values()), indices):
            condition = [f"{key}={value}" for key, value in zip(when, chosen, strict=True)]
            point = [f"{key}={options[index % len(options)]}" for key, options in values.items()]
            try:
                violations.append(_budget_violation(composer.composed([*condition, *point])))
            except Exception as error:
                raise ConfigError([f"hydra.sweeper.{name}: {explain(error) or error}"]) from error
    if violations and all(violations):
        raise ConfigError([violations[0]])


def _budget_violation(composed: DictConfig) -> str:
    """Explain why this number of epochs violates the budget; empty if it does not."""
    budget: Any = OmegaConf.to_object(composed.budget)
    try:
        budget.check(parameters=0, epochs=composed.train.epochs)
    except ConfigError as error:
        return str(error)
    return ""


def preflight(snapshot: ConfigSnapshot, space: SearchSpace, known: dict[str, Any]) -> None:
    """Let the sampler and the pruner handle a few trials in memory, so that they cannot fail later in a worker.

    Raises:
        ConfigError: The sampler or the pruner cannot handle this search space.
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
            sampler = sampler_of(snapshot, "rehearsal", prior_trials(snapshot, space))
            if is_grid(snapshot) and space.points(known.get) is None:
                raise ValueError("a grid needs finite parameters: use range(…) or choice(…) instead of interval(…)")
            study = optuna.create_study(
                directions=[objective.direction for objective in objectives], sampler=sampler, pruner=pruner
            )
            for _ in range(PREFLIGHT_PROPOSALS):
                kind = "sampler"
                trial = study.ask()
                space.suggest(trial, known.get)
                if len(objectives) == 1:
                    kind = "pruner"
                    trial.report(objectives[0].worst, step=1)
                    trial.should_prune()
                kind = "sampler"
                for name in CONSTRAINTS:
                    trial.set_constraint(name, 0)
                study.tell(trial, [objective.worst for objective in objectives])
    except Exception as error:
        named = _named(snapshot, kind)
        raise ConfigError([f"hydra/sweeper/{kind} must support this search space, got {named}: {error}"]) from error


def _named(snapshot: ConfigSnapshot, kind: str) -> str:
    name: str = snapshot["settings"][kind]["_target_"].rpartition(".")[2]
    return name


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress Optuna's warnings here; the workers print them."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)


def _values(distribution: BaseDistribution) -> list[Any]:
    """Return all choices of a categorical distribution, or the lower end of a range."""
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return [distribution.low]
