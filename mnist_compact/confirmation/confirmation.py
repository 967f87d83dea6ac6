"""A confirmation on disk: which configuration, on which split, with which seeds.

outputs/confirmations/<name>/
    confirmation.json       what is confirmed
    plan.json               a copy of the preregistration, if there is one (see `preregistration`)
    seeds/<seed>/           one run folder for each seed
    locks/                  lock files of the processes that train
"""

import dataclasses
import itertools
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from mnist_compact.common.atomic import replacing
from mnist_compact.common.errors import ConfigError
from mnist_compact.common.nested import changes
from mnist_compact.common.versioned_json import all_fields_of, read_versioned
from mnist_compact.config.conversion import from_record, part_from_record
from mnist_compact.config.schema import RunConfig, to_record
from mnist_compact.confirmation.seed_pool import seeds_of
from mnist_compact.data.config import HoldoutConfig
from mnist_compact.records.discovery import CONFIRMED
from mnist_compact.records.migrations import with_machine
from mnist_compact.records.settings import MACHINE

SCHEMA_VERSION = 2
READABLE = (1, 2)  # in version 1 the configuration has the form of run records before their version 3
# A ranking is part of choosing a configuration, so it must not share a seed with the confirmation that follows on any
# split. The first seeds are far from those that users choose, and far from one another.
FIRST_RANKED = 100
FIRST_SEED = {"test": 1000, "holdout": 2000, "synthetic": 3000}  # role of the scored images → first seed


@dataclass(kw_only=True, slots=True)
class Confirmation:
    """One configuration, the split that it is scored on, and the seeds that may be used.

    Attributes:
        name: Name of the confirmation.
        source: Where the configuration comes from.
        split: The split that is scored.
        config: The configuration as `mnist_compact.config.schema.to_record` returns it, with data for `split`.
        used_seeds: Seeds that were used to choose the configuration, and that must not be used again.
        ranking: Whether this is a candidate of a ranking.
    """

    schema_version: int = SCHEMA_VERSION
    name: str
    source: str
    split: str
    config: dict[str, Any]
    used_seeds: list[int] = field(default_factory=list)
    ranking: bool = False

    @classmethod
    def of(
        cls, name: str, source: str, run: RunConfig, role: str, used_seeds: set[int], *, ranking: bool = False
    ) -> Self:
        """Create the confirmation of a configuration.

        A ranking uses another held-out part than the configuration, because the configuration was chosen by its scores
        on that part.

        Args:
            name: Name of the confirmation.
            source: Where the configuration comes from.
            run: The configuration.
            role: Role of the images that are scored: test, holdout or synthetic. For the test images, the network is
                trained on all training images.
            used_seeds: Seeds that were used to choose the configuration.
            ranking: Whether this is a candidate of a ranking.

        Raises:
            ConfigError: The data set has no images with this role.
        """
        data = run.data.scored_on(role)
        if ranking and isinstance(data, HoldoutConfig):
            data = dataclasses.replace(data, split_seed=data.split_seed + 1)
        return cls(
            name=name,
            source=source,
            split=data.evaluated_split,
            config=to_record(dataclasses.replace(run, data=data)),
            used_seeds=sorted(used_seeds),
            ranking=ranking,
        )

    @property
    def role(self) -> str:
        """Role of the images that are scored: test, holdout or synthetic."""
        return from_record(self.config).data.role

    def seeds(self, count: int) -> list[int]:
        """Return the first `count` seeds that were not used to choose the configuration."""
        first = FIRST_RANKED if self.ranking else FIRST_SEED[self.role]
        fresh = (seed for seed in itertools.count(first) if seed not in self.used_seeds)
        return list(itertools.islice(fresh, count))

    def run_config(self, seed: int) -> RunConfig:
        """Return the configuration of the run with this seed."""
        return dataclasses.replace(from_record(self.config), seed=seed)

    def write(self, folder: Path) -> None:
        """Write `confirmation.json` into a folder, which is created if it does not exist."""
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / CONFIRMED) as path:
            path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the confirmation in a folder.

        Raises:
            ConfigError: There is none, or this version cannot read it.
        """
        path = folder / CONFIRMED
        if not path.exists():
            raise ConfigError([f"{folder} holds no confirmation: {CONFIRMED} does not exist"])
        raw = read_versioned(path, READABLE)
        try:
            arguments = all_fields_of(cls, raw, "the confirmation")
        except ValueError as error:
            raise ConfigError([f"{path} is damaged: {error}"]) from error
        config = with_machine(arguments["config"])
        return cls(**{**arguments, "schema_version": SCHEMA_VERSION, "config": config})


def create_or_load(confirmation: Confirmation, folder: Path) -> Confirmation:
    """Write a confirmation into a new folder, or load the same one from an existing folder.

    Seeds that were used to choose the configuration in the meantime are added to `used_seeds`.

    Args:
        confirmation: The confirmation to create or to continue.
        folder: Folder of the confirmation.

    Returns:
        The confirmation that the folder holds afterwards.

    Raises:
        ConfigError: The folder holds the confirmation of another configuration, or seeds that were trained here have
            since been used to choose the configuration.
    """
    if not (folder / CONFIRMED).exists():
        confirmation.write(folder)
        return confirmation
    existing = Confirmation.read(folder)
    changed = differences(comparable(existing), comparable(confirmation))
    if changed:
        raise ConfigError(
            [
                f"{folder} confirms another configuration ({'; '.join(changed)}); "
                "use --name <name> to start another confirmation"
            ]
        )
    used = {*existing.used_seeds, *confirmation.used_seeds}
    reused = sorted(used.intersection(seeds_of(folder)))
    if reused:
        seeds = ", ".join(map(str, reused))
        raise ConfigError(
            [
                f"seeds {seeds} in {folder} have since been used to choose a configuration; "
                "use --name <name> to start another confirmation"
            ]
        )
    if used != set(existing.used_seeds):
        existing.used_seeds = sorted(used)
        existing.write(folder)
    return existing


def comparable(confirmation: Confirmation) -> dict[str, Any]:
    """Return what the scores depend on, except the seed. The machine and the experiment's name do not count."""
    config = {key: value for key, value in confirmation.config.items() if key not in ("seed", "experiment", MACHINE)}
    return {**config, "split": confirmation.split, "ranking": confirmation.ranking}


def differences(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """List the differences between two values of `comparable`, as lines `key: then → now`.

    Two descriptions of the same network, such as the one by stages and the one by layers, do not count as a difference.
    """
    if then["model"] != now["model"] and _same_network(then["model"], now["model"]):
        then = {**then, "model": now["model"]}
    return changes(then, now)


def _same_network(first: dict[str, Any], second: dict[str, Any]) -> bool:
    try:
        one, other = (part_from_record("model", recorded).specification() for recorded in (first, second))
    except ConfigError:  # a file of another version, whose differences are listed as they are
        return False
    return bool(one == other)
