"""Experiment trackers: they look on at a run as the terminal does. The record on disk stays the truth.

A tracker is a `Watcher` and the config class that makes it. MLflow or W&B would be one more pair, an entry in TRACKERS
and a file in conf/tracker. Which one looks on is not part of what a run is, so it is in no record.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_compact.faults import ConfigError
from mnist_compact.onlookers import Sheltered, Watcher

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from mnist_compact.results.record import RunRecord

TENSORBOARD = "tensorboard"  # its folder in a run's


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
        try:
            import tensorboard  # noqa: F401
        except ImportError as error:
            raise ConfigError(
                ["tracker=tensorboard needs TensorBoard: pip install tensorboard, or this package's extra of that name"]
            ) from error

    def watchers(self, folder: Path) -> list[Watcher]:
        self.check()
        return [Sheltered(f"tracker={self.name}", TensorBoardTracker(folder / TENSORBOARD))]

    @classmethod
    def begun_in(cls, folder: Path) -> list[Watcher]:
        if not (folder / TENSORBOARD).is_dir():
            return []
        try:
            return cls(name="tensorboard").watchers(folder)
        except ConfigError as error:
            print(f"the run goes on untracked: {error}", file=sys.stderr)
            return []


TRACKERS: dict[str, type[TrackerConfig]] = {"none": NoTrackerConfig, "tensorboard": TensorBoardConfig}


def begun_in(folder: Path) -> list[Watcher]:
    """The trackers that looked on at the run in `folder` before, for its continuation."""
    return [tracker for kind in TRACKERS.values() for tracker in kind.begun_in(folder)]


class TensorBoardTracker(Watcher):
    """Scalars of every epoch as `loss/train`, `accuracy/test`, …; at the end the configuration as text."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.writer: SummaryWriter | None = None

    def epoch_done(self, row: dict[str, Any], *, new_best: bool) -> None:
        if self.writer is None:
            self.writer = self._opened(row["epoch"])
        for column, value in row.items():
            tag = _tag(column)
            if tag and value is not None:
                self.writer.add_scalar(tag, value, row["epoch"])
        self.writer.flush()

    def ended(self, record: RunRecord, folder: Path) -> None:
        if self.writer is not None:
            # Indented by four, Markdown shows it as it stands.
            lines = (folder / "config.yaml").read_text().splitlines()
            self.writer.add_text("configuration", "\n".join(f"    {line}" for line in lines), record.epochs_done)
        self.close()

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer = None

    def _opened(self, epoch: int) -> SummaryWriter:
        """From `epoch` on: what an earlier process wrote of it and later ones counts no more."""
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(self.folder), purge_step=epoch if self.folder.is_dir() else None)


def _tag(column: str) -> str | None:
    """`test_averaged_loss` → `loss/test_averaged`; None for counts of images and the epoch itself."""
    for measure in ("loss", "accuracy"):
        if column.endswith(f"_{measure}"):
            return f"{measure}/{column.removesuffix(f'_{measure}')}"
    return column if column in ("learning_rate", "seconds") else None
