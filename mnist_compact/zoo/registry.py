"""The zoo: networks that come along, each a file of weights, a card for programs and the same card for people."""

import json
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

from mnist_compact.common.bounded_read import read_json
from mnist_compact.common.errors import ConfigError, nearest
from mnist_compact.zoo.classifier import ENDING, Classifier, read

SCHEMA_VERSION = 1


@dataclass(kw_only=True, slots=True, frozen=True)
class Card:
    """What is known of a network of the zoo. Accuracies in per cent, on the test images at the last epoch."""

    schema_version: int = SCHEMA_VERSION
    name: str
    config: dict[str, Any]  # of the run, as a record has it
    parameters: int
    macs: int
    receptive_field: int | None  # px
    layers: list[dict[str, str]]  # as layers.csv
    seed: int
    choice: str  # why this seed, in words
    weights: str  # raw or averaged
    correct: int
    total: int
    loss: float
    evidence: dict[str, Any]  # n, mean, sd, minimum, maximum, low, high of the confirmation it is from
    accuracies: dict[str, float]  # of every seed of the confirmation
    source: str  # of the configuration, in words
    minutes: dict[str, float]  # of training and evaluation, on average over the seeds, by the machine
    versions: dict[str, str]

    @property
    def accuracy(self) -> float:
        return 100 * self.correct / self.total

    def as_json(self) -> str:
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises ConfigError for a file that is no card of this version."""
        try:
            raw = read_json(path)
            if raw["schema_version"] != SCHEMA_VERSION:
                raise ValueError(f"schema version {raw['schema_version']!r}; this program reads {SCHEMA_VERSION}")
            return cls(**raw)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError([f"{path} is no card: {error}"]) from error


def zoo_folder() -> Path:
    return Path(str(files(__package__))) / "networks"


def names() -> list[str]:
    return sorted(path.stem for path in zoo_folder().glob(f"*{ENDING}"))


def card(name: str) -> Card:
    """Raises ConfigError for a name that is not in the zoo."""
    return Card.read(_entry(name).with_suffix(".json"))


def load(name: str) -> Classifier:
    """The network of the zoo with this name. Raises ConfigError for a name that is not in the zoo."""
    return read(_entry(name))


def _entry(name: str) -> Path:
    if name not in names():
        raise ConfigError(
            [f"There is no {name!r} in the zoo: {', '.join(names()) or 'empty'}.{nearest(name, names())}"]
        )
    return zoo_folder() / f"{name}{ENDING}"
