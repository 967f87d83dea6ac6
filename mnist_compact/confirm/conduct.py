"""A confirmation from its configuration to its evidence, for the command and for notebooks."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from mnist_compact.confirm import crew, early
from mnist_compact.confirm.confirmation import Confirmation, begin
from mnist_compact.confirm.evidence import Evidence
from mnist_compact.confirm.plans import FILENAME as PLAN
from mnist_compact.confirm.plans import Plan
from mnist_compact.confirm.sources import Source
from mnist_compact.faults import ConfigError
from mnist_compact.results.finding import is_below
from mnist_compact.wording import counted


@dataclass(kw_only=True, slots=True, frozen=True)
class Question:
    """Is the mean of `count` fresh seeds above `bar` per cent? With `stop_early` as many as it takes to tell."""

    folder: Path
    confirmation: Confirmation
    count: int
    bar: float
    stop_early: bool = False

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ConfigError([f"--seeds must be at least 1, got {self.count}"])
        if not 0 <= self.bar <= 100:
            raise ConfigError([f"--bar must be per cent, from 0 to 100, got {self.bar}"])
        if self.stop_early and self.count != early.SEEDS:
            raise ConfigError([f"--stop early has limits for --seeds {early.SEEDS}, got {self.count}"])

    @property
    def seeds(self) -> list[int]:
        return self.confirmation.seeds(self.count)

    def plan(self) -> Plan:
        """As from now. Raises ConfigError once seeds were begun: a plan comes before."""
        if begun := crew.seeds_of(self.folder):
            raise ConfigError(
                [
                    f"{self.folder} has {counted(len(begun), 'seed')} already, and a plan must come before the first; "
                    "--name <name> begins another confirmation"
                ]
            )
        return Plan.of(self.confirmation, self.seeds, self.bar, stop_early=self.stop_early)


def place(
    source: Source, split: str, among: Path, name: str | None = None, *, ranking: bool = False
) -> tuple[Path, Confirmation]:
    """Folder and content of a confirmation of `source`, or of its part in a ranking. Nothing is written.

    Raises ConfigError for a name that leads elsewhere, and for what cannot be trained.
    """
    from mnist_compact.experiment import check

    ending = "-ranking" if ranking else "" if split == "test" else f"-{split}"
    name = f"{source.name}{ending}" if name is None else name
    if not is_below(name):
        raise ConfigError([f"--name must be a folder's below {among}, got {name!r}"])
    confirmation = Confirmation.of(name, source.told, source.run, split, source.used_seeds, ranking=ranking)
    check(confirmation.run_config(0))
    return among / name, confirmation


def conduct(question: Question, jobs: int, plan: Plan | None = None) -> tuple[Evidence, list[str]]:
    """Train the seeds that are missing; returns the evidence and, a line a seed, what could not be trained.

    A `plan` is copied into the folder before. Raises ConfigError where another confirmation or plan stands there.
    """
    folder = question.folder
    confirmation = begin(question.confirmation, folder)
    if plan is not None:
        if (folder / PLAN).exists() and Plan.read(folder / PLAN) != plan:
            raise ConfigError([f"{folder} holds another plan; --name <name> begins beside it"])
        plan.write(folder / PLAN)
    if question.stop_early:
        return _as_far_as_it_takes(folder, confirmation, question.bar, jobs)
    seeds = confirmation.seeds(question.count)
    faults = crew.train([(folder, seeds)], jobs)
    return Evidence.gather(folder, seeds, question.bar), faults


def _as_far_as_it_takes(folder: Path, confirmation: Confirmation, bar: float, jobs: int) -> tuple[Evidence, list[str]]:
    for count in early.LIMITS:
        seeds = confirmation.seeds(count)
        faults = crew.train([(folder, seeds)], jobs)
        evidence = Evidence.gather(folder, seeds, bar)
        if faults or evidence.failed:  # one that diverged decides it
            break
        look = early.Look.at(evidence.accuracies, bar)
        evidence = dataclasses.replace(evidence, early=look)
        if look.ended:
            break
        print(look.told())
    return evidence, faults
