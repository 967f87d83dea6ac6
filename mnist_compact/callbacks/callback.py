"""The base class of callbacks, a list of callbacks, and a wrapper that keeps their errors away from the run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from mnist_compact.models.summary import ModelSummary
    from mnist_compact.records.record import RunRecord
    from mnist_compact.training.loop import StepView


@dataclass(slots=True, frozen=True)
class RunInfo:
    """What is known about a run before its first step."""

    settings: Mapping[str, Any]  # the configuration as in result.json: group → settings, and seed and experiment
    folder: Path  # the run folder; a callback may add files of its own to it
    model_summary: ModelSummary
    device: str  # such as cpu or cuda:0
    train_images: int  # in each epoch
    steps_per_epoch: int
    evaluated_split: str  # the images that are scored after each epoch


class Callback:
    """Base class of all callbacks. Every hook does nothing by default.

    A callback observes a run and must not change it: the weights are the same with and without callbacks. An error in
    a hook never aborts the run. It is printed once, and the callback is not called again.

    The hooks are called in the order in which they are listed here. Losses are mean cross-entropies in nats,
    accuracies are in per cent, and times are in seconds.

    Example:
        Append one line for every epoch to a CSV file in the run folder. This is the whole file `epoch_log.py`::

            from mnist_compact import Callback


            class EpochLog(Callback):
                def on_run_start(self, info):
                    self.path = info.folder / "epoch_log.csv"

                def on_epoch_end(self, row, *, new_best):
                    with self.path.open("a") as file:
                        print(row["epoch"], row["train_loss"], row["train_accuracy"], sep=",", file=file)

        Use it from the command line, in the folder of the file, or from Python::

            python -m mnist_compact data=synthetic train=quick +callbacks.log.path=epoch_log.EpochLog

            train(compose("data=synthetic", "train=quick"), "outputs/example", callbacks=[EpochLog()])
    """

    def on_message(self, message: str) -> None:
        """Receive a sentence for the user, for instance that data is being downloaded.

        This is the only hook that can be called before `on_run_start`.

        Args:
            message: A sentence without a line break at its end.
        """

    def on_run_start(self, info: RunInfo) -> None:
        """Called once before the first step of a run, and once before the first step of a continuation.

        Args:
            info: The configuration, the run folder, the network and the numbers of images and steps.
        """

    def on_step_end(self, view: StepView) -> None:
        """Called after every optimizer step, also those of epochs that do not end.

        Args:
            view: Epoch and step, both counted from 1; the number of training images seen in the epoch; the sum of
                their losses and the number of correct predictions as tensors without dimensions; the learning rate of
                the step. Reading a tensor waits for a GPU.
        """

    def on_epoch_end(self, row: dict[str, Any], *, new_best: bool) -> None:
        """Called after every evaluated epoch, when its checkpoint is on disk.

        A continuation that needs the checkpoint before reports an epoch a second time.

        Args:
            row: The epoch's line of metrics.csv. `epoch` is counted from 1. `learning_rate` is that of the last step.
                `train_loss`, `train_accuracy`, `train_correct` and `train_total` are running figures of the epoch in
                training mode. The same four figures exist for the evaluated split (`test_loss`, …) and, without a
                total, for averaged weights (`test_averaged_loss`, …); they are None in epochs without an average. So
                does the loss after calibration (`test_calibrated_loss`, `test_averaged_calibrated_loss`).
                `seconds` is the time for training and evaluation.
            new_best: Whether the epoch has the best evaluation accuracy so far.
        """

    def on_run_end(self, record: RunRecord, folder: Path) -> None:
        """Called once when the record of the run is on disk, unless an error ended the run.

        Args:
            record: The record of the run. `record.status` is completed, stopped, diverged or interrupted.
            folder: The run folder.
        """

    def close(self) -> None:
        """Release resources. Called once after the run, also after an error."""


class CallbackList(Callback):
    """Calls several callbacks in order."""

    def __init__(self, *callbacks: Callback) -> None:
        self.all = callbacks

    def on_message(self, message: str) -> None:
        for callback in self.all:
            callback.on_message(message)

    def on_run_start(self, info: RunInfo) -> None:
        for callback in self.all:
            callback.on_run_start(info)

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
    """Wraps a callback so that its errors never abort a run: the first is printed, and the callback is dropped."""

    def __init__(self, name: str, callback: Callback) -> None:
        self.name = name
        self.callback: Callback | None = callback

    def on_message(self, message: str) -> None:
        self._call(lambda callback: callback.on_message(message))

    def on_run_start(self, info: RunInfo) -> None:
        self._call(lambda callback: callback.on_run_start(info))

    def on_step_end(self, view: StepView) -> None:
        self._call(lambda callback: callback.on_step_end(view))

    def on_epoch_end(self, row: dict[str, Any], *, new_best: bool) -> None:
        self._call(lambda callback: callback.on_epoch_end(row, new_best=new_best))

    def on_run_end(self, record: RunRecord, folder: Path) -> None:
        self._call(lambda callback: callback.on_run_end(record, folder))

    def close(self) -> None:
        self._call(lambda callback: callback.close())

    def _call(self, hook: Callable[[Callback], None]) -> None:
        if self.callback is None:
            return
        try:
            hook(self.callback)
        except Exception as error:
            self.callback = None
            with suppress(OSError):  # stderr may be what is broken
                print(f"{self.name} failed, and the run continues without it: {error}", file=sys.stderr)
