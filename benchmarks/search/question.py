"""What is searched, recorded and replayed: question.yaml as both sweepers' arguments, as a grid, as a study."""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from mnist_compact.common.errors import ConfigError
from mnist_compact.config.registration import register
from mnist_compact.config.sweeper import CompactSweeperConfig
from mnist_compact.search.snapshot import ConfigSnapshot, take_snapshot
from mnist_compact.search.space import SearchSpace

FILE = Path(__file__).with_name("question.yaml")
SYNTHETIC = ["data=synthetic", "data.train_images=1024", "data.evaluation_images=500"]
CONDITIONAL = "optim.lr"  # the key that the branches take over

Point = tuple[Any, ...]  # a level of each axis


@dataclass(slots=True, frozen=True)
class Axis:
    """A searched key and the values of it that are recorded."""

    key: str
    distribution: BaseDistribution
    levels: Point

    @classmethod
    def of(cls, key: str, distribution: BaseDistribution, count: int | None) -> "Axis":
        """All choices of a choice; of an interval `count` levels from end to end, even as the search sees it."""
        if isinstance(distribution, CategoricalDistribution):
            return cls(key, distribution, tuple(distribution.choices))
        assert isinstance(distribution, FloatDistribution | IntDistribution)
        assert count is not None, f"question.yaml: levels must say how many of {key} are recorded"
        low, high = (_scaled(end, distribution) for end in (distribution.low, distribution.high))
        evenly = [low + (high - low) * i / (count - 1) for i in range(count)]
        numbers = [float(f"{math.exp(x) if distribution.log else x:.4g}") for x in evenly]
        whole = isinstance(distribution, IntDistribution)
        return cls(key, distribution, tuple(round(number) if whole else number for number in numbers))

    def distances(self, value: str) -> dict[Any, float]:
        """Level → how far it is from a proposal, in widths of the range; 1 for another choice."""
        distribution = self.distribution
        if isinstance(distribution, CategoricalDistribution):
            return {level: float(str(level) != value) for level in self.levels}
        assert isinstance(distribution, FloatDistribution | IntDistribution)
        low, high, place = (_scaled(x, distribution) for x in (distribution.low, distribution.high, float(value)))
        return {level: abs(_scaled(level, distribution) - place) / (high - low) for level in self.levels}


def _scaled(value: float, distribution: FloatDistribution | IntDistribution) -> float:
    return math.log(value) if distribution.log else value


@dataclass(slots=True, frozen=True)
class SearchQuestion:
    overrides: tuple[str, ...]  # that all trials share
    params: Mapping[str, str]
    branches: Mapping[str, Any]
    axes: tuple[Axis, ...]
    synthetic: bool = False  # images made on the spot, no MNIST needed

    @classmethod
    def read(cls, *, synthetic: bool = False) -> "SearchQuestion":
        content = yaml.safe_load(FILE.read_text())
        params, levels = content["params"], content["levels"]
        dimensions = SearchSpace.parse(params, {}, []).parameters
        axes = tuple(Axis.of(found.key, found.distribution, levels.get(found.key)) for found in dimensions)
        overrides = (*(SYNTHETIC if synthetic else content["data"]), *content["overrides"])
        return cls(overrides, params, content["branches"], axes, synthetic)

    def shortened(self, epochs: int) -> "SearchQuestion":
        return replace(self, overrides=(*self.overrides, f"train.epochs={epochs}"))

    def grid(self) -> Iterator[Point]:
        return itertools.product(*(axis.levels for axis in self.axes))

    def told(self, point: Point) -> list[str]:
        """The point as overrides."""
        return [f"{axis.key}={level}" for axis, level in zip(self.axes, point, strict=True)]

    def nearest(self, overrides: Iterable[str], points: Iterable[Point]) -> Point:
        """The one of `points` that stands for a proposal: the nearest, by the squares of the axes' distances."""
        values = dict(override.split("=", 1) for override in overrides)
        axes = [axis.distances(values[axis.key]) for axis in self.axes]
        return min(points, key=lambda point: sum(far[level] ** 2 for far, level in zip(axes, point, strict=True)))

    def arguments(self) -> list[str]:
        """What either sweeper is told on its command line of trials and space."""
        return [*self.overrides, *(f"{key}={sweep}" for key, sweep in self.params.items())]

    def snapshot(self, *, sampler: str, pruner: str | None = None, branched: bool = False) -> ConfigSnapshot:
        """The study as `hydra/sweeper=compact` would take a snapshot of it.

        `sampler` and `pruner`: an option of the group or, for pruners, a class of optuna.pruners, settings after a
        colon, such as percentile:percentile=25,n_warmup_steps=4; None is the sweeper's default. `branched`: with the
        branches.
        """
        register()
        store, sweeper = ConfigStore.instance(), OmegaConf.structured(CompactSweeperConfig)
        option, settings = named(sampler)
        sweeper.sampler = store.load(f"hydra/sweeper/sampler/{option}.yaml").node
        for key, value in settings.items():
            OmegaConf.update(sweeper, f"sampler.{key}", value)
        name, settings = named(pruner or next(one["pruner"] for one in sweeper.defaults if "pruner" in one))
        foreign = name.endswith("Pruner")
        if not foreign:
            sweeper.pruner = store.load(f"hydra/sweeper/pruner/{name}.yaml").node
            for key, value in settings.items():
                OmegaConf.update(sweeper, f"pruner.{key}", value)
        arguments = [one for one in self.arguments() if not (branched and one.startswith(f"{CONDITIONAL}="))]
        snapshot = take_snapshot(sweeper, arguments)
        if branched:
            snapshot["settings"]["branches"] = dict(self.branches)
        if foreign:
            snapshot["settings"]["pruner"] = {"_target_": f"optuna.pruners.{name}", **settings}
        return snapshot


def named(option: str) -> tuple[str, dict[str, Any]]:
    """The name and the settings of such as percentile:percentile=25,n_warmup_steps=4."""
    name, _, settings = option.partition(":")
    pairs = (setting.partition("=") for setting in settings.split(",") if setting)
    return name, {key: yaml.safe_load(value) for key, _, value in pairs}


def pruner_overrides(pruner: str | None) -> list[str]:
    """An option of hydra/sweeper/pruner and its settings on a command line; none for the sweeper's default.

    Raises ConfigError for a class, which a command line cannot choose.
    """
    if pruner is None:
        return []
    name, settings = named(pruner)
    if name.endswith("Pruner"):
        raise ConfigError([f"a real search needs an option of hydra/sweeper/pruner, got {name}"])
    return [f"hydra/sweeper/pruner={name}", *(f"hydra.sweeper.pruner.{key}={value}" for key, value in settings.items())]
