"""Which images are trained on and scored on, and how they are augmented. Torch-free."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar

from mnist_compact.common.errors import ConfigError, Validator
from mnist_compact.common.shapes import CLASSES, SIDE
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

        return load_holdout(self, root, announce)


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

    train_images: int
    evaluation_images: int
    data_seed: int = 0

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


def _within(low: int, high: int, default: float = 0.0, *, below: bool = False) -> Any:
    """A field whose values lie in [low, high], or with `below` in [low, high)."""
    return field(default=default, metadata={"range": (low, high, below)})


@dataclass(kw_only=True, slots=True)
class AugmentConfig:
    """How far each training image is moved and changed: drawn uniformly, anew for every image each time; 0 = off.

    Of each kind of change a probability says how many images have it: 1 = all, 0 = none.
    """

    name: str  # of the option, as typed
    rotation_deg: float = _within(0, 180)  # within ± this
    shift_fraction: float = _within(0, 1, below=True)  # along each axis within ± this part of the image's side
    scale_fraction: float = _within(0, 1, below=True)  # zoom factor within 1 ± this
    shear: float = _within(0, 1)  # tangent of the shear angle within ± this
    affine_probability: float = _within(0, 1, 1.0)  # of the four above
    brightness: float = _within(0, 1, below=True)  # brightness factor within 1 ± this
    contrast: float = _within(0, 1, below=True)  # contrast factor about the image's mean within 1 ± this
    jitter_probability: float = _within(0, 1, 1.0)  # of the two above
    elastic_px: float = _within(
        0, SIDE // 2
    )  # smooth distortion: nodes of a field are moved within ± this on each axis
    elastic_nodes: int = _within(2, SIDE, 8)  # a side of that field, from edge to edge; fewer = smoother
    elastic_probability: float = _within(0, 1, 1.0)
    ease_off_epochs: int = 0  # over so many last epochs all strengths decline linearly, to none in the very last

    def __post_init__(self) -> None:
        validator = Validator("augment")
        for each in fields(self):
            if "range" in each.metadata:
                (low, high, below), value = each.metadata["range"], getattr(self, each.name)
                holds = low <= value < high if below else low <= value <= high
                validator.check(holds, each.name, f"must be in [{low}, {high}{')' if below else ']'}", value)
        validator.check(self.ease_off_epochs >= 0, "ease_off_epochs", "must be at least 0", self.ease_off_epochs)
        validator.raise_if_any()

    def build(self) -> Augmentation:
        from mnist_compact.data.augmentation import Augmentation

        return Augmentation(self)

    def strength(self, epoch: int, epochs: int) -> float:
        """The part of every strength that acts in `epoch` (1 … `epochs`): 1, or less while easing off, 0 at the end."""
        if self.ease_off_epochs == 0:
            return 1.0
        return min(1.0, (epochs - epoch) / self.ease_off_epochs)


DATA: dict[str, type[DataConfig]] = {  # by the name of the option that is it as it comes, too
    "mnist": MnistConfig,
    "holdout": HoldoutConfig,
    "fashion": FashionConfig,
    "fashion_holdout": FashionHoldoutConfig,
    "synthetic": SyntheticConfig,
}
AUGMENTS: dict[str, type[AugmentConfig]] = {"augment": AugmentConfig}
