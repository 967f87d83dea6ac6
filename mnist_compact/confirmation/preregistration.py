"""What will be confirmed, written down before the test images are read: the strongest thing that a report can show."""

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from mnist_compact.common.atomic import replacing
from mnist_compact.common.bounded_read import read_json
from mnist_compact.common.errors import ConfigError
from mnist_compact.common.nested import changes
from mnist_compact.confirmation.confirmation import Confirmation, comparable

SCHEMA_VERSION = 1
FILENAME = "plan.json"  # of the copy in a confirmation's folder


@dataclass(kw_only=True, slots=True, frozen=True)
class Preregistration:
    """`config` is what the scores depend on, and `digest` the SHA-256 of it."""

    schema_version: int = SCHEMA_VERSION
    planned_at: str  # ISO 8601 with time zone
    source: str  # where the configuration comes from, in words
    split: str
    seeds: list[int]
    threshold: float  # per cent
    stop_early: bool
    digest: str
    config: dict[str, Any]

    @classmethod
    def of(cls, confirmation: Confirmation, seeds: list[int], threshold: float, *, stop_early: bool) -> Self:
        """As from now."""
        config = comparable(confirmation)
        return cls(
            planned_at=datetime.now(UTC).astimezone().isoformat(timespec="seconds"),
            source=confirmation.source,
            split=confirmation.split,
            seeds=seeds,
            threshold=threshold,
            stop_early=stop_early,
            digest=digest_of(config),
            config=config,
        )

    def write(self, path: Path) -> None:
        with replacing(path) as beside:
            beside.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises ConfigError for what is no plan, and for one that was changed since it was written."""
        try:
            raw = read_json(path)
            if raw["schema_version"] != SCHEMA_VERSION:
                raise ValueError(f"schema version {raw['schema_version']!r}; this program reads {SCHEMA_VERSION}")
            plan = cls(**raw)
            datetime.fromisoformat(plan.planned_at)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError([f"{path} is no plan: {error}"]) from error
        if digest_of(plan.config) != plan.digest:
            raise ConfigError([f"{path} was changed since it was written: its digest is of another configuration"])
        return plan

    def deviations(
        self, confirmation: Confirmation, seeds: list[int], threshold: float, *, stop_early: bool, begun: dict[int, str]
    ) -> list[str]:
        """In what a confirmation, its seeds `begun` at these times, is not what was planned; none if it is."""
        now = {**comparable(confirmation), "threshold": threshold, "stop early": stop_early}
        found = changes({**self.config, "threshold": self.threshold, "stop early": self.stop_early}, now)
        if seeds != self.seeds:
            found.append(f"seeds: {_told(self.seeds)} → {_told(seeds)}")
        planned = datetime.fromisoformat(self.planned_at)
        before = [seed for seed, at in begun.items() if datetime.fromisoformat(at) < planned]
        if before:
            found.append(f"seeds {', '.join(map(str, before))} were begun before it")
        return found


def digest_of(config: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def _told(seeds: list[int]) -> str:
    if not seeds:
        return "none"
    consecutive = seeds == [*range(seeds[0], seeds[0] + len(seeds))]
    return f"{len(seeds)} from {seeds[0]} on" if consecutive else ", ".join(map(str, seeds))
