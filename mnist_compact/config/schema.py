"""The schema of the whole configuration, its registration with Hydra, and its form in a run record."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_compact.callbacks.config import CALLBACKS
from mnist_compact.common.errors import ConfigError
from mnist_compact.data.config import AUGMENTS, DATA, AugmentConfig, DataConfig
from mnist_compact.models.config import MODELS
from mnist_compact.models.model_config import ModelConfig
from mnist_compact.optim.optimizers import OPTIMIZERS, OptimConfig
from mnist_compact.optim.schedules import SCHEDULERS, SchedulerConfig
from mnist_compact.training.config import BUDGETS, MACHINES, TRAINS, BudgetConfig, MachineConfig, TrainConfig

if TYPE_CHECKING:
    from mnist_compact.data.datasets import Datasets

# Group → kind → class. The schema in an option's defaults list names its kind; several options may share a kind.
GROUPS: dict[str, dict[str, type[Any]]] = {
    "data": dict(DATA),
    "model": dict(MODELS),
    "augment": dict(AUGMENTS),
    "optim": dict(OPTIMIZERS),
    "scheduler": dict(SCHEDULERS),
    "train": dict(TRAINS),
    "budget": dict(BUDGETS),
    "machine": dict(MACHINES),
}
SCHEMAS: dict[str, dict[str, type[Any]]] = {**GROUPS, "callbacks": dict(CALLBACKS)}  # what options can build on


@dataclasses.dataclass(kw_only=True, slots=True)
class RunConfig:
    """Everything that determines a run, except software versions. `machine` only determines where it is computed."""

    data: DataConfig  # training and evaluation images
    model: ModelConfig  # the network
    augment: AugmentConfig  # augmentation of the training images
    optim: OptimConfig  # the optimizer
    scheduler: SchedulerConfig  # the learning-rate schedule
    train: TrainConfig  # epochs, batch size, label smoothing, weight averaging, precision
    budget: BudgetConfig  # limits of the run
    machine: MachineConfig  # device, threads and folder of the images
    seed: int = 0  # seed of weights, order, augmentation and dropout, at least 0
    experiment: str | None = None  # name of the file in conf/experiment; null = none

    def __post_init__(self) -> None:
        faults = []
        if self.seed < 0:
            faults.append(f"seed must be at least 0, got {self.seed}")
        if self.train.batch_size > self.data.train_size:
            faults.append(
                f"train.batch_size must be at most the {self.data.train_size:,} training images, "
                f"got {self.train.batch_size}"
            )
        if self.augment.ease_off_epochs > self.train.epochs:
            faults.append(
                f"augment.ease_off_epochs must be at most train.epochs = {self.train.epochs}, "
                f"got {self.augment.ease_off_epochs}"
            )
        if self.train.average_epochs > self.train.epochs:
            faults.append(
                f"train.average_epochs must be at most train.epochs = {self.train.epochs}, "
                f"got {self.train.average_epochs}"
            )
        if faults:
            raise ConfigError(faults)

    def load_data(self, announce: Callable[[str], None]) -> Datasets:
        """Load the images from this machine's folder.

        Args:
            announce: Receives a sentence when something takes time, such as a download.
        """
        return self.data.load(announce, self.machine.data_root)

    def _repr_html_(self) -> str:
        from mnist_compact.common.tables import settings_to_html

        return settings_to_html(to_record(self))


@dataclasses.dataclass(kw_only=True, slots=True)
class Composition(RunConfig):
    """What conf/ composes: a run and its callbacks."""

    # Name → config of the callback. An entry without a config class, added by `+callbacks.<name>.path=…`, is custom.
    callbacks: dict[str, Any] = dataclasses.field(default_factory=dict)


def configuration_folder() -> Path:
    """Return conf/ of the checkout or, in an installed wheel, the copy inside the package."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "conf", package.parent / "conf"):
        if (folder / "config.yaml").is_file():
            return folder
    raise FileNotFoundError(f"no conf/config.yaml in or beside {package}")


def sweeps_folder() -> Path:
    """Return sweeps/ of the checkout or, in an installed wheel, the copy inside the package."""
    package = Path(__file__).resolve().parents[1]
    places = package / "sweeps", package.parent / "sweeps"
    return next((folder for folder in places if any(folder.glob("*.yaml"))), places[0])


def register() -> None:
    """Register the schemas with Hydra: /schema for the whole, and /schema/<group>/<kind> for the options."""
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    store.store(name="schema", node=Composition, replace=True)
    for group, kinds in SCHEMAS.items():
        for kind, cls in kinds.items():
            store.store(group=f"schema/{group}", name=kind, node=cls, replace=True)


def options_rule(group: str) -> str:
    """Return the rule of an error message that lists the options of a group."""
    folder = configuration_folder() / group
    return f"{group} must be one of {', '.join(sorted(path.stem for path in folder.glob('*.yaml')))}"


def to_record(run: RunConfig) -> dict[str, Any]:
    """Convert a configuration to plain JSON values. Each group contains its kind and its settings."""
    record: dict[str, Any] = {}
    for group, kinds in GROUPS.items():
        part = getattr(run, group)
        kind = next(kind for kind, cls in kinds.items() if cls is type(part))
        record[group] = {"kind": kind, **_plain(dataclasses.asdict(part))}
    return {**record, "seed": run.seed, "experiment": run.experiment}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return value.value if isinstance(value, Enum) else value
