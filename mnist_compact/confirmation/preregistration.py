"""Preregistrations: a file that states what will be confirmed, written before the test images are read."""

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from mnist_compact.common.atomic import replacing
from mnist_compact.common.errors import ConfigError
from mnist_compact.common.versioned_json import all_fields_of, read_versioned
from mnist_compact.confirmation.confirmation import Confirmation, comparable, differences
from mnist_compact.records.migrations import with_threshold

SCHEMA_VERSION = 2
READABLE = (1, 2)  # version 1 names the threshold `bar`
FILENAME = "plan.json"  # of the copy in the folder of a confirmation


@dataclass(kw_only=True, slots=True, frozen=True)
class Preregistration:
    """What will be confirmed, and when that was written down.

    Attributes:
        planned_at: Time of writing in UTC, ISO 8601 with time zone.
        source: Where the configuration comes from.
        split: The split that is scored.
        seeds: The seeds that will be trained.
        threshold: Accuracy in per cent that the mean is compared with.
        stop_early: Whether the confirmation stops when the result is significant or futile.
        digest: SHA-256 of `config`.
        config: Everything that the scores depend on.
    """

    schema_version: int = SCHEMA_VERSION
    planned_at: str
    source: str
    split: str
    seeds: list[int]
    threshold: float
    stop_early: bool
    digest: str
    config: dict[str, Any]

    @classmethod
    def of(cls, confirmation: Confirmation, seeds: list[int], threshold: float, *, stop_early: bool) -> Self:
        """Preregister a confirmation as of now."""
        config = comparable(confirmation)
        return cls(
            planned_at=datetime.now(UTC).isoformat(timespec="seconds"),
            source=confirmation.source,
            split=confirmation.split,
            seeds=seeds,
            threshold=threshold,
            stop_early=stop_early,
            digest=digest_of(config),
            config=config,
        )

    def write(self, path: Path) -> None:
        """Write the preregistration as JSON."""
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a preregistration.

        Raises:
            ConfigError: The file is not a preregistration, or it was changed after it was written.
        """
        raw = read_versioned(path, READABLE)
        if raw["schema_version"] == 1:
            raw = with_threshold(raw)
        try:
            arguments = all_fields_of(cls, raw, "the preregistration")
            plan = cls(**{**arguments, "schema_version": SCHEMA_VERSION})
            _parsed_time(plan.planned_at)
        except ValueError as error:
            raise ConfigError([f"{path} is not a preregistration: {error}"]) from error
        if digest_of(plan.config) != plan.digest:
            raise ConfigError([f"{path} was changed after it was written: its digest is of another configuration"])
        return plan

    def deviations(
        self,
        confirmation: Confirmation,
        seeds: list[int],
        threshold: float,
        *,
        stop_early: bool,
        started: dict[int, str],
    ) -> list[str]:
        """List how a confirmation differs from this preregistration.

        Args:
            confirmation: The confirmation.
            seeds: Its seeds.
            threshold: Its threshold in per cent.
            stop_early: Whether it could stop early.
            started: The time at which each seed was started, ISO 8601 with time zone.

        Returns:
            One line for each difference; none if the preregistration was followed.
        """
        actual = {**comparable(confirmation), "threshold": threshold, "stop early": stop_early}
        lines = differences({**self.config, "threshold": self.threshold, "stop early": self.stop_early}, actual)
        if seeds != self.seeds:
            lines.append(f"seeds: {_seeds_text(self.seeds)} → {_seeds_text(seeds)}")
        planned = _parsed_time(self.planned_at)
        early = [seed for seed, at in started.items() if datetime.fromisoformat(at) < planned]
        if early:
            lines.append(f"seeds started before the preregistration: {', '.join(map(str, early))}")
        return lines


def digest_of(config: dict[str, Any]) -> str:
    """Return the SHA-256 of a configuration, as hexadecimal digits."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def _parsed_time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise ValueError(f"planned_at must be a time in ISO 8601 with a time zone, got {text!r}")
    return time


def _seeds_text(seeds: list[int]) -> str:
    if not seeds:
        return "none"
    consecutive = seeds == [*range(seeds[0], seeds[0] + len(seeds))]
    return f"{len(seeds)} from {seeds[0]} on" if consecutive else ", ".join(map(str, seeds))
