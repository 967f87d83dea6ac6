"""A confirmation from its configuration to the results of its seeds, for the command and for notebooks."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from mnist_compact.common.errors import ConfigError
from mnist_compact.common.wording import counted
from mnist_compact.confirmation import interim, seed_pool
from mnist_compact.confirmation.confirmation import Confirmation, begin
from mnist_compact.confirmation.preregistration import FILENAME as PLAN
from mnist_compact.confirmation.preregistration import Preregistration
from mnist_compact.confirmation.results import SeedResults
from mnist_compact.confirmation.sources import ConfirmSource
from mnist_compact.records.discovery import is_below


@dataclass(kw_only=True, slots=True, frozen=True)
class ConfirmSpec:
    """Is the mean of `count` fresh seeds above `threshold` per cent? With `stop_early` as many as it takes to tell."""

    folder: Path
    confirmation: Confirmation
    count: int
    threshold: float
    stop_early: bool = False

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ConfigError([f"--seeds must be at least 1, got {self.count}"])
        if not 0 <= self.threshold <= 100:
            raise ConfigError([f"--threshold must be per cent, from 0 to 100, got {self.threshold}"])
        if self.stop_early and self.count != interim.SEEDS:
            raise ConfigError([f"--stop early has limits for --seeds {interim.SEEDS}, got {self.count}"])

    @property
    def seeds(self) -> list[int]:
        return self.confirmation.seeds(self.count)

    def plan(self) -> Preregistration:
        """As from now. Raises ConfigError once seeds were begun: a plan comes before."""
        if begun := seed_pool.seeds_of(self.folder):
            raise ConfigError(
                [
                    f"{self.folder} has {counted(len(begun), 'seed')} already, and a plan must come before the first; "
                    "--name <name> begins another confirmation"
                ]
            )
        return Preregistration.of(self.confirmation, self.seeds, self.threshold, stop_early=self.stop_early)


def place(
    source: ConfirmSource, split: str, among: Path, name: str | None = None, *, ranking: bool = False
) -> tuple[Path, Confirmation]:
    """Folder and content of a confirmation of `source`, or of its part in a ranking. Nothing is written.

    Raises ConfigError for a name that leads elsewhere, and for what cannot be trained.
    """
    from mnist_compact.runs.trainer import check

    ending = "-ranking" if ranking else "" if split == "test" else f"-{split}"
    name = f"{source.name}{ending}" if name is None else name
    if not is_below(name):
        raise ConfigError([f"--name must be a folder's below {among}, got {name!r}"])
    confirmation = Confirmation.of(name, source.told, source.run, split, source.used_seeds, ranking=ranking)
    check(confirmation.run_config(0))
    return among / name, confirmation


def conduct(spec: ConfirmSpec, jobs: int, plan: Preregistration | None = None) -> tuple[SeedResults, list[str]]:
    """Train the seeds that are missing; returns the results and, one line for each seed, what could not be trained.

    A `plan` is copied into the folder before. Raises ConfigError where another confirmation or plan stands there.
    """
    folder = spec.folder
    confirmation = begin(spec.confirmation, folder)
    if plan is not None:
        if (folder / PLAN).exists() and Preregistration.read(folder / PLAN) != plan:
            raise ConfigError([f"{folder} holds another plan; --name <name> begins beside it"])
        plan.write(folder / PLAN)
    if spec.stop_early:
        return _as_far_as_it_takes(folder, confirmation, spec.threshold, jobs)
    seeds = confirmation.seeds(spec.count)
    faults = seed_pool.train([(folder, seeds)], jobs)
    return SeedResults.gather(folder, seeds, spec.threshold), faults


def _as_far_as_it_takes(
    folder: Path, confirmation: Confirmation, threshold: float, jobs: int
) -> tuple[SeedResults, list[str]]:
    for count in interim.LIMITS:
        seeds = confirmation.seeds(count)
        faults = seed_pool.train([(folder, seeds)], jobs)
        seed_results = SeedResults.gather(folder, seeds, threshold)
        if faults or seed_results.failed:  # one that diverged decides it
            break
        look = interim.InterimAnalysis.at(seed_results.accuracies, threshold)
        seed_results = dataclasses.replace(seed_results, early=look)
        if look.ended:
            break
        print(look.told())
    return seed_results, faults
