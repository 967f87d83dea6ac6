"""Which images are trained on and scored on, and how they are augmented. Torch-free."""

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

MOST_IMAGES = 500_000  # of either part; all are made in one go, as numbers of four bytes a pixel


@dataclass(kw_only=True, slots=True)
class DataConfig:
    """Base of every data option."""

    published: ClassVar[Published | None] = None  # the files that the images are from, where there are any
    evaluated_split: ClassVar[str]  # the images that a run is scored on, as records and reports name them
    role: ClassVar[str]  # of these images: test (no choice is made by them), holdout or synthetic

    name: str  # of the option, as typed

    @property
    def train_size(self) -> int:
        """Images to train on, known without reading them."""
        raise NotImplementedError

    def load(self, announce: Callable[[str], None], root: str | None = None) -> Datasets:
        """The images in memory, from files in `root` (None = the default place) where it has any.

        `announce` is told in a sentence when something takes time.
        """
        raise NotImplementedError

    def scored_on(self, role: str) -> DataConfig:
        """The option of the same images whose part to be scored on is of `role`: this one, or another as it comes.

        Raises ConfigError where there is none.
        """
        if role == self.role:
            return self
        for name, config in DATA.items():
            if config.published is self.published and config.role == role:
                return config(name=name)
        raise ConfigError([f"--split must be {self.role!r} for data={self.name}, got {role!r}"])


@dataclass(kw_only=True, slots=True)
class MnistConfig(DataConfig):
    """Train on the 60,000 training images, evaluate on the 10,000 test images."""

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
    """The same of Fashion-MNIST."""

    published: ClassVar[Published] = FASHION
    evaluated_split: ClassVar[str] = "fashion_test"


@dataclass(kw_only=True, slots=True)
class HoldoutConfig(DataConfig):
    """Hold out a class-balanced part of the 60,000 training images; the test images are not even read."""

    published: ClassVar[Published] = MNIST
    evaluated_split: ClassVar[str] = "holdout"
    role: ClassVar[str] = "holdout"

    held_out: int = 10_000  # images, a multiple of 10: as many of each class
    train_images: int = 0  # trained on, out of the others, a multiple of 10: as many of each class; 0 = all others
    split_seed: int = 0  # fixes which images; independent of the run's seed

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
    """The same of Fashion-MNIST."""

    published: ClassVar[Published] = FASHION
    evaluated_split: ClassVar[str] = "fashion_holdout"


@dataclass(kw_only=True, slots=True)
class SyntheticConfig(DataConfig):
    """Ten noisy, shifted glyphs, made on the spot: learnable within an epoch, for tests and first looks."""

    evaluated_split: ClassVar[str] = "synthetic"
    role: ClassVar[str] = "synthetic"

    train_images: int  # in [10, 500000]
    evaluation_images: int  # in [10, 500000]
    data_seed: int = 0  # draws the images; at least 0; independent of the run's seed

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
        from mnist_compact.data.augmentation import Augmentation

        return Augmentation(self)


DATA: dict[str, type[DataConfig]] = {  # by the name of the option that is it as it comes, too
    "mnist": MnistConfig,
    "holdout": HoldoutConfig,
    "fashion": FashionConfig,
    "fashion_holdout": FashionHoldoutConfig,
    "synthetic": SyntheticConfig,
}
AUGMENTS: dict[str, type[AugmentConfig]] = {"augment": AugmentConfig}
