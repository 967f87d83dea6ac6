"""The configuration and the images that the benchmarks train with."""

import torch

from mnist_compact.common.shapes import CLASSES, SIDE
from mnist_compact.config.composition import compose
from mnist_compact.config.schema import RunConfig
from mnist_compact.data.config import MnistConfig
from mnist_compact.data.datasets import Datasets, Split
from mnist_compact.data.published import TRAIN_IMAGES

EVALUATION_IMAGES = 10_000


def configured(*overrides: str) -> RunConfig:
    """Return the configuration of experiment=m3_reference (m3, jitter_rotate, Adam, batches of 128) with overrides."""
    return compose("experiment=m3_reference", *overrides)


def images(*, synthetic: bool) -> Datasets:
    """Return MNIST, or the same number of random images of the same size."""
    if not synthetic:
        return MnistConfig(name="mnist").load(print)
    generator = torch.Generator().manual_seed(0)

    def noise(name: str, count: int) -> Split:
        pixels = torch.randint(256, (count, SIDE, SIDE), dtype=torch.uint8, generator=generator)
        return Split(name, pixels, torch.randint(CLASSES, (count,), generator=generator))

    return Datasets(noise("train", TRAIN_IMAGES), noise("synthetic", EVALUATION_IMAGES), mean=0.5, std=0.289)


def part(data: Datasets, count: int) -> Datasets:
    """Return the same data with the first `count` training images only."""
    train = data.train
    return Datasets(Split(train.name, train.images[:count], train.labels[:count]), data.evaluation, data.mean, data.std)
