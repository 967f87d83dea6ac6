"""Options of the config group `callbacks`, and the construction of a run's callbacks from options and Python arguments.

To add an option, add a module with the `Callback`, its config class, an entry in CALLBACKS and a file in
conf/callbacks. Callbacks are not part of a run's identity. They are stored in a file of their own, not in the record.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from mnist_compact.callbacks.callback import Callback, RunInfo, SafeCallback
from mnist_compact.common.atomic import replacing
from mnist_compact.common.bounded_read import read_json
from mnist_compact.common.errors import ConfigError, check_installed
from mnist_compact.common.run_files import CALLBACKS as FILE

TENSORBOARD = "tensorboard"  # its folder in the run folder
MLFLOW = "mlflow.json"  # in the run folder: the store and the id of the run in MLflow


@dataclass(kw_only=True, slots=True)
class CallbackConfig:
    """Base of every callback option."""

    def check(self, key: str) -> None:
        """Check that the callback can be imported.

        Args:
            key: Names the callback in messages, for instance callbacks.mlflow.

        Raises:
            ConfigError: A library, a module or a class is missing.
        """
        raise NotImplementedError

    def build(self, folder: Path) -> Callback:
        """Create the callback for the run in `folder`."""
        raise NotImplementedError


@dataclass(kw_only=True, slots=True)
class TensorBoardConfig(CallbackConfig):
    def check(self, key: str) -> None:
        check_installed(key, "tensorboard", package="tensorboard", extra="tensorboard")

    def build(self, folder: Path) -> Callback:
        from mnist_compact.callbacks.tensorboard import TensorBoardCallback

        return TensorBoardCallback(folder / TENSORBOARD)


@dataclass(kw_only=True, slots=True)
class MLflowConfig(CallbackConfig):
    uri: str | None = None  # URI of the tracking store; null = $MLFLOW_TRACKING_URI, or MLflow's own default
    experiment: str = "mnist_compact"  # name of the experiment in MLflow that the runs belong to

    def check(self, key: str) -> None:
        check_installed(key, "mlflow", package="mlflow", extra="mlflow")

    def build(self, folder: Path) -> Callback:
        from mnist_compact.callbacks.mlflow import MLflowCallback

        return MLflowCallback(folder / MLFLOW, self.uri, self.experiment)


@dataclass(kw_only=True, slots=True)
class CustomConfig(CallbackConfig):
    """A user's own callback."""

    path: str  # <module>.<class>, imported from the working folder or sys.path; a subclass of Callback
    arguments: dict[str, Any] = field(default_factory=dict)  # keyword arguments of the class

    def check(self, key: str) -> None:
        try:
            inspect.signature(self._class(key)).bind(**self.arguments)
        except TypeError as error:
            raise ConfigError([f"{key}.arguments must fit {self.path}, got {self.arguments} ({error})"]) from error

    def build(self, folder: Path) -> Callback:
        return self._class("path")(**self.arguments)

    def _class(self, key: str) -> type[Callback]:
        module, _, name = self.path.rpartition(".")
        if not module:
            raise ConfigError([f"{key}.path must be of the form <module>.<class>, got {self.path!r}"])
        if os.getcwd() not in sys.path:  # the console script's sys.path lacks the working folder
            sys.path.append(os.getcwd())
        try:
            found = getattr(import_module(module), name)
        except Exception as error:  # the module runs while it is imported, and may raise anything
            raise ConfigError(
                [f"{key}.path must be a class that can be imported, got {self.path} ({error})"]
            ) from error
        if not (isinstance(found, type) and issubclass(found, Callback)):
            raise ConfigError([f"{key}.path must be a subclass of mnist_compact.Callback, got {self.path}"])
        return found


CALLBACKS: dict[str, type[CallbackConfig]] = {
    "tensorboard": TensorBoardConfig,
    "mlflow": MLflowConfig,
    "custom": CustomConfig,
}


def check_callbacks(configs: Mapping[str, CallbackConfig]) -> None:
    """Raise ConfigError that names every callback which cannot be imported."""
    faults = []
    for name, config in configs.items():
        try:
            config.check(f"callbacks.{name}")
        except ConfigError as error:
            faults += error.faults
    if faults:
        raise ConfigError(faults)


def build_callbacks(configs: Mapping[str, CallbackConfig], folder: Path) -> list[Callback]:
    """Create the callbacks of the run in `folder`, which never abort it.

    A callback that cannot be created is named on stderr and left out. The configs are stored in the run folder for a
    continuation.
    """
    built: list[Callback] = []
    for name, config in configs.items():
        key = f"callbacks.{name}"
        try:
            config.check(key)
            built.append(SafeCallback(key, config.build(folder)))
        except Exception as error:
            print(f"{key} is left out, and the run continues without it: {error}", file=sys.stderr)
    return [SafeCallback(FILE, _StoreConfigs(configs)), *built] if configs else []


class _StoreConfigs(Callback):
    """Stores the configs of callbacks in the run folder once it exists."""

    def __init__(self, configs: Mapping[str, CallbackConfig]) -> None:
        kinds = {cls: kind for kind, cls in CALLBACKS.items()}
        self.entries = {
            name: {"kind": kinds[type(config)], **dataclasses.asdict(config)} for name, config in configs.items()
        }

    def on_run_start(self, info: RunInfo) -> None:
        with replacing(info.folder / FILE) as path:
            path.write_text(json.dumps(self.entries, indent=1) + "\n", encoding="utf-8")


def stored_callbacks(folder: Path) -> dict[str, CallbackConfig]:
    """Return the callbacks that the run in `folder` had, by name. A damaged file is named on stderr."""
    path = folder / FILE
    try:
        entries = read_json(path) if path.exists() else {}
        return {name: CALLBACKS[entry.pop("kind")](**entry) for name, entry in entries.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        print(f"{path} cannot be read, and the run continues without callbacks: {error!r}", file=sys.stderr)
        return {}


def named_callbacks(names: Sequence[str]) -> dict[str, CallbackConfig]:
    """Return callbacks by the names that Python arguments and `--callback` accept.

    Args:
        names: Each is tensorboard, mlflow or the import path of a subclass of `Callback`, as in my_module.MyCallback.

    Raises:
        ConfigError: A name is none of these, or the callback cannot be imported.
    """
    configs: dict[str, CallbackConfig] = {}
    faults = []
    for name in names:
        if isinstance(name, str) and "." in name:
            configs[name] = CustomConfig(path=name)
        elif name in ("tensorboard", "mlflow"):
            configs[name] = CALLBACKS[name]()
        else:
            faults.append(f"callbacks must be tensorboard, mlflow or import paths <module>.<class>, got {name!r}")
    if faults:
        raise ConfigError(faults)
    check_callbacks(configs)
    return configs
