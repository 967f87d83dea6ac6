"""Images and labels in memory, and the splits they are divided into."""

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

# Batches augmented in one go: spares the small operations' overhead, costs some MB (see benchmarks/README.md).
BATCHES_PER_CHUNK = 8


@dataclass(slots=True, frozen=True)
class Split:
    """Images (N, 28, 28) uint8 and labels (N,) int64."""

    name: str
    images: Tensor
    labels: Tensor
    classes: tuple[str, ...] = MNIST.classes  # names by label

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> "Split":
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))


@dataclass(slots=True, frozen=True)
class Datasets:
    """What a run trains and is scored on. `mean` and `std` are of the training part's pixels, scaled to [0, 1]."""

    train: Split
    evaluation: Split
    mean: float
    std: float

    def to(self, device: torch.device) -> "Datasets":
        return Datasets(self.train.to(device), self.evaluation.to(device), self.mean, self.std)

    def normalised(self, images: Tensor) -> Tensor:
        """uint8 images (N, 28, 28) → network input (N, 1, 28, 28)."""
        return scaled(images).sub_(self.mean).div_(self.std).unsqueeze(1)


def load_whole(published: Published, evaluated: str, root: str | None, announce: Callable[[str], None]) -> Datasets:
    """All training images, and all test images under the name `evaluated`."""
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
    """Training images, and `held_out` others of the training files under the name `evaluated`.

    Args:
        published: The data set that the files belong to.
        evaluated: Name of the held-out split.
        root: Folder of the files; None for the default one.
        announce: Receives a sentence when something takes time.
        held_out: Held-out images, a multiple of 10; the classes are balanced.
        train_images: Training images, a multiple of 10; the classes are balanced. 0 means all others.
        split_seed: Determines which images are held out.
    """
    files = obtain(root, TRAINING_FILES, announce, published)
    images, labels = (torch.from_numpy(read_idx(files[name])) for name in TRAINING_FILES)
    held = balanced_part(labels, held_out, split_seed)
    kept = torch.ones(len(labels), dtype=torch.bool)
    kept[held] = False
    if train_images:
        others = kept.nonzero().flatten()
        kept = others[balanced_part(labels[others], train_images, split_seed)]
    return _with_statistics(
        Split("train", images[kept], labels[kept], published.classes),
        Split(evaluated, images[held], labels[held], published.classes),
    )


def balanced_part(labels: Tensor, size: int, seed: int) -> Tensor:
    """Positions (size,), ascending, of a random part with size / CLASSES images of every class."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "holdout"))
    parts = []
    for digit in range(CLASSES):
        positions = (labels == digit).nonzero().flatten()
        chosen = torch.randperm(len(positions), generator=generator)[: size // CLASSES]
        parts.append(positions[chosen])
    return torch.cat(parts).sort().values


def make_synthetic(train_images: int, evaluation_images: int, seed: int) -> Datasets:
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
    """Glyphs of 12×20 px, shifted by up to 3 px, of random brightness, under uniform noise."""
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
    """Exact mean and standard deviation from a histogram of the 256 levels: no float copy of all images."""
    counts = torch.bincount(train.images.flatten(), minlength=256).double()
    levels = torch.arange(256, dtype=torch.float64) / 255
    mean = (counts @ levels) / counts.sum()
    variance = (counts @ (levels - mean).square()) / counts.sum()
    return Datasets(train, evaluation, mean.item(), variance.sqrt().item())


@dataclass(slots=True, frozen=True)
class Batches:
    """Shuffled, augmented, normalised batches of the training part: every image once an epoch, the last batch short."""

    data: Datasets
    augmentation: Augmentation
    size: int
    seed: int

    def __len__(self) -> int:
        return -(-len(self.data.train) // self.size)

    def epoch(self, epoch: int, strength: float) -> Iterator[tuple[Tensor, Tensor]]:
        """Images (n, 1, 28, 28) and labels (n,). Order and augmentation depend on the seed and the epoch alone."""
        train = self.data.train
        generator = torch.Generator(train.images.device).manual_seed(derive_seed(self.seed, "batches", epoch))
        order = torch.randperm(len(train), generator=generator, device=train.images.device)
        for chunk in order.split(self.size * BATCHES_PER_CHUNK):
            # Whole rows by index_select: plain indexing takes twelve times as long.
            images = train.images.flatten(1).index_select(0, chunk).view(-1, SIDE, SIDE)
            images = self.augmentation(scaled(images), strength, generator)
            images = images.sub_(self.data.mean).div_(self.data.std).unsqueeze(1)
            yield from zip(images.split(self.size), train.labels[chunk].split(self.size), strict=True)

    def plain(self, size: int) -> Iterator[Tensor]:
        """The training images once, in their own order, as evaluation would see them."""
        for images in self.data.train.images.split(size):
            yield self.data.normalised(images)
