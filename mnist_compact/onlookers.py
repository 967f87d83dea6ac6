"""Who looks on at a run: watchers, who change nothing, and the one reporter, whom it may end for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
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


class Watchers(Watcher):
    """Several that look on at the same run."""

    def __init__(self, *watchers: Watcher) -> None:
        self.all = watchers

    def announce(self, sentence: str) -> None:
        for watcher in self.all:
            watcher.announce(sentence)

    def started(self, run: RunConfig, anatomy: Anatomy, device: str, steps: int) -> None:
        for watcher in self.all:
            watcher.started(run, anatomy, device, steps)

    def stepped(self, view: StepView) -> None:
        for watcher in self.all:
            watcher.stepped(view)

    def epoch_done(self, row: dict[str, Any], *, new_best: bool) -> None:
        for watcher in self.all:
            watcher.epoch_done(row, new_best=new_best)

    def ended(self, record: RunRecord, folder: Path) -> None:
        for watcher in self.all:
            watcher.ended(record, folder)

    def close(self) -> None:
        for watcher in self.all:
            watcher.close()


class Sheltered(Watcher):
    """A watcher whose faults cost the run nothing: the first is said on stderr, and the watcher hears no more."""

    def __init__(self, name: str, watcher: Watcher) -> None:
        self.name = name
        self.watcher: Watcher | None = watcher

    def announce(self, sentence: str) -> None:
        self._tell(lambda watcher: watcher.announce(sentence))

    def started(self, run: RunConfig, anatomy: Anatomy, device: str, steps: int) -> None:
        self._tell(lambda watcher: watcher.started(run, anatomy, device, steps))

    def stepped(self, view: StepView) -> None:
        self._tell(lambda watcher: watcher.stepped(view))

    def epoch_done(self, row: dict[str, Any], *, new_best: bool) -> None:
        self._tell(lambda watcher: watcher.epoch_done(row, new_best=new_best))

    def ended(self, record: RunRecord, folder: Path) -> None:
        self._tell(lambda watcher: watcher.ended(record, folder))

    def close(self) -> None:
        self._tell(lambda watcher: watcher.close())

    def _tell(self, news: Callable[[Watcher], None]) -> None:
        if self.watcher is None:
            return
        try:
            news(self.watcher)
        except Exception as error:
            self.watcher = None
            with suppress(OSError):  # stderr may be what is broken
                print(f"{self.name} has failed, the run goes on without it: {error}", file=sys.stderr)


# Told the final score after each epoch, again after one that was cut off before it was kept; True ends the run there.
Reporter: TypeAlias = "Callable[[Score, NetworkFacts], bool]"


class Relinquished(RuntimeError):
    """Raised by a reporter for a run that is someone else's by now: this process writes nothing more of it."""


def never_stop(score: Score, network: NetworkFacts) -> bool:
    return False
