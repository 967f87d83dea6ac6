"""A confirmation on disk: which configuration, on which split, with which seeds.

outputs/confirmations/<name>/
    confirmation.json       what is confirmed; written once
    plan.json               a copy of the plan, if one was written before (see `plans`)
    seeds/<seed>/           a run folder a seed
    locks/                  held by the processes at work
"""

import dataclasses
import itertools
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from mnist_compact.common.atomic import replacing
from mnist_compact.common.bounded_read import read_json
from mnist_compact.common.errors import ConfigError
from mnist_compact.common.nested import changes
from mnist_compact.config.conversion import from_record
from mnist_compact.config.schema import RunConfig, to_record
from mnist_compact.confirmation.seed_pool import seeds_of
from mnist_compact.data.config import HoldoutConfig
from mnist_compact.records.discovery import CONFIRMED
from mnist_compact.records.migrations import with_machine
from mnist_compact.records.settings import MACHINE

SCHEMA_VERSION = 2
READABLE = (1, 2)  # of the first the configuration is a record's from before version 3
# Far from what people type and from one another: a ranking takes part in the choice, so the seeds of the confirmation
# that follows, on whatever split, must be none of its.
FIRST_RANKED = 100
FIRST_SEED = {"test": 1000, "holdout": 2000, "synthetic": 3000}  # by what the images are for


@dataclass(kw_only=True, slots=True)
class Confirmation:
    """`config` is a record's (see `mnist_compact.config.schema.to_record`), on the split that is scored."""

    schema_version: int = SCHEMA_VERSION
    name: str
    source: str  # where the configuration comes from, in words
    split: str
    config: dict[str, Any]
    used_seeds: list[int] = field(default_factory=list)  # in compose_cache it, so not to be used again
    ranking: bool = False  # whether it is a candidate's part in a ranking

    @classmethod
    def of(
        cls, name: str, source: str, run: RunConfig, role: str, used_seeds: set[int], *, ranking: bool = False
    ) -> Self:
        """A ranking is on another held-out part than the configuration's: not on images that it was chosen by.

        `role` is test, holdout or synthetic. Raises ConfigError for what the data set does not have.
        """
        data = run.data.scored_on(role)  # with all of the training images for test images
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

    def seeds(self, count: int) -> list[int]:
        """The first `count` seeds that were not used before."""
        first = FIRST_RANKED if self.ranking else FIRST_SEED[from_record(self.config).data.role]
        fresh = (seed for seed in itertools.count(first) if seed not in self.used_seeds)
        return list(itertools.islice(fresh, count))

    def run_config(self, seed: int) -> RunConfig:
        return dataclasses.replace(from_record(self.config), seed=seed)

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / CONFIRMED) as path:
            path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Raises ConfigError where there is none that this version can read."""
        path = folder / CONFIRMED
        try:
            raw = read_json(path)
        except OSError as error:
            raise ConfigError(
                [f"{folder} holds no confirmation: {CONFIRMED} cannot be read ({error.strerror})"]
            ) from error
        except ValueError as error:
            raise ConfigError([f"{path} is damaged: {error}"]) from error
        version = raw.get("schema_version") if isinstance(raw, dict) else None
        if version not in READABLE:
            known = ", ".join(map(str, READABLE))
            raise ConfigError([f"{path} has schema version {version!r}; this program reads {known}"])
        try:
            return cls(**{**raw, "schema_version": SCHEMA_VERSION, "config": with_machine(raw["config"])})
        except (KeyError, TypeError) as error:
            raise ConfigError([f"{path} is damaged: {error}"]) from error


def begin(confirmation: Confirmation, folder: Path) -> Confirmation:
    """Begin `confirmation` in `folder`, or go on with the same one there; what stands there then is returned.

    Seeds that were used in choosing since are left out from now on. Raises ConfigError where some of them were trained
    here already, and, naming what differs, where another confirmation stands.
    """
    if not (folder / CONFIRMED).exists():
        confirmation.write(folder)
        return confirmation
    there = Confirmation.read(folder)
    differences = changes(comparable(there), comparable(confirmation))
    if differences:
        raise ConfigError(
            [f"{folder} confirms another configuration ({'; '.join(differences)}); --name <name> begins one beside it"]
        )
    used = {*there.used_seeds, *confirmation.used_seeds}
    spent = sorted(used.intersection(seeds_of(folder)))
    if spent:
        told = ", ".join(map(str, spent))
        raise ConfigError(
            [f"seeds {told} in {folder} have since been used in compose_cache; --name <name> begins afresh"]
        )
    if used != set(there.used_seeds):
        there.used_seeds = sorted(used)
        there.write(folder)
    return there


def comparable(confirmation: Confirmation) -> dict[str, Any]:
    """What the scores depend on: not the seed, which differs anyway, nor the machine."""
    config = {key: value for key, value in confirmation.config.items() if key not in ("seed", "experiment", MACHINE)}
    return {**config, "split": confirmation.split, "ranking": confirmation.ranking}
