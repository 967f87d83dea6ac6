"""The settings of `hydra/sweeper=compact`, its samplers and its pruners. Hydra imports this module at every start."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from hydra_plugins.hydra_optuna_sweeper.config import SamplerConfig
from omegaconf import MISSING


class WorkerEngine(Enum):
    """What starts the workers of a search."""

    local = "local"  # the search itself, as processes of its machine
    slurm = "slurm"  # the scheduler of a cluster, as tasks of a job array
    ray = "ray"  # Ray, as one task for each worker


class RankedBy(Enum):
    """What the trials of a ranking over several seeds are sorted by."""

    accuracy = "accuracy"  # mean accuracy
    calibrated_loss = "calibrated_loss"  # mean log-loss after calibration, which differs less from seed to seed


@dataclass
class PrunerConfig:
    _target_: str = MISSING


@dataclass
class NopPrunerConfig(PrunerConfig):
    _target_: str = "optuna.pruners.NopPruner"


@dataclass
class MedianPrunerConfig(PrunerConfig):
    """Prunes a trial whose best score so far is below the median of the complete trials at the same epoch."""

    _target_: str = "optuna.pruners.MedianPruner"
    n_startup_trials: int = 5  # complete trials before any trial is pruned
    n_warmup_steps: int = 5  # epochs after which no trial is pruned
    interval_steps: int = 1  # epochs between two decisions
    n_min_trials: int = 4  # least number of complete trials with a score at the same epoch


@dataclass
class HalvingPrunerConfig(PrunerConfig):
    """Successive halving: after 4, 8 … epochs one trial in `reduction_factor` continues."""

    _target_: str = "optuna.pruners.SuccessiveHalvingPruner"
    min_resource: int = 4  # epochs before the first decision
    reduction_factor: int = 2  # factor between the epochs of two decisions


@dataclass
class PercentilePrunerConfig(PrunerConfig):
    """Prunes a trial whose score at an epoch is not within the best `percentile` of the complete trials.

    By default there is one decision, after the first epoch. In the middle of a cycle the learning rates are high, and
    scores predict the final score worse than at its start. A trial that is pruned at once has cost only one epoch.
    `benchmarks/README.md` has the figures.
    """

    _target_: str = "optuna.pruners.PercentilePruner"
    percentile: float = 50.0  # per cent of the complete trials, in [0, 100]; a trial outside the best ones stops
    n_startup_trials: int = 5  # complete trials before any trial is pruned
    n_warmup_steps: int = 1  # the epoch of the first decision
    interval_steps: int = 100  # epochs between two decisions
    n_min_trials: int = 4  # least number of complete trials with a score at the same epoch


@dataclass
class HyperbandPrunerConfig(PrunerConfig):
    """Several brackets of successive halving, which begin to stop trials at different epochs."""

    _target_: str = "optuna.pruners.HyperbandPruner"
    min_resource: int = 5  # epochs before the first decision
    max_resource: int = 15  # epochs of a trial that is not pruned
    reduction_factor: int = 3  # one trial in this many continues after each decision


@dataclass
class BranchConfig:
    """Parameters that exist only under a condition, such as those of one optimizer.

    A condition may name a key that another branch searches. It then holds only where that branch is active.
    """

    when: dict[str, Any] = field(default_factory=dict)  # key → values for which the branch is active; all must hold
    params: dict[str, str] = field(default_factory=dict)  # key → sweep in Hydra's override grammar


@dataclass
class CompactSweeperConfig:
    """The settings of a search. Those listed in `CONTINUABLE` may differ when a study is continued."""

    _target_: str = "mnist_compact.hydra_ext.search_sweeper.CompactSweeper"
    defaults: list[Any] = field(default_factory=lambda: [{"sampler": "tpe_joint"}, {"pruner": "none"}])

    n_trials: int = 60  # trials of the study that end, complete, pruned or failed; refused proposals do not count
    workers: WorkerEngine = WorkerEngine.local  # what starts the workers
    slurm_template: str | None = None  # batch script, for workers=slurm; null = mnist_compact/search/slurm.sh
    ray_address: str | None = None  # for workers=ray; null = RAY_ADDRESS if it is set, else a Ray on this machine
    ray_cpus: int = 1  # CPUs of each worker, and its threads unless machine.threads is set; for workers=ray
    ray_gpus: float = 0.0  # GPUs of each worker, which share one below 1; for workers=ray
    n_jobs: int = 0  # number of workers; 0 = one per core, only for workers=local
    target: float | None = None  # stop once the scores of `target_trials` trials are better than this; null = never
    target_trials: int = 1  # trials that must be better than `target` before the search stops
    time_limit_minutes: float | None = None  # time limit of this command; null = no limit
    rank_top: int = 0  # best trials that are trained with more seeds after the search; 0 = none, only for workers=local
    rank_by: RankedBy = RankedBy.calibrated_loss  # what these trials are sorted by
    max_failures: int = 10  # the search stops once more than this number of trials of the study have failed
    max_refusals: int = 500  # the search stops after this number of refused proposals in a row
    storage: str | None = None  # Optuna URL or journal:///path; null = SQLite in the study's folder, if workers=local
    study_name: str | None = None  # null = the name of the search question, or search_<hash of what is searched>
    folder: str = "outputs/sweeps"  # contains a folder for each study

    sampler: SamplerConfig = MISSING  # chosen by hydra/sweeper/sampler=NAME
    pruner: PrunerConfig = MISSING  # chosen by hydra/sweeper/pruner=NAME
    seed: int = 0  # seed of the sampler, combined with the number of trials so far
    objectives: list[str] = field(default_factory=lambda: ["accuracy"])  # or loss, calibrated_loss, parameters, macs
    params: dict[str, str] = field(default_factory=dict)  # key → sweep in Hydra's override grammar
    branches: dict[str, BranchConfig] = field(default_factory=dict)  # name → conditional parameters
    enqueue: list[dict[str, Any]] = field(
        default_factory=list
    )  # points to try first: key → value or null, or run: folder
    prior: list[str] = field(default_factory=list)  # earlier studies to learn from: names, or exported files


CONTINUABLE = {
    *("n_trials", "n_jobs", "target", "target_trials", "time_limit_minutes", "max_failures", "max_refusals", "storage"),
    *("rank_top", "rank_by", "workers", "slurm_template", "ray_address", "ray_cpus", "ray_gpus"),
    "enqueue",  # new points are added to the study
}
