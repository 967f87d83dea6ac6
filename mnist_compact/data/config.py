"""Data and augmentation options: training images, evaluation images, augmentation. Does not import torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mnist_compact.common.errors import ConfigError, Validator
from mnist_compact.common.shapes import CLASSES
from mnist_compact.data.augment_settings import AugmentSettings
from mnist_compact.data.published import FASHION, MNIST, TRAIN_IMAGES, Published

if TYPE_CHECKING:
    from mnist_compact.data.augmentation import Augmentation
    from mnist_compact.data.datasets import Datasets

MOST_IMAGES = 500_000  # per split; all are made at once, with four bytes per pixel


@dataclass(kw_only=True, slots=True)
class DataConfig:
    """Base of every data option."""

    published: ClassVar[Published | None] = None  # the published data set; None for generated images
    evaluated_split: ClassVar[str]  # name of the evaluation split in records and reports
    role: ClassVar[str]  # role of the evaluation split: test (nothing is chosen by it), holdout or synthetic

    name: str  # name of the option, as typed

    @property
    def train_size(self) -> int:
        """Number of training images, known without reading any file."""
        raise NotImplementedError

    def load(self, announce: Callable[[str], None], root: str | None = None) -> Datasets:
        """Load the images into memory.

        Args:
            announce: Receives a sentence when something takes time, such as a download.
            root: Folder of all data sets; None for the default folder.

        Returns:
            The training and evaluation splits.

        Raises:
            DataUnavailable: The files are missing and could not be downloaded.
        """
        raise NotImplementedError

    def scored_on(self, role: str) -> DataConfig:
        """Return the option for the same data set whose evaluation split has the given role.

        Args:
            role: test, holdout or synthetic.

        Returns:
            This option if its role fits, otherwise another option with its defaults.

        Raises:
            ConfigError: The data set has no split with this role.
        """
        if role == self.role:
            return self
        for name, config in DATA.items():
            if config.published is self.published and config.role == role:
                return config(name=name)
        raise ConfigError([f"--split must be {self.role!r} for data={self.name}, got {role!r}"])


@dataclass(kw_only=True, slots=True)
class MnistConfig(DataConfig):
    """MNIST: train on the 60,000 training images and evaluate on the 10,000 test images."""

    published: ClassVar[Published] = MNIST
    evaluated_split: ClassVar[str] = "test"
    role: ClassVar[str] = "test"

    @property
    def train_size(self) -> int:
        return TRAIN_IMAGES

    def load(self, announce: Callable[[str], None], root: str | None = None) -> Datasets:
        from mnist_compact.data.datasets import load_whole

        return load_whole(self.published, self.evaluated_split, root, announce)


@dataclass(kw_only=True, slots=True)
class FashionConfig(MnistConfig):
    """Fashion-MNIST: train on its 60,000 training images and evaluate on its 10,000 test images."""

    published: ClassVar[Published] = FASHION
    evaluated_split: ClassVar[str] = "fashion_test"


@dataclass(kw_only=True, slots=True)
class HoldoutConfig(DataConfig):
    """MNIST: evaluate on a class-balanced part of the 60,000 training images. The test images are not read."""

    published: ClassVar[Published] = MNIST
    evaluated_split: ClassVar[str] = "holdout"
    role: ClassVar[str] = "holdout"

    held_out: int = 10_000  # number of evaluation images, a multiple of 10 in [10, 50000], balanced over the classes
    train_images: int = 0  # number of training images, a multiple of 10, balanced over the classes; 0 = all others
    split_seed: int = 0  # seed of the split, at least 0; independent of the run's seed

    def __post_init__(self) -> None:
        validator = Validator("data")
        # The rarest digit, 5, has 5,421 training images.
        validator.check(
            0 < self.held_out <= 50_000 and self.held_out % CLASSES == 0,
            "held_out",
            f"must be a multiple of {CLASSES} in [{CLASSES}, 50000]",
            self.held_out,
        )
        validator.check(
            0 <= self.train_images <= 50_000 - self.held_out and self.train_images % CLASSES == 0,
            "train_images",
            f"must be a multiple of {CLASSES} in [0, {50_000 - self.held_out}]",
            self.train_images,
        )
        validator.check(self.split_seed >= 0, "split_seed", "must be at least 0", self.split_seed)
        validator.raise_if_any()

    @property
    def train_size(self) -> int:
        return self.train_images or TRAIN_IMAGES - self.held_out

    def load(self, announce: Callable[[str], None], root: str | None = None) -> Datasets:
        from mnist_compact.data.datasets import load_holdout

        return load_holdout(
            self.published,
            self.evaluated_split,
            root,
            announce,
            held_out=self.held_out,
            train_images=self.train_images,
            split_seed=self.split_seed,
        )


@dataclass(kw_only=True, slots=True)
class FashionHoldoutConfig(HoldoutConfig):
    """Fashion-MNIST: evaluate on a class-balanced part of its training images. The test images are not read."""

    published: ClassVar[Published] = FASHION
    evaluated_split: ClassVar[str] = "fashion_holdout"


@dataclass(kw_only=True, slots=True)
class SyntheticConfig(DataConfig):
    """Generated images of ten noisy, shifted glyphs, for tests and first trials. A network learns them in one epoch."""

    evaluated_split: ClassVar[str] = "synthetic"
    role: ClassVar[str] = "synthetic"

    train_images: int  # number of training images, in [10, 500000]
    evaluation_images: int  # number of evaluation images, in [10, 500000]
    data_seed: int = 0  # seed of the images, at least 0; independent of the run's seed

    def __post_init__(self) -> None:
        validator = Validator("data")
        rule = f"must be in [{CLASSES}, {MOST_IMAGES}]"
        for key in ("train_images", "evaluation_images"):
            validator.check(CLASSES <= getattr(self, key) <= MOST_IMAGES, key, rule, getattr(self, key))
        validator.check(self.data_seed >= 0, "data_seed", "must be at least 0", self.data_seed)
        validator.raise_if_any()

    @property
    def train_size(self) -> int:
        return self.train_images

    def load(self, announce: Callable[[str], None], root: str | None = None) -> Datasets:
        from mnist_compact.data.datasets import make_synthetic

        return make_synthetic(self.train_images, self.evaluation_images, self.data_seed)


@dataclass(kw_only=True, slots=True)
class AugmentConfig(AugmentSettings):
    """Base of every augmentation option."""

    def build(self) -> Augmentation:
        """Return the augmentation with these settings."""
        from mnist_compact.data.augmentation import Augmentation

        return Augmentation(self)


DATA: dict[str, type[DataConfig]] = {  # each key is also the name of the option with the class's defaults
    "mnist": MnistConfig,
    "holdout": HoldoutConfig,
    "fashion": FashionConfig,
    "fashion_holdout": FashionHoldoutConfig,
    "synthetic": SyntheticConfig,
}
AUGMENTS: dict[str, type[AugmentConfig]] = {"augment": AugmentConfig}
