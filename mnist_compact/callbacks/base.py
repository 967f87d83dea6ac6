"""Who looks on at a run: callbacks, who change nothing, and the one pruning_callback, whom it may end for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from mnist_compact.config.schema import RunConfig
    from mnist_compact.models.summary import ModelSummary
    from mnist_compact.records.record import RunRecord
    from mnist_compact.training.loop import StepView


class Callback:
    """Someone who looks on: each says what it does with what it hears of, and this one does nothing.

    The run is the same whoever does. Whoever made a callback closes it.
    """

    def on_message(self, message: str) -> None: ...
    def on_run_start(self, run: RunConfig, model_summary: ModelSummary, device: str, steps: int) -> None: ...
    def on_step_end(self, view: StepView) -> None: ...
    def on_epoch_end(self, row: dict[str, Any], *, new_best: bool) -> None: ...
    def on_run_end(self, record: RunRecord, folder: Path) -> None: ...
    def close(self) -> None: ...


class CallbackList(Callback):
    """Several that look on at the same run."""

    def __init__(self, *callbacks: Callback) -> None:
        self.all = callbacks

    def on_message(self, message: str) -> None:
        for callback in self.all:
            callback.on_message(message)

    def on_run_start(self, run: RunConfig, model_summary: ModelSummary, device: str, steps: int) -> None:
        for callback in self.all:
            callback.on_run_start(run, model_summary, device, steps)

    def on_step_end(self, view: StepView) -> None:
        for callback in self.all:
            callback.on_step_end(view)

    def on_epoch_end(self, row: dict[str, Any], *, new_best: bool) -> None:
        for callback in self.all:
            callback.on_epoch_end(row, new_best=new_best)

    def on_run_end(self, record: RunRecord, folder: Path) -> None:
        for callback in self.all:
            callback.on_run_end(record, folder)

    def close(self) -> None:
        for callback in self.all:
            callback.close()


class SafeCallback(Callback):
    """A callback whose faults cost the run nothing: the first is said on stderr, and the callback hears no more."""

    def __init__(self, name: str, callback: Callback) -> None:
        self.name = name
        self.callback: Callback | None = callback

    def on_message(self, message: str) -> None:
        self._tell(lambda callback: callback.on_message(message))

    def on_run_start(self, run: RunConfig, model_summary: ModelSummary, device: str, steps: int) -> None:
        self._tell(lambda callback: callback.on_run_start(run, model_summary, device, steps))

    def on_step_end(self, view: StepView) -> None:
        self._tell(lambda callback: callback.on_step_end(view))

    def on_epoch_end(self, row: dict[str, Any], *, new_best: bool) -> None:
        self._tell(lambda callback: callback.on_epoch_end(row, new_best=new_best))

    def on_run_end(self, record: RunRecord, folder: Path) -> None:
        self._tell(lambda callback: callback.on_run_end(record, folder))

    def close(self) -> None:
        self._tell(lambda callback: callback.close())

    def _tell(self, news: Callable[[Callback], None]) -> None:
        if self.callback is None:
            return
        try:
            news(self.callback)
        except Exception as error:
            self.callback = None
            with suppress(OSError):  # stderr may be what is broken
                print(f"{self.name} has failed, the run goes on without it: {error}", file=sys.stderr)
