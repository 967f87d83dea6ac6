"""Experiment trackers: they look on at a run as the terminal does. The record on disk stays the truth.

A tracker is a `Watcher` in a file here and the config class that makes it. Another, W&B say, would be one more pair, an
entry in TRACKERS and a file in conf/tracker. Which one looks on is not part of what a run is, so it is in no record.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from mnist_compact.faults import ConfigError, check_installed
from mnist_compact.onlookers import Sheltered, Watcher

TENSORBOARD = "tensorboard"  # its folder in a run's
MLFLOW = "mlflow.json"  # in a run's folder: where MLflow keeps the run, and under which id


@dataclass(kw_only=True, slots=True)
class TrackerConfig:
    """Base of every tracker option."""

    name: str

    def check(self) -> None:
        """Raises ConfigError for what is not installed."""

    def watchers(self, folder: Path) -> list[Watcher]:
        """Those that look on at the run in `folder`. Raises ConfigError, as `check`."""
        raise NotImplementedError

    @classmethod
    def begun_in(cls, folder: Path) -> list[Watcher]:
        """Those that looked on at the run in `folder` before. What is not installed here is said, and left out."""
        return []


@dataclass(kw_only=True, slots=True)
class NoTrackerConfig(TrackerConfig):
    def watchers(self, folder: Path) -> list[Watcher]:
        return []


@dataclass(kw_only=True, slots=True)
class TensorBoardConfig(TrackerConfig):
    def check(self) -> None:
        check_installed(f"tracker={self.name}", self.name, package=self.name, extra=self.name)

    def watchers(self, folder: Path) -> list[Watcher]:
        self.check()
        from mnist_compact.tracking.tensorboard import TensorBoardTracker

        return [Sheltered(f"tracker={self.name}", TensorBoardTracker(folder / TENSORBOARD))]

    @classmethod
    def begun_in(cls, folder: Path) -> list[Watcher]:
        if not (folder / TENSORBOARD).is_dir():
            return []
        return _if_installed(cls(name="tensorboard"), folder)


@dataclass(kw_only=True, slots=True)
class MLflowConfig(TrackerConfig):
    uri: str | None = None  # of its store; null = $MLFLOW_TRACKING_URI, or what MLflow takes by itself
    experiment: str = "mnist_compact"  # of MLflow, that its runs are filed under

    def check(self) -> None:
        check_installed(f"tracker={self.name}", self.name, package=self.name, extra=self.name)

    def watchers(self, folder: Path) -> list[Watcher]:
        self.check()
        from mnist_compact.tracking.mlflow import MLflowTracker

        return [Sheltered(f"tracker={self.name}", MLflowTracker(folder / MLFLOW, self.uri, self.experiment))]

    @classmethod
    def begun_in(cls, folder: Path) -> list[Watcher]:
        if not (folder / MLFLOW).exists():
            return []
        return _if_installed(cls(name="mlflow"), folder)


TRACKERS: dict[str, type[TrackerConfig]] = {
    "none": NoTrackerConfig,
    "tensorboard": TensorBoardConfig,
    "mlflow": MLflowConfig,
}


def _if_installed(tracker: TrackerConfig, folder: Path) -> list[Watcher]:
    try:
        return tracker.watchers(folder)
    except ConfigError as error:
        print(f"the run goes on untracked: {error}", file=sys.stderr)
        return []


def begun_in(folder: Path) -> list[Watcher]:
    """The trackers that looked on at the run in `folder` before, for its continuation."""
    return [tracker for kind in TRACKERS.values() for tracker in kind.begun_in(folder)]
