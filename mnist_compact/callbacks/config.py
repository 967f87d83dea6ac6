"""Options of experiment trackers. A tracker is a `Callback` and the config class that builds it.

To add one, add a module with the callback, its config class, an entry in CALLBACKS and a file in conf/tracker. The
choice of a tracker does not change a run, so records do not hold it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from mnist_compact.callbacks.base import Callback, SafeCallback
from mnist_compact.common.errors import ConfigError, check_installed

TENSORBOARD = "tensorboard"  # its folder in a run's
MLFLOW = "mlflow.json"  # in a run's folder: where MLflow keeps the run, and under which id


@dataclass(kw_only=True, slots=True)
class CallbackConfig:
    """Base of every tracker option."""

    name: str

    def check(self) -> None:
        """Raises ConfigError for what is not installed."""

    def callbacks(self, folder: Path) -> list[Callback]:
        """Those that look on at the run in `folder`. Raises ConfigError, as `check`."""
        raise NotImplementedError

    @classmethod
    def existing_callbacks(cls, folder: Path) -> list[Callback]:
        """Those that looked on at the run in `folder` before. What is not installed here is said, and left out."""
        return []


@dataclass(kw_only=True, slots=True)
class NoCallbackConfig(CallbackConfig):
    def callbacks(self, folder: Path) -> list[Callback]:
        return []


@dataclass(kw_only=True, slots=True)
class TensorBoardConfig(CallbackConfig):
    def check(self) -> None:
        check_installed(f"tracker={self.name}", self.name, package=self.name, extra=self.name)

    def callbacks(self, folder: Path) -> list[Callback]:
        self.check()
        from mnist_compact.callbacks.tensorboard import TensorBoardTracker

        return [SafeCallback(f"tracker={self.name}", TensorBoardTracker(folder / TENSORBOARD))]

    @classmethod
    def existing_callbacks(cls, folder: Path) -> list[Callback]:
        if not (folder / TENSORBOARD).is_dir():
            return []
        return _if_installed(cls(name="tensorboard"), folder)


@dataclass(kw_only=True, slots=True)
class MLflowConfig(CallbackConfig):
    uri: str | None = None  # of its store; null = $MLFLOW_TRACKING_URI, or what MLflow takes by itself
    experiment: str = "mnist_compact"  # of MLflow, that its runs are filed under

    def check(self) -> None:
        check_installed(f"tracker={self.name}", self.name, package=self.name, extra=self.name)

    def callbacks(self, folder: Path) -> list[Callback]:
        self.check()
        from mnist_compact.callbacks.mlflow import MLflowTracker

        return [SafeCallback(f"tracker={self.name}", MLflowTracker(folder / MLFLOW, self.uri, self.experiment))]

    @classmethod
    def existing_callbacks(cls, folder: Path) -> list[Callback]:
        if not (folder / MLFLOW).exists():
            return []
        return _if_installed(cls(name="mlflow"), folder)


CALLBACKS: dict[str, type[CallbackConfig]] = {
    "none": NoCallbackConfig,
    "tensorboard": TensorBoardConfig,
    "mlflow": MLflowConfig,
}


def _if_installed(tracker: CallbackConfig, folder: Path) -> list[Callback]:
    try:
        return tracker.callbacks(folder)
    except ConfigError as error:
        print(f"the run goes on untracked: {error}", file=sys.stderr)
        return []


def existing_callbacks(folder: Path) -> list[Callback]:
    """The trackers that looked on at the run in `folder` before, for its continuation."""
    return [tracker for kind in CALLBACKS.values() for tracker in kind.existing_callbacks(folder)]
