"""The programs that `benchmarks.epoch` compares: the torchvision pipeline, this project, and the convolutions."""

import math
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision import transforms

from benchmarks.setup import part
from mnist_compact.cli.run_display import TerminalCallback
from mnist_compact.config.schema import RunConfig
from mnist_compact.data.datasets import Batches, Datasets, Split
from mnist_compact.models.config import CompactConfig
from mnist_compact.models.layers import Activation, BlockOrder, HeadKind, LayerKind, Norm, Pool
from mnist_compact.models.norm_dropout import NormDropout
from mnist_compact.training.device import autocast
from mnist_compact.training.evaluation import evaluate
from mnist_compact.training.loop import StepView, TrainingPlan, train_epoch
from mnist_compact.training.step import Step, TrainState, fastest_step

CPU = torch.device("cpu")
HEAD_START = 4  # batches of the reference before the clock starts, so that its workers have started


def per_batch(start: float, batches: int) -> float:
    """Return the milliseconds per batch since `start`."""
    return 1000 * (time.perf_counter() - start) / batches


class PilImages(Dataset[tuple[Tensor, int]]):
    """A data set that makes a PIL image of the bytes and applies the transforms, like torchvision.datasets.MNIST."""

    def __init__(self, split: Split, transform: Callable[[Image.Image], Tensor]) -> None:
        self.split, self.transform = split, transform

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = Image.fromarray(self.split.images[index].numpy())
        return self.transform(image), int(self.split.labels[index])


def usual_transforms(data: Datasets) -> Callable[[Image.Image], Tensor]:
    """Return torchvision's counterpart of augment=jitter_rotate."""
    steps = [
        transforms.ColorJitter(0.1, 0.1),
        transforms.RandomRotation(7),
        transforms.ToTensor(),
        transforms.Normalize((data.mean,), (data.std,)),
    ]
    composed: Callable[[Image.Image], Tensor] = transforms.Compose(steps)
    return composed


def reference_loader(data: Datasets, batches: int, size: int, workers: int) -> DataLoader[Any]:
    """Return a loader with workers that stay alive. It yields no more indices than one measurement needs."""
    images = PilImages(data.train, usual_transforms(data))
    sampler = RandomSampler(images, num_samples=(HEAD_START + batches) * size)
    return DataLoader(images, size, sampler=sampler, num_workers=workers, persistent_workers=workers > 0)


def plain_network(config: CompactConfig) -> nn.Sequential:
    """Return the configured network made of torch's own layers, in the contiguous memory layout."""
    plain = config.activation is Activation.relu and config.norm is Norm.batch
    assert (plain and config.head.kind is HeadKind.conv1x1) or not config.dropout, (
        "the reference exists for m3 and compact only"
    )
    modules: list[nn.Module] = []
    channels, side = 1, 28
    for layer in (config.layers[name] for name in config.order):
        assert (layer.kind, layer.stride, layer.residual) == (LayerKind.conv, 1, False)
        assert layer.pool is not Pool.avg
        modules.append(nn.Conv2d(channels, layer.width, layer.kernel, padding=layer.padding, bias=config.conv_bias))
        after: list[nn.Module] = [nn.ReLU(), nn.BatchNorm2d(layer.width)]
        modules += after if config.block_order is BlockOrder.activation_first else after[::-1]
        if config.dropout:
            modules.append(nn.Dropout(config.dropout))
        channels, side = layer.width, side + 2 * layer.padding - layer.kernel + 1
        if layer.pool is Pool.max:
            modules.append(nn.MaxPool2d(2))
            side //= 2
    modules.append(nn.AvgPool2d(side))
    if config.head.kind is HeadKind.conv1x1:
        modules += [nn.Conv2d(channels, 10, 1, bias=config.head.bias), nn.Flatten()]
    else:
        modules += [nn.Flatten(), nn.Linear(channels, 10, bias=config.head.bias)]
    return nn.Sequential(*modules)


class Reference:
    """The usual eager loop over a DataLoader."""

    def __init__(self, config: RunConfig, loader: DataLoader[Any], batches: int) -> None:
        assert isinstance(config.model, CompactConfig)
        self.network, self.loader, self.batches = plain_network(config.model), loader, batches
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=0.01, weight_decay=1e-4)

    def __call__(self) -> float:
        """Return the milliseconds per batch."""
        self.network.train()
        loss_sum, correct, start = 0.0, 0, 0.0
        for step, (images, labels) in enumerate(self.loader):
            if step == HEAD_START:
                start = time.perf_counter()
            self.optimizer.zero_grad()
            logits = self.network(images)
            loss = F.cross_entropy(logits, labels)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            loss_sum += loss.item() * len(labels)
            correct += int((logits.argmax(1) == labels).sum())
        return per_batch(start, self.batches)


class Ours:
    """An epoch of this project on the first `batches` batches; on a GPU the step is captured unless `plain` is true."""

    def __init__(
        self,
        config: RunConfig,
        data: Datasets,
        batches: int,
        *,
        norms_by_torch: bool = False,
        device: torch.device = CPU,
        plain: bool = False,
    ) -> None:
        size, epochs = config.train.batch_size, config.train.epochs
        model = config.model.build()
        for module in model.modules() if norms_by_torch else ():
            if isinstance(module, NormDropout):
                module.forward = module._plain  # type: ignore[method-assign]
        optimizer = config.optim.build(model.to(device))
        self.model = model
        self.batches = Batches(part(data, batches * size).to(device), config.augment.build(), size, config.seed)
        self.plan = TrainingPlan(
            epochs=epochs,
            schedule=config.scheduler.build(steps_per_epoch=batches, epochs=epochs),
            strength=lambda epoch: config.augment.strength(epoch, epochs),
            average_from=epochs + 1,
            label_smoothing=config.train.label_smoothing,
            autocast=autocast(device, config.train.precision),
            watch_loss=device == CPU,
            seed=config.seed,
        )
        train_state, settings = TrainState(model, optimizer), (self.plan.label_smoothing, self.plan.autocast)
        self.step = Step(train_state, *settings) if plain else fastest_step(train_state, size, *settings)
        self.epoch = 0

    def train(self) -> float:
        """Return the milliseconds per batch. Each call trains the next epoch; the first one follows after the last."""
        self.epoch = self.epoch % self.plan.epochs + 1
        start = time.perf_counter()
        train_epoch(self.step, self.batches, self.plan, self.epoch, lambda view: None)
        return per_batch(start, len(self.batches))

    def load(self) -> float:
        """Return the milliseconds per batch of all work except the step: images, augmentation, metrics, callbacks."""
        step, callback = self.step, TerminalCallback()
        logits, loss, seen = torch.zeros(self.batches.size, 10), torch.zeros(()), 0
        start = time.perf_counter()
        for index, (_, labels) in enumerate(self.batches.epoch(1, 1.0), start=1):
            step.tally(logits, loss, labels)
            seen += len(labels)
            assert math.isfinite(step.loss_sum.item())
            callback.on_step_end(StepView(1, index, seen, step.loss_sum, step.correct, 0.01))
        return per_batch(start, len(self.batches))

    def evaluate(self) -> float:
        """Return the milliseconds for all evaluation images."""
        start = time.perf_counter()
        evaluate(self.model, self.batches.data)
        return per_batch(start, 1)


class Floor:
    """The forward and backward pass of a network's convolutions, each on a prepared input; nothing else.

    It computes the weight gradients of all convolutions and the input gradients of all except the first. The 1×1 head
    of m3 counts as a convolution.
    """

    def __init__(self, network: nn.Module, size: int, layout: torch.memory_format, batches: int) -> None:
        self.batches = batches
        self.work: list[tuple[nn.Conv2d, Tensor, Tensor, Tensor]] = []
        for index, (module, shape) in enumerate(convolution_inputs(network, size)):
            weight = module.weight.detach().clone(memory_format=layout).requires_grad_()
            x = torch.rand(shape).to(memory_format=layout).requires_grad_(index > 0)
            with torch.no_grad():
                gradient = torch.rand_like(module._conv_forward(x, weight, None))
            self.work.append((module, x, weight, gradient))

    def __call__(self) -> float:
        """Return the milliseconds per batch."""
        start = time.perf_counter()
        for _ in range(self.batches):
            for module, x, weight, gradient in self.work:
                y = module._conv_forward(x, weight, None)
                torch.autograd.grad(y, (x, weight) if x.requires_grad else (weight,), gradient)
        return per_batch(start, self.batches)


@torch.no_grad()
def convolution_inputs(network: nn.Module, size: int) -> list[tuple[nn.Conv2d, torch.Size]]:
    """Return the network's convolutions in order, with the shape of each input for a batch of `size` images."""
    seen: list[tuple[nn.Conv2d, torch.Size]] = []
    hooks = [
        module.register_forward_hook(lambda module, inputs, _: seen.append((module, inputs[0].shape)))
        for module in network.modules()
        if isinstance(module, nn.Conv2d)
    ]
    network(torch.zeros(size, 1, 28, 28))
    for hook in hooks:
        hook.remove()
    return seen
