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
    model, optimizer, average = trainee.model, trainee.optimizer, trainee.average
    for group in optimizer.param_groups:
        group.setdefault("initial_lr", group["lr"])
    on_cpu = batches.data.train.images.device.type == "cpu"
    for epoch in range(first_epoch, plan.epochs + 1):
        start = time.perf_counter()
        torch.manual_seed(derive_seed(plan.seed, "dropout", epoch))
        if average is not None and epoch == plan.average_from:
            average.n_averaged.zero_()
        averaging = average is not None and epoch >= plan.average_from
        model.train()
        loss_sum, correct, seen = torch.zeros((), device=batches.data.train.images.device), torch.zeros((), dtype=torch.int64, device=batches.data.train.images.device), 0
        for step, (images, labels) in enumerate(batches.epoch(epoch, plan.strength(epoch))):
            factor = plan.schedule((epoch - 1) * len(batches) + step)
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor
            with plan.autocast:
                logits = model(images)
                loss = F.cross_entropy(logits, labels, label_smoothing=plan.label_smoothing)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if averaging:
                average.update_parameters(model)
            loss_sum += loss.detach() * len(labels)
            correct += (logits.detach().argmax(1) == labels).sum()
            seen += len(labels)
            # On a GPU reading the loss would wait for it: there divergence is noticed at the end of the epoch.
            if on_cpu and not math.isfinite(loss_sum.item()):
                break
            on_step(StepView(epoch, step + 1, seen, loss_sum, correct, optimizer.param_groups[0]["lr"]))
        if not math.isfinite(loss_sum.item()):
            raise Diverged(f"the loss was not finite in epoch {epoch}, after {seen:,} images")
        evaluation = evaluate(model, batches.data)
        if averaging:
            estimate_batchnorm(average, batches.plain(BATCH))
        yield EpochResult(
            epoch=epoch,
            train_loss=loss_sum.item() / seen,
            train_correct=int(correct),
            train_total=seen,
            learning_rate=optimizer.param_groups[0]["lr"],
            evaluation=evaluation,
            averaged=evaluate(average, batches.data) if averaging else None,
            seconds=time.perf_counter() - start,
        )
