"""Images and labels in memory, their splits, and the batches of an epoch."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mnist_compact.common.seeds import derive_seed
from mnist_compact.common.shapes import CLASSES, SIDE
from mnist_compact.data.augmentation import Augmentation, scaled
from mnist_compact.data.files import TEST_FILES, TRAINING_FILES, obtain, read_idx
from mnist_compact.data.published import MNIST, Published
from mnist_compact.data.sources import MnistFile

# Batches that are augmented at once: less overhead of small operations for some MB of memory (benchmarks/README.md).
BATCHES_PER_CHUNK = 8


@dataclass(slots=True, frozen=True)
class Split:
    """Images and labels under a name."""

    name: str
    images: Tensor  # (N, 28, 28), uint8
    labels: Tensor  # (N,), int64
    classes: tuple[str, ...] = MNIST.classes  # class names, indexed by label

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> "Split":
        """Return the split on another device."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))


@dataclass(slots=True, frozen=True)
class Datasets:
    """The training and evaluation splits of a run, with the statistics that normalise their pixels."""

    train: Split
    evaluation: Split
    mean: float  # of the training pixels, scaled to [0, 1]
    std: float  # standard deviation of the same pixels

    def to(self, device: torch.device) -> "Datasets":
        """Return both splits on another device."""
        return Datasets(self.train.to(device), self.evaluation.to(device), self.mean, self.std)

    def normalised(self, images: Tensor) -> Tensor:
        """Convert uint8 images (N, 28, 28) to network input (N, 1, 28, 28)."""
        return scaled(images).sub_(self.mean).div_(self.std).unsqueeze(1)


def load_whole(published: Published, evaluated: str, root: str | None, announce: Callable[[str], None]) -> Datasets:
    """Load all training images, and all test images as the evaluation split.

    Args:
        published: The data set that the files belong to.
        evaluated: Name of the evaluation split.
        root: Folder of all data sets; None for the default folder.
        announce: Receives a sentence when something takes time.

    Raises:
        DataUnavailable: The files are missing and could not be downloaded.
    """
    files = obtain(root, (*TRAINING_FILES, *TEST_FILES), announce, published)

    def split(name: str, images: MnistFile, labels: MnistFile) -> Split:
        pixels, classes = (torch.from_numpy(read_idx(files[file])) for file in (images, labels))
        return Split(name, pixels, classes, published.classes)

    train, test = split("train", *TRAINING_FILES), split(evaluated, *TEST_FILES)
    return _with_statistics(train, test)


def load_holdout(
    published: Published,
    evaluated: str,
    root: str | None,
    announce: Callable[[str], None],
    *,
    held_out: int,
    train_images: int,
    split_seed: int,
) -> Datasets:
    """Split the published training images into a training and an evaluation split.

    Args:
        published: The data set that the files belong to.
        evaluated: Name of the held-out split.
        root: Folder of all data sets; None for the default folder.
        announce: Receives a sentence when something takes time.
        held_out: Held-out images, a multiple of 10; the classes are balanced.
        train_images: Training images, a multiple of 10; the classes are balanced. 0 means all others.
        split_seed: Determines which images are held out.

    Raises:
        DataUnavailable: The files are missing and could not be downloaded.
    """
    files = obtain(root, TRAINING_FILES, announce, published)
    images, labels = (torch.from_numpy(read_idx(files[name])) for name in TRAINING_FILES)
    held_indices = balanced_part(labels, held_out, split_seed)
    remaining = torch.ones(len(labels), dtype=torch.bool)
    remaining[held_indices] = False
    if train_images:
        others = remaining.nonzero().flatten()
        remaining = others[balanced_part(labels[others], train_images, split_seed)]
    return _with_statistics(
        Split("train", images[remaining], labels[remaining], published.classes),
        Split(evaluated, images[held_indices], labels[held_indices], published.classes),
    )


def balanced_part(labels: Tensor, size: int, seed: int) -> Tensor:
    """Choose images at random, equally many of every class.

    Args:
        labels: Labels of all images, (N,).
        size: Number of images to choose, a multiple of 10.
        seed: Determines the choice.

    Returns:
        Indices of the chosen images in ascending order, (size,).
    """
    generator = torch.Generator().manual_seed(derive_seed(seed, "holdout"))
    parts = []
    for digit in range(CLASSES):
        positions = (labels == digit).nonzero().flatten()
        chosen = torch.randperm(len(positions), generator=generator)[: size // CLASSES]
        parts.append(positions[chosen])
    return torch.cat(parts).sort().values


def make_synthetic(train_images: int, evaluation_images: int, seed: int) -> Datasets:
    """Generate noisy glyphs of ten classes. The same arguments give the same images on every machine."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "synthetic"))
    images, labels = _draw_glyphs(train_images + evaluation_images, generator)
    return _with_statistics(
        Split("train", images[:train_images], labels[:train_images]),
        Split("synthetic", images[train_images:], labels[train_images:]),
    )


# 3×5 pixels each, rows from the top.
_GLYPHS = [
    "111101101101111",
    "010110010010111",
    "111001111100111",
    "111001111001111",
    "101101111001001",
    "111100111001111",
    "111100111101111",
    "111001010010010",
    "111101111101111",
    "111101111001111",
]


def _draw_glyphs(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw glyphs of 12×20 px with random brightness, shifted by up to 3 px, with uniform noise."""
    shapes = torch.tensor([[int(bit) for bit in glyph] for glyph in _GLYPHS]).view(-1, 5, 3)
    shapes = shapes.repeat_interleave(4, 1).repeat_interleave(4, 2).float()
    labels = torch.randint(CLASSES, (count,), generator=generator)
    shifts = torch.randint(-3, 4, (count, 2), generator=generator)
    levels = 120 + 80 * torch.rand(count, generator=generator)
    images = 40 * torch.rand(count, SIDE, SIDE, generator=generator)
    for image, label, (down, right), level in zip(images, labels, shifts.tolist(), levels, strict=True):
        image[4 + down : 24 + down, 8 + right : 20 + right] += level * shapes[label]
    return images.to(torch.uint8), labels


def _with_statistics(train: Split, evaluation: Split) -> Datasets:
    """Compute mean and standard deviation exactly, from a histogram of the 256 levels: this needs no float copy."""
    counts = torch.bincount(train.images.flatten(), minlength=256).double()
    levels = torch.arange(256, dtype=torch.float64) / 255
    mean = (counts @ levels) / counts.sum()
    variance = (counts @ (levels - mean).square()) / counts.sum()
    return Datasets(train, evaluation, mean.item(), variance.sqrt().item())


@dataclass(slots=True, frozen=True)
class Batches:
    """Shuffled, augmented and normalised batches of the training split.

    Every image appears once per epoch. The last batch may be shorter.
    """

    data: Datasets
    augmentation: Augmentation
    size: int
    seed: int

    def __len__(self) -> int:
        return -(-len(self.data.train) // self.size)

    def epoch(self, epoch: int, strength: float) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of an epoch. Order and augmentation depend only on the seed and the epoch.

        Args:
            epoch: The epoch, counted from 1.
            strength: Factor of the augmentation's strengths, in [0, 1].

        Yields:
            Images (n, 1, 28, 28) and labels (n,) of each batch; n is at most `size`.
        """
        train = self.data.train
        generator = torch.Generator(train.images.device).manual_seed(derive_seed(self.seed, "batches", epoch))
        order = torch.randperm(len(train), generator=generator, device=train.images.device)
        for chunk in order.split(self.size * BATCHES_PER_CHUNK):
            # index_select copies whole rows; plain indexing takes twelve times as long.
            images = train.images.flatten(1).index_select(0, chunk).view(-1, SIDE, SIDE)
            images = self.augmentation(scaled(images), strength, generator)
            images = images.sub_(self.data.mean).div_(self.data.std).unsqueeze(1)
            yield from zip(images.split(self.size), train.labels[chunk].split(self.size), strict=True)

    def plain(self, size: int) -> Iterator[Tensor]:
        """Yield the training images once, in their stored order and without augmentation, `size` images at a time."""
        for images in self.data.train.images.split(size):
            yield self.data.normalised(images)
