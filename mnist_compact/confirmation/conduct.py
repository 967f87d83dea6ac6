"""One confirmation from its configuration to the results of its seeds, for the command and for Python."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mnist_compact.common.errors import ConfigError
from mnist_compact.common.wording import counted
from mnist_compact.confirmation import interim, seed_pool
from mnist_compact.confirmation.confirmation import Confirmation, create_or_load
from mnist_compact.confirmation.preregistration import FILENAME as PLAN
from mnist_compact.confirmation.preregistration import Preregistration
from mnist_compact.confirmation.results import SeedResults
from mnist_compact.confirmation.sources import ConfirmSource
from mnist_compact.records.discovery import is_below


@dataclass(kw_only=True, slots=True, frozen=True)
class ConfirmSpec:
    """What a confirmation is to test: is the mean accuracy of fresh seeds above a threshold?

    Attributes:
        folder: Folder of the confirmation.
        confirmation: The configuration and its split.
        count: Number of seeds.
        threshold: Accuracy in per cent that the mean is compared with.
        stop_early: Whether to stop when the result is significant or futile.
    """

    folder: Path
    confirmation: Confirmation
    count: int
    threshold: float
    stop_early: bool = False
    callbacks: Sequence[str] = ()  # of every seed's run, by the names of `named_callbacks`

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ConfigError([f"--seeds must be at least 1, got {self.count}"])
        if not 0 <= self.threshold <= 100:
            raise ConfigError([f"--threshold must be per cent, from 0 to 100, got {self.threshold}"])
        if self.stop_early and self.count != interim.SEEDS:
            raise ConfigError([f"--stop early requires --seeds {interim.SEEDS}, got {self.count}"])

    @property
    def seeds(self) -> list[int]:
        """The seeds to train."""
        return self.confirmation.seeds(self.count)

    def preregister(self) -> Preregistration:
        """Preregister this confirmation as of now.

        Raises:
            ConfigError: A seed was started already. A preregistration must come before the first seed.
        """
        if started := seed_pool.seeds_of(self.folder):
            raise ConfigError(
                [
                    f"{self.folder} has {counted(len(started), 'seed')} already, and a preregistration must come "
                    "before the first seed; use --name <name> to start another confirmation"
                ]
            )
        return Preregistration.of(self.confirmation, self.seeds, self.threshold, stop_early=self.stop_early)


def prepare(
    source: ConfirmSource, split: str, confirmations: Path, name: str | None = None, *, ranking: bool = False
) -> tuple[Path, Confirmation]:
    """Determine the folder and the content of a confirmation, and check that it can be trained. Nothing is written.

    Args:
        source: The configuration to confirm.
        split: The images that are scored: test, holdout or synthetic.
        confirmations: Folder of all confirmations.
        name: Name of the confirmation; by default it is derived from the source.
        ranking: Whether the confirmation is a candidate of a ranking.

    Returns:
        The folder of the confirmation, and the confirmation.

    Raises:
        ConfigError: The name leads to another folder, or the configuration cannot be trained.
    """
    from mnist_compact.runs.trainer import check

    suffix = "-ranking" if ranking else "" if split == "test" else f"-{split}"
    name = f"{source.name}{suffix}" if name is None else name
    if not is_below(name):
        raise ConfigError([f"--name must be the name of a folder below {confirmations}, got {name!r}"])
    confirmation = Confirmation.of(name, source.description, source.run, split, source.used_seeds, ranking=ranking)
    check(confirmation.run_config(0))
    return confirmations / name, confirmation


def conduct(spec: ConfirmSpec, jobs: int, plan: Preregistration | None = None) -> tuple[SeedResults, list[str]]:
    """Train the missing seeds of a confirmation.

    Args:
        spec: The confirmation.
        jobs: Number of processes side by side; 0 means one for each core.
        plan: A preregistration, which is copied into the folder before training.

    Returns:
        The results, and an error message for each seed that could not be trained.

    Raises:
        ConfigError: The folder holds another confirmation or another preregistration.
    """
    folder = spec.folder
    confirmation = create_or_load(spec.confirmation, folder)
    if plan is not None:
        if (folder / PLAN).exists() and Preregistration.read(folder / PLAN) != plan:
            raise ConfigError(
                [f"{folder} holds another preregistration; use --name <name> to start another confirmation"]
            )
        plan.write(folder / PLAN)
    if spec.stop_early:
        return _train_in_stages(spec, confirmation, jobs)
    seeds = confirmation.seeds(spec.count)
    errors = seed_pool.train([(folder, seeds)], jobs, spec.callbacks)
    return SeedResults.gather(folder, seeds, spec.threshold), errors


def _train_in_stages(spec: ConfirmSpec, confirmation: Confirmation, jobs: int) -> tuple[SeedResults, list[str]]:
    for count in interim.LIMITS:
        seeds = confirmation.seeds(count)
        errors = seed_pool.train([(spec.folder, seeds)], jobs, spec.callbacks)
        seed_results = SeedResults.gather(spec.folder, seeds, spec.threshold)
        if errors or seed_results.failed:  # one seed that diverged decides the result
            break
        analysis = interim.InterimAnalysis.at(seed_results.accuracies, spec.threshold)
        seed_results = dataclasses.replace(seed_results, interim=analysis)
        if analysis.finished:
            break
        print(analysis.describe())
    return seed_results, errors
