"""Conversion of composed configurations and of run records to plain dataclasses."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mnist_compact.callbacks.config import CallbackConfig, CustomConfig, check_callbacks
from mnist_compact.common.errors import ConfigError, nearest
from mnist_compact.config.schema import GROUPS, SCHEMAS, RunConfig, configuration_folder, options_rule
from mnist_compact.config.validation import beyond_tables, unknown_key, unknown_keys
from mnist_compact.records.migrations import with_machine
from mnist_compact.training.config import MachineConfig

if TYPE_CHECKING:
    from omegaconf import DictConfig


def to_run_config(cfg: DictConfig) -> RunConfig:
    """Convert a composed configuration to plain dataclasses.

    Raises:
        ConfigError: The configuration is wrong. The message names every error of every group.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import MissingMandatoryValue

    # With such errors the conversion below would fail with a less helpful message.
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


def callbacks_of(cfg: DictConfig) -> dict[str, CallbackConfig]:
    """Return the callbacks of a composed configuration by name.

    Raises:
        ConfigError: Names every callback that is not configured correctly or cannot be imported.
    """
    callbacks, faults = {}, list[str]()
    for name, node in cfg.callbacks.items_ex(resolve=False):
        try:
            callbacks[str(name)] = _callback(f"callbacks.{name}", node)
        except ConfigError as error:
            faults += error.faults
    try:
        check_callbacks(callbacks)
    except ConfigError as error:
        faults += error.faults
    if faults:
        raise ConfigError(faults)
    return callbacks


def _callback(key: str, node: Any) -> CallbackConfig:
    from omegaconf import DictConfig, OmegaConf
    from omegaconf.errors import ConfigAttributeError, ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException

    if not isinstance(node, DictConfig) or node._is_none():
        raise ConfigError([f"{key} must be a mapping, got {node}: write +{key}.path=<module>.<class>"])
    settings: Any = node
    try:
        if not dataclasses.is_dataclass(OmegaConf.get_type(node)):
            settings = OmegaConf.merge(OmegaConf.structured(CustomConfig), node)
        config: CallbackConfig = OmegaConf.to_object(settings)  # type: ignore[assignment]
        return config
    except (ConfigAttributeError, ConfigKeyError) as error:
        known = [field.name for field in dataclasses.fields(CustomConfig)]
        raise ConfigError([unknown_key(f"{key}.{error.key}", known)]) from error
    except MissingMandatoryValue as error:
        raise ConfigError([f"{key}.path must be given as <module>.<class>, got nothing"]) from error
    except OmegaConfBaseException as error:
        raise ConfigError([f"{key}: {str(error).splitlines()[0]}"]) from error


def machine_of(cfg: DictConfig) -> MachineConfig:
    """Return the machine settings of a composed configuration.

    Raises:
        ConfigError: A value is out of range.
    """
    from omegaconf import OmegaConf

    machine: MachineConfig = OmegaConf.to_object(cfg.machine)  # type: ignore[assignment]
    return machine


def _missing_groups(cfg: DictConfig) -> list[str]:
    """Return errors for groups that `~group` has removed."""
    from omegaconf import OmegaConf

    return [f"{options_rule(group)}, got nothing" for group in SCHEMAS if OmegaConf.is_missing(cfg, group)]


def check_names(run: RunConfig, choices: Mapping[str, Any]) -> None:
    """Check that every option's file contains its own name, by which records and reports distinguish options.

    Args:
        run: The configuration.
        choices: The option of each group, as Hydra records them.

    Raises:
        ConfigError: A name differs from the option, or a group has several options.
    """
    faults = []
    for group in (*GROUPS, "experiment"):
        part = getattr(run, group)
        name = part if group == "experiment" else part.name
        choice = choices.get(group)
        if (
            group == "experiment" and name is None and choice is not None
        ):  # Hydra ignores an optional file that is missing
            named = [path.stem for path in (configuration_folder() / group).glob("*.yaml")]
            faults.append(
                f"experiment={choice} does not exist, or its file lacks the line 'experiment: {choice}'."
                f"{nearest(choice, named)}"
            )
        elif choice is None and group != "experiment":  # Hydra's value for a list of options
            faults.append(f"{options_rule(group)}, got several")
        elif name != choice:
            key = "experiment" if group == "experiment" else f"{group}.name"
            faults.append(f"{key} must be {choice!r}, the option's name, got {name!r}")
    if faults:
        raise ConfigError(faults)


def from_record(record: Mapping[str, Any]) -> RunConfig:
    """Return the configuration in a run record of any version. This needs neither conf/ nor Hydra.

    Raises:
        ConfigError: The record is incomplete or wrong.
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
    """Return the config of one group, as `from_record` does for all groups."""
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
