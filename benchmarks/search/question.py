"""The benchmark's search question: question.yaml as arguments of both sweepers, as a grid, and as a config snapshot."""

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
CONDITIONAL = "optim.lr"  # the key that the branches search instead of `params`

Point = tuple[Any, ...]  # one level of each axis


@dataclass(slots=True, frozen=True)
class Axis:
    """A searched key and its recorded values."""

    key: str
    distribution: BaseDistribution
    levels: Point

    @classmethod
    def of(cls, key: str, distribution: BaseDistribution, count: int | None) -> "Axis":
        """Take all choices, or `count` levels of an interval, evenly spaced on the scale of the search."""
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
        """Return the distance of each level from a proposal, in widths of the range; 1 for another choice."""
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
    """The search question of the benchmark."""

    overrides: tuple[str, ...]  # shared by all trials
    params: Mapping[str, str]
    branches: Mapping[str, Any]
    axes: tuple[Axis, ...]
    earlier: Mapping[str, str]
    synthetic: bool = False  # generated images instead of MNIST

    @classmethod
    def read(cls, *, synthetic: bool = False) -> "SearchQuestion":
        content = yaml.safe_load(FILE.read_text())
        params, levels = content["params"], content["levels"]
        dimensions = SearchSpace.parse(params, {}, []).parameters
        axes = tuple(Axis.of(found.key, found.distribution, levels.get(found.key)) for found in dimensions)
        overrides = (*(SYNTHETIC if synthetic else content["data"]), *content["overrides"])
        return cls(overrides, params, content["branches"], axes, content["earlier"], synthetic)

    def shortened(self, epochs: int) -> "SearchQuestion":
        return replace(self, overrides=(*self.overrides, f"train.epochs={epochs}"))

    def of_earlier_study(self) -> "SearchQuestion":
        """Return the question of the earlier study, which is a part of this one."""
        return replace(self, params={**self.params, **self.earlier})

    def grid(self) -> Iterator[Point]:
        return itertools.product(*(axis.levels for axis in self.axes))

    def overrides_of(self, point: Point) -> list[str]:
        """Return the point as overrides."""
        return [f"{axis.key}={level}" for axis, level in zip(self.axes, point, strict=True)]

    def nearest(self, overrides: Iterable[str], points: Iterable[Point]) -> Point:
        """Return the point that is nearest to a proposal, by the sum of the squared distances on the axes."""
        values = dict(override.split("=", 1) for override in overrides)
        axes = [axis.distances(values[axis.key]) for axis in self.axes]
        return min(points, key=lambda point: sum(far[level] ** 2 for far, level in zip(axes, point, strict=True)))

    def arguments(self) -> list[str]:
        """Return the overrides that describe trials and space on the command line of either sweeper."""
        return [*self.overrides, *(f"{key}={sweep}" for key, sweep in self.params.items())]

    def snapshot(self, *, sampler: str, pruner: str | None = None, branched: bool = False) -> ConfigSnapshot:
        """Take the config snapshot that `hydra/sweeper=compact` would take.

        Args:
            sampler: An option of hydra/sweeper/sampler, with settings after a colon.
            pruner: An option of hydra/sweeper/pruner or a class of optuna.pruners, with settings after a colon, such as
                percentile:percentile=25,n_warmup_steps=4. None is the sweeper's default.
            branched: Whether to search the learning rate in branches.
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
    """Split an option such as percentile:percentile=25,n_warmup_steps=4 into its name and its settings."""
    name, _, settings = option.partition(":")
    pairs = (setting.partition("=") for setting in settings.split(",") if setting)
    return name, {key: yaml.safe_load(value) for key, _, value in pairs}


def pruner_overrides(pruner: str | None) -> list[str]:
    """Return a pruner and its settings as overrides; empty for the sweeper's default.

    Raises:
        ConfigError: The pruner is a class, which a command line cannot choose.
    """
    if pruner is None:
        return []
    name, settings = named(pruner)
    if name.endswith("Pruner"):
        raise ConfigError([f"a real search needs an option of hydra/sweeper/pruner, got {name}"])
    return [f"hydra/sweeper/pruner={name}", *(f"hydra.sweeper.pruner.{key}={value}" for key, value in settings.items())]
