"""The training loop. No configuration, no disk, no Hydra: everything it needs is handed in."""

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
from mnist_compact.training.evaluation import BATCH, Evaluation, estimate_batchnorm, evaluate
from mnist_compact.training.step import Step, TrainState, fastest_step


class Diverged(ArithmeticError):
    """A loss was not finite, in training or in evaluation."""


@dataclass(slots=True, frozen=True)
class StepView:
    """The running state of an epoch, as a live display wants it. Reading a tensor waits for the device."""

    epoch: int
    step: int  # done in this epoch
    seen: int  # images
    loss_sum: Tensor
    correct: Tensor
    learning_rate: float


@dataclass(slots=True, frozen=True)
class EpochResult:
    epoch: int
    train_loss: float  # running mean over the epoch, in training mode
    train_correct: int
    train_total: int
    learning_rate: float  # of the last step
    evaluation: Evaluation
    averaged: Evaluation | None  # of the averaged weights, in the epochs that have them
    seconds: float  # training and evaluation


@dataclass(kw_only=True, slots=True, frozen=True)
class TrainingPlan:
    """How a network is trained."""

    epochs: int
    schedule: Schedule
    momentum: Callable[[int], float] | None = None  # step → momentum; None = as the optimizer has it
    strength: Callable[[int], float]  # epoch → part of the augmentation's strengths
    average_from: int  # the first epoch with averaged weights
    label_smoothing: float
    autocast: torch.autocast
    watch_loss: bool  # look for divergence at every step: a GPU would make the host wait for it each time
    seed: int


def fit(
    train_state: TrainState,
    batches: Batches,
    plan: TrainingPlan,
    *,
    first_epoch: int,
    on_step: Callable[[StepView], None],
) -> Iterator[EpochResult]:
    """Train and evaluate epoch after epoch; the caller may stop between two of them. Raises Diverged."""
    settings = plan.label_smoothing, plan.autocast
    captured = plan.momentum is None  # a captured step would keep the momentum of its capture
    step = fastest_step(train_state, batches.size, *settings) if captured else Step(train_state, *settings)
    for epoch in range(first_epoch, plan.epochs + 1):
        start = time.perf_counter()
        train_epoch(step, batches, plan, epoch, on_step)
        evaluation, averaged = evaluate(train_state.model, batches.data), None
        if train_state.average is not None and epoch >= plan.average_from:
            estimate_batchnorm(train_state.average.module, batches.plain(BATCH))
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
    """One pass over the training images. Raises Diverged: at once on a CPU, at the end of the epoch elsewhere."""
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
    """Set every group to `factor` of its peak rate; returns the first group's."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor
    first: float = optimizer.param_groups[0]["lr"]
    return first
