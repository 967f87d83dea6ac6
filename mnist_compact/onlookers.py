"""Who looks on at a run: watchers, who change nothing, and the one reporter, whom it may end for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

    from mnist_compact.config import RunConfig
    from mnist_compact.model.anatomy import Anatomy
    from mnist_compact.results.record import NetworkFacts, RunRecord, Score
    from mnist_compact.training.loop import StepView


class Watcher:
    """Someone who looks on: each says what it does with what it hears of, and this one does nothing.

    The run is the same whoever does. Whoever made a watcher closes it.
    """

    def announce(self, sentence: str) -> None: ...
    def started(self, run: RunConfig, anatomy: Anatomy, device: str, steps: int) -> None: ...
    def stepped(self, view: StepView) -> None: ...
    def epoch_done(self, row: dict[str, Any], *, new_best: bool) -> None: ...
    def ended(self, record: RunRecord, folder: Path) -> None: ...
    def close(self) -> None: ...


# Told the final score after each epoch, again after one that was cut off before it was kept; True ends the run there.
Reporter: TypeAlias = "Callable[[Score, NetworkFacts], bool]"


class Relinquished(RuntimeError):
    """Raised by a reporter for a run that is someone else's by now: this process writes nothing more of it."""


def never_stop(score: Score, network: NetworkFacts) -> bool:
    return False
