"""The zoo: the trained networks of the package. Each has a weights file and a model card as JSON and as Markdown."""

import json
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from mnist_compact.common.errors import ConfigError, nearest
from mnist_compact.common.run_files import WEIGHTS_SUFFIX
from mnist_compact.common.versioned_json import all_fields_of, read_versioned

if TYPE_CHECKING:
    from mnist_compact.zoo.classifier import Classifier

SCHEMA_VERSION = 1


@dataclass(kw_only=True, slots=True, frozen=True)
class Card:
    """The model card of a network. All scores are on the test images at the last epoch.

    Attributes:
        name: Name of the network in the zoo.
        config: Configuration of its run, as in a run record.
        parameters: Number of parameters.
        macs: Multiply-accumulate operations per image.
        receptive_field: Receptive field in px; None if it is unknown.
        layers: The rows of `layers.csv`.
        seed: Seed of the weights.
        choice: Why this seed was chosen.
        weights: raw or averaged.
        correct: Number of test images that are classified correctly.
        total: Number of test images.
        loss: Log-loss.
        evidence: n, mean, sd, minimum, maximum, low and high of the accuracies of the confirmation, in per cent.
        accuracies: Accuracy of every seed of the confirmation, in per cent.
        source: Where the configuration comes from.
        minutes: Mean duration of training and evaluation over the seeds, for each machine.
        versions: Versions of Python and packages, and the commit.
        robustness: Mean accuracy on corrupted test images and expected calibration error, both in per cent, and the
            log-loss after division of the logits by the fitted temperature; empty if they were not measured.
    """

    schema_version: int = SCHEMA_VERSION
    name: str
    config: dict[str, Any]
    parameters: int
    macs: int
    receptive_field: int | None
    layers: list[dict[str, str]]
    seed: int
    choice: str
    weights: str
    correct: int
    total: int
    loss: float
    evidence: dict[str, Any]
    accuracies: dict[str, float]
    source: str
    minutes: dict[str, float]
    versions: dict[str, str]
    robustness: dict[str, float] = field(default_factory=dict)

    @property
    def accuracy(self) -> float:
        """Accuracy of the weights in per cent."""
        return 100 * self.correct / self.total

    def as_json(self) -> str:
        """Return the card as JSON."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a model card from a JSON file.

        Raises:
            ConfigError: The file is not a model card that this version can read.
        """
        raw = read_versioned(path, (SCHEMA_VERSION,))
        try:
            return cls(**all_fields_of(cls, raw, "the card"))
        except ValueError as error:
            raise ConfigError([f"{path} is not a model card: {error}"]) from error


def zoo_folder() -> Path:
    """Return the folder of the zoo in the package."""
    return Path(str(files(__package__))) / "networks"


def names() -> list[str]:
    """Return the names of all networks in the zoo."""
    return sorted(path.stem for path in zoo_folder().glob(f"*{WEIGHTS_SUFFIX}"))


def card(name: str) -> Card:
    """Read the model card of a network of the zoo.

    Raises:
        ConfigError: The zoo has no network with this name.
    """
    return Card.read(_entry(name).with_suffix(".json"))


def load(name: str) -> "Classifier":
    """Load a network of the zoo.

    Args:
        name: Its name, as `python -m mnist_compact.zoo` lists it.

    Returns:
        The network with the normalisation of its input.

    Raises:
        ConfigError: The zoo has no network with this name.

    Example:
        >>> digits, probabilities = load("under_8k").classify(images)  # doctest: +SKIP
    """
    from mnist_compact.zoo.classifier import read

    return read(_entry(name))


def _entry(name: str) -> Path:
    if name not in names():
        raise ConfigError(
            [f"There is no {name!r} in the zoo; it holds {', '.join(names()) or 'nothing'}.{nearest(name, names())}"]
        )
    return zoo_folder() / f"{name}{WEIGHTS_SUFFIX}"
