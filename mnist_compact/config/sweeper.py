"""What `hydra/sweeper=compact` can be told, and its options of samplers and pruners. Light: Hydra loads it always."""

from dataclasses import dataclass, field
from typing import Any

from hydra_plugins.hydra_optuna_sweeper.config import SamplerConfig
from omegaconf import MISSING


@dataclass
class PrunerConfig:
    _target_: str = MISSING


@dataclass
class NopPrunerConfig(PrunerConfig):
    _target_: str = "optuna.pruners.NopPruner"


@dataclass
class MedianPrunerConfig(PrunerConfig):
    """Stops a trial whose best score so far is below the median of those that are complete, at the same epoch."""

    _target_: str = "optuna.pruners.MedianPruner"
    n_startup_trials: int = 5  # complete before any is stopped
    n_warmup_steps: int = 5  # epochs without a verdict
    interval_steps: int = 1  # epochs from one to the next
    n_min_trials: int = 4  # with a score at that epoch


@dataclass
class HalvingPrunerConfig(PrunerConfig):
    """Successive halving: after 4, 8 … epochs one trial in `reduction_factor` goes on."""

    _target_: str = "optuna.pruners.SuccessiveHalvingPruner"
    min_resource: int = 4  # epochs to the first verdict
    reduction_factor: int = 2  # of epochs, from one verdict to the next


@dataclass
class PercentilePrunerConfig(PrunerConfig):
    """Stops a trial whose score at an epoch is outside the best `percentile` of those that are complete.

    One verdict after the first epoch: in the middle of a cycle the rates are high, and scores say less of the end than
    at its beginning; and a trial that is stopped at once has cost one epoch (figures: `benchmarks/README.md`).
    """

    _target_: str = "optuna.pruners.PercentilePruner"
    percentile: float = 50.0  # of the complete trials, in [0, 100]; a trial outside the best ones stops
    n_startup_trials: int = 5  # complete before any is stopped
    n_warmup_steps: int = 1  # the epoch of the first verdict
    interval_steps: int = 100  # epochs to the next
    n_min_trials: int = 4  # with a score at that epoch


@dataclass
class HyperbandPrunerConfig(PrunerConfig):
    """Several brackets of successive halving, which begin to stop trials at different epochs."""

    _target_: str = "optuna.pruners.HyperbandPruner"
    min_resource: int = 5  # epochs before the first decision
    max_resource: int = 15  # epochs of a trial that is not pruned
    reduction_factor: int = 3  # one trial in so many continues after each decision


@dataclass
class BranchConfig:
    """Parameters that exist only under a condition, such as an optimizer's own.

    A condition may name a key that another branch searches: it holds only where that branch is taken.
    """

    when: dict[str, Any] = field(default_factory=dict)  # key → values under which the branch is taken; all must hold
    params: dict[str, str] = field(default_factory=dict)  # key → sweep in Hydra's override grammar


@dataclass
class CompactSweeperConfig:
    """`hydra.sweeper`. The first eight and `enqueue` may differ when a study is continued; the rest may not."""

    _target_: str = "mnist_compact.hydra_ext.search_sweeper.CompactSweeper"
    defaults: list[Any] = field(default_factory=lambda: [{"sampler": "tpe_joint"}, {"pruner": "none"}])

    n_trials: int = 60  # that train and end, well or badly; refused proposals do not count
    n_jobs: int = 0  # worker processes; 0 = one a core
    target: float | None = None  # stop once a score is above it …
    target_trials: int = 1  # … in so many trials
    time_limit_minutes: float | None = None  # of this call
    max_failures: int = 10  # failed trials, over the whole study, after which the search stops
    max_refusals: int = 500  # proposals refused in a row after which the search stops
    storage: str | None = None  # Optuna URL or journal:///path; null = SQLite in the study's folder
    study_name: str | None = None  # null = the name of the question, or search_<what is searched, hashed>
    folder: str = "outputs/sweeps"  # studies lie in it, each in a folder of its name

    sampler: SamplerConfig = MISSING  # chosen by hydra/sweeper/sampler=NAME
    pruner: PrunerConfig = MISSING  # chosen by hydra/sweeper/pruner=NAME
    seed: int = 0  # of the sampler, with the number of trials there are
    objectives: list[str] = field(default_factory=lambda: ["accuracy"])  # accuracy, loss, parameters, macs
    params: dict[str, str] = field(default_factory=dict)  # key → sweep in Hydra's override grammar
    branches: dict[str, BranchConfig] = field(default_factory=dict)  # name → conditional parameters
    enqueue: list[dict[str, Any]] = field(
        default_factory=list
    )  # points to try first: key → value or null, or run: folder


CONTINUABLE = {
    *("n_trials", "n_jobs", "target", "target_trials", "time_limit_minutes", "max_failures", "max_refusals", "storage"),
    "enqueue",  # what a study does not have yet is added to it
}
