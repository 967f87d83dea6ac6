"""The training loop. No configuration, no disk, no Hydra: everything it needs is handed in."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mnist_compact.data.datasets import Batches
from mnist_compact.seeds import derive_seed
from mnist_compact.training.evaluation import BATCH, Evaluation, estimate_batchnorm, evaluate
from mnist_compact.training.optimizers import Optimizer
from mnist_compact.training.schedules import Schedule


class Diverged(ArithmeticError):
    """The training loss was not finite."""


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


@dataclass(slots=True, frozen=True)
class Totals:
    """Running sums over an epoch, kept on the device."""

    loss_sum: Tensor
    correct: Tensor
    seen: int  # images


@dataclass(slots=True)
class Trainee:
    """What training changes, and so what a checkpoint holds."""

    model: nn.Module
    optimizer: Optimizer
    average: AveragedModel | None = None


def weight_average(model: nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average of the weights; its first update copies them."""
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))


@dataclass(kw_only=True, slots=True, frozen=True)
class Plan:
    """How a trainee is trained."""

    epochs: int
    schedule: Schedule
    strength: Callable[[int], float]  # epoch → part of the augmentation's strengths
    average_from: int  # the first epoch with averaged weights
    label_smoothing: float
    autocast: torch.autocast
    seed: int


def fit(
    trainee: Trainee, batches: Batches, plan: Plan, *, first_epoch: int, on_step: Callable[[StepView], None]
) -> Iterator[EpochResult]:
    """Train and evaluate epoch after epoch; the caller may stop between two of them. Raises Diverged."""
    for group in trainee.optimizer.param_groups:
        group.setdefault("initial_lr", group["lr"])
    for epoch in range(first_epoch, plan.epochs + 1):
        start = time.perf_counter()
        totals = train_epoch(trainee, batches, plan, epoch, on_step)
        evaluation, averaged = evaluate(trainee.model, batches.data), None
        if trainee.average is not None and epoch >= plan.average_from:
            estimate_batchnorm(trainee.average, batches.plain(BATCH))
            averaged = evaluate(trainee.average, batches.data)
        yield EpochResult(
            epoch=epoch,
            train_loss=totals.loss_sum.item() / totals.seen,
            train_correct=int(totals.correct),
            train_total=totals.seen,
            learning_rate=trainee.optimizer.param_groups[0]["lr"],
            evaluation=evaluation,
            averaged=averaged,
            seconds=time.perf_counter() - start,
        )


def train_epoch(
    trainee: Trainee, batches: Batches, plan: Plan, epoch: int, on_step: Callable[[StepView], None]
) -> Totals:
    """One pass over the training images. Raises Diverged: at once on a CPU, at the end of the epoch elsewhere."""
    model, optimizer, average = trainee.model, trainee.optimizer, trainee.average
    device = batches.data.train.images.device
    torch.manual_seed(derive_seed(plan.seed, "dropout", epoch))
    if average is not None and epoch == plan.average_from:
        average.n_averaged.zero_()
    model.train()
    loss_sum, correct, seen = torch.zeros((), device=device), torch.zeros((), dtype=torch.int64, device=device), 0
    for step, (images, labels) in enumerate(batches.epoch(epoch, plan.strength(epoch))):
        learning_rate = set_rate(optimizer, plan.schedule((epoch - 1) * len(batches) + step))
        with plan.autocast:
            logits = model(images)
            loss = F.cross_entropy(logits, labels, label_smoothing=plan.label_smoothing)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if average is not None and epoch >= plan.average_from:
            average.update_parameters(model)
        loss_sum += loss.detach() * len(labels)
        correct += (logits.detach().argmax(1) == labels).sum()
        seen += len(labels)
        # Reading the sum of a GPU would make the host wait for it at every step.
        if device.type == "cpu" and not math.isfinite(loss_sum.item()):
            break
        on_step(StepView(epoch, step + 1, seen, loss_sum, correct, learning_rate))
    if not math.isfinite(loss_sum.item()):
        raise Diverged(f"the loss was not finite in epoch {epoch}, after {seen:,} images")
    return Totals(loss_sum, correct, seen)


def set_rate(optimizer: Optimizer, factor: float) -> float:
    """Set every group to `factor` of its peak rate; returns the first group's."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor
    first: float = optimizer.param_groups[0]["lr"]
    return first
