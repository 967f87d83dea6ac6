"""The training loop. It uses no configuration, disk or Hydra: all inputs are arguments."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mnist_compact.common.seeds import derive_seed
from mnist_compact.common.wording import counted
from mnist_compact.data.datasets import Batches
from mnist_compact.optim.optimizers import Optimizer
from mnist_compact.optim.schedules import Schedule
from mnist_compact.training.evaluation import Evaluation, estimate_batchnorm, evaluate
from mnist_compact.training.step import Step, TrainState, fastest_step

# Images per batch in the estimate of the BatchNorm statistics of averaged weights. Another number changes the
# statistics, and with them the results of committed experiments.
ESTIMATION_BATCH = 500


class Diverged(ArithmeticError):
    """A loss in training or evaluation was not finite."""


@dataclass(slots=True, frozen=True)
class StepView:
    """The state of an epoch after a step, for live displays. Reading a tensor waits for the device."""

    epoch: int  # counted from 1
    step: int  # steps done in this epoch
    seen: int  # images seen in this epoch
    loss_sum: Tensor  # sum of the cross-entropy over these images, nats, ()
    correct: Tensor  # correctly classified images among them, ()
    learning_rate: float  # learning rate of this step


@dataclass(slots=True, frozen=True)
class EpochResult:
    """The results of one epoch."""

    epoch: int  # counted from 1
    train_loss: float  # mean over the epoch in training mode, nats
    train_correct: int  # correctly classified training images, in training mode
    train_total: int  # number of training images
    learning_rate: float  # learning rate of the last step
    evaluation: Evaluation  # evaluation of the raw weights
    averaged: Evaluation | None  # evaluation of the averaged weights; None in epochs without an average
    seconds: float  # time of training and evaluation


@dataclass(kw_only=True, slots=True, frozen=True)
class TrainingPlan:
    """All settings of the training loop."""

    epochs: int  # number of epochs
    schedule: Schedule  # step → factor of the learning rate
    momentum: Callable[[int], float] | None = None  # step → momentum; None = the optimizer's own
    strength: Callable[[int], float]  # epoch → factor of the augmentation's strengths
    average_from: int  # first epoch with averaged weights
    label_smoothing: float  # fraction of the target that is spread over all classes, in [0, 1)
    autocast: torch.autocast  # precision of the forward pass
    watch_loss: bool  # whether to check for divergence at every step; on a GPU, the host would wait each time
    seed: int  # the run's seed


def fit(
    train_state: TrainState,
    batches: Batches,
    plan: TrainingPlan,
    *,
    first_epoch: int,
    on_step: Callable[[StepView], None],
) -> Iterator[EpochResult]:
    """Train and evaluate, one epoch at a time. The caller may stop after any epoch.

    Args:
        train_state: The network, its optimizer and its average; changed in place.
        batches: The data.
        plan: The settings.
        first_epoch: Epoch to start with, counted from 1.
        on_step: Called after every step.

    Yields:
        The results of each epoch.

    Raises:
        Diverged: A loss was not finite.
    """
    settings = plan.label_smoothing, plan.autocast
    captured = plan.momentum is None  # a captured step always uses the momentum of its capture
    step = fastest_step(train_state, batches.size, *settings) if captured else Step(train_state, *settings)
    for epoch in range(first_epoch, plan.epochs + 1):
        start = time.perf_counter()
        train_epoch(step, batches, plan, epoch, on_step)
        evaluation, averaged = evaluate(train_state.model, batches.data), None
        if train_state.average is not None and epoch >= plan.average_from:
            estimate_batchnorm(train_state.average.module, batches.plain(ESTIMATION_BATCH))
            averaged = evaluate(train_state.average.module, batches.data)
        if not all(math.isfinite(found.loss) for found in (evaluation, averaged) if found is not None):
            raise Diverged(f"the loss of evaluation was not finite after epoch {epoch}")
        yield EpochResult(
            epoch=epoch,
            train_loss=step.loss_sum.item() / len(batches.data.train),
            train_correct=int(step.correct),
            train_total=len(batches.data.train),
            learning_rate=train_state.optimizer.param_groups[0]["lr"],
            evaluation=evaluation,
            averaged=averaged,
            seconds=time.perf_counter() - start,
        )


def train_epoch(
    step: Step, batches: Batches, plan: TrainingPlan, epoch: int, on_step: Callable[[StepView], None]
) -> None:
    """Train for one pass over the training images.

    Args:
        step: The training step.
        batches: The data.
        plan: The settings.
        epoch: The epoch, counted from 1.
        on_step: Called after every step.

    Raises:
        Diverged: The loss was not finite; detected at the step if `plan.watch_loss`, otherwise at the epoch's end.
    """
    model, optimizer, average = step.train_state.model, step.train_state.optimizer, step.train_state.average
    averaging = average is not None and epoch >= plan.average_from
    torch.manual_seed(derive_seed(plan.seed, "dropout", epoch))
    if average is not None and epoch == plan.average_from:
        average.begun = False
    model.train()
    step.clear()
    seen = 0
    for index, (images, labels) in enumerate(batches.epoch(epoch, plan.strength(epoch))):
        learning_rate = set_rate(optimizer, plan.schedule((epoch - 1) * len(batches) + index))
        if plan.momentum is not None:
            optimizer.set_momentum(plan.momentum((epoch - 1) * len(batches) + index))
        step(images, labels, averaging=averaging)
        seen += len(labels)
        if plan.watch_loss and not math.isfinite(step.loss_sum.item()):
            break
        on_step(StepView(epoch, index + 1, seen, step.loss_sum, step.correct, learning_rate))
    if not math.isfinite(step.loss_sum.item()):
        raise Diverged(f"the loss was not finite in epoch {epoch}, after {counted(seen, 'image')}")


def set_rate(optimizer: Optimizer, factor: float) -> float:
    """Set the rate of every parameter group to `factor` times its peak rate; return the rate of the first group."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor
    first: float = optimizer.param_groups[0]["lr"]
    return first
