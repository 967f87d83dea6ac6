"""The tree of all configs, its registration with Hydra, and the ways between Hydra, plain dataclasses and records."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_compact.data.configs import AUGMENTS, DATA, AugmentConfig, DataConfig
from mnist_compact.faults import ConfigError, nearest
from mnist_compact.model.configs import MODELS, ModelConfig
from mnist_compact.results.upgrades import with_machine
from mnist_compact.tracking import TRACKERS, TrackerConfig
from mnist_compact.training.configs import BUDGETS, MACHINES, TRAINS, BudgetConfig, MachineConfig, TrainConfig
from mnist_compact.training.optimizers import OPTIMIZERS, OptimConfig
from mnist_compact.training.schedules import SCHEDULERS, SchedulerConfig
from mnist_compact.unfit import beyond_tables, unknown_keys

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from mnist_compact.data.datasets import Datasets

# Group → kind → class. An option names its kind by the schema in its defaults list; several options may share one.
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
SCHEMAS: dict[str, dict[str, type[Any]]] = {**GROUPS, "tracker": dict(TRACKERS)}  # what options can stand on


@dataclasses.dataclass(kw_only=True, slots=True)
class RunConfig:
    """Everything one run is determined by, versions aside; `machine` says where it is computed."""

    data: DataConfig
    model: ModelConfig
    augment: AugmentConfig
    optim: OptimConfig
    scheduler: SchedulerConfig
    train: TrainConfig
    budget: BudgetConfig
    machine: MachineConfig
    seed: int = 0
    experiment: str | None = None  # name of the delta in conf/experiment, if one was used

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
        """The images, from where this machine has them."""
        return self.data.load(announce, self.machine.data_root)

    def _repr_html_(self) -> str:
        from mnist_compact.results.rendering import settings_to_html

        return settings_to_html(to_record(self))


@dataclasses.dataclass(kw_only=True, slots=True)
class Composition(RunConfig):
    """What conf/ composes: a run, and who looks on at it."""

    tracker: TrackerConfig  # without a default: its class would be the only one that OmegaConf lets in


def configuration_folder() -> Path:
    """conf/ of the checkout or, in an installed wheel, the copy inside the package."""
    package = Path(__file__).resolve().parent
    for folder in (package / "conf", package.parent / "conf"):
        if (folder / "config.yaml").is_file():
            return folder
    raise FileNotFoundError(f"no conf/config.yaml in or beside {package}")


def register() -> None:
    """Tell Hydra the schemas: /schema for the tree and /schema/<group>/<kind> for the options to build on."""
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    store.store(name="schema", node=Composition, replace=True)
    for group, kinds in SCHEMAS.items():
        for kind, cls in kinds.items():
            store.store(group=f"schema/{group}", name=kind, node=cls, replace=True)


def to_run_config(cfg: DictConfig) -> RunConfig:
    """Plain dataclasses from a composed configuration. Raises ConfigError naming every fault of every group."""
    from omegaconf import OmegaConf
    from omegaconf.errors import MissingMandatoryValue

    # Any of them would make the conversion below fail in words of its own.
    if faults := _missing_groups(cfg) or unknown_keys(cfg):
        raise ConfigError(faults)
    parts: dict[str, Any] = {"seed": cfg.seed, "experiment": cfg.experiment}
    faults = beyond_tables("seed", cfg.seed)
    for group in GROUPS:
        try:
            parts[group] = OmegaConf.to_object(cfg[group])
            faults += beyond_tables(group, dataclasses.asdict(parts[group]))
        except ConfigError as error:
            faults += error.faults
        except MissingMandatoryValue as error:
            faults.append(f"{error.full_key or group} must be given, got ???")
    if faults:
        raise ConfigError(faults)
    return RunConfig(**parts)


def tracker_of(cfg: DictConfig) -> TrackerConfig:
    """Who looks on at the run of a composed configuration."""
    from omegaconf import OmegaConf

    tracker: TrackerConfig = OmegaConf.to_object(cfg.tracker)  # type: ignore[assignment]
    return tracker


def machine_of(cfg: DictConfig) -> MachineConfig:
    """What the run of a composed configuration is computed on. Raises ConfigError for what is out of range."""
    from omegaconf import OmegaConf

    machine: MachineConfig = OmegaConf.to_object(cfg.machine)  # type: ignore[assignment]
    return machine


def rule_of(group: str) -> str:
    """Which options a group has, in the words of a refusal."""
    folder = configuration_folder() / group
    return f"{group} must be one of {', '.join(sorted(path.stem for path in folder.glob('*.yaml')))}"


def _missing_groups(cfg: DictConfig) -> list[str]:
    """What `~group` has taken away."""
    from omegaconf import OmegaConf

    return [f"{rule_of(group)}, got nothing" for group in SCHEMAS if OmegaConf.is_missing(cfg, group)]


def check_names(run: RunConfig, choices: Mapping[str, Any]) -> None:
    """An option's file must carry its own name: it is how records and reports tell options apart."""
    faults = []
    for group in (*GROUPS, "experiment"):
        part = getattr(run, group)
        name = part if group == "experiment" else part.name
        choice = choices.get(group)
        if group == "experiment" and name is None and choice is not None:  # Hydra passes over an optional file
            named = [path.stem for path in (configuration_folder() / group).glob("*.yaml")]
            faults.append(
                f"experiment={choice} does not exist, or its file does not say 'experiment: {choice}'."
                f"{nearest(choice, named)}"
            )
        elif choice is None and group != "experiment":  # which Hydra says of a list
            faults.append(f"{rule_of(group)}, got several")
        elif name != choice:
            key = "experiment" if group == "experiment" else f"{group}.name"
            faults.append(f"{key} must be {choice!r}, the option's name, got {name!r}")
    if faults:
        raise ConfigError(faults)


def to_record(run: RunConfig) -> dict[str, Any]:
    """Plain JSON values; each group carries its kind beside its settings."""
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


def from_record(record: Mapping[str, Any]) -> RunConfig:
    """The run a record describes, of whatever version, without conf/, Hydra or network.

    Raises ConfigError for one that is not whole.
    """
    record = with_machine(record)
    parts: dict[str, Any] = {}
    faults: list[str] = []
    seed, experiment = record.get("seed"), record.get("experiment")
    if type(seed) is not int:
        faults.append(f"seed must be a whole number, got {seed!r}")
    if not isinstance(experiment, str | None):
        faults.append(f"experiment must be a name or null, got {experiment!r}")
    for group in GROUPS:
        try:
            parts[group] = part_from_record(group, record.get(group, {}))
        except ConfigError as error:
            faults += error.faults
    if faults:
        raise ConfigError(faults)
    return RunConfig(**parts, seed=seed, experiment=experiment)  # type: ignore[arg-type]


def part_from_record(group: str, recorded: Mapping[str, Any]) -> Any:
    """One group's config, as `from_record`."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    if not isinstance(recorded, Mapping):
        raise ConfigError([f"{group} must be a mapping, got {recorded!r}"])
    settings = dict(recorded)
    kind, kinds = settings.pop("kind", None), GROUPS[group]
    if kind not in kinds:
        raise ConfigError([f"{group}.kind must be one of {', '.join(kinds)}, got {kind!r}"])
    try:
        return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(kinds[kind]), settings))
    except OmegaConfBaseException as error:
        raise ConfigError([f"{group}: {str(error).splitlines()[0]}"]) from error
