"""A search's best, ranked again: one score of 10,000 held-out images is as uncertain as the differences are large.

In rounds, as successive halving does (Jamieson & Talwalkar 2016): each halves the candidates and doubles the seeds.
On another held-out part than the search's: the best of many owe some of their scores to the images of that one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mnist_compact.confirm import crew
from mnist_compact.confirm.confirmation import Confirmation
from mnist_compact.confirm.evidence import Evidence
from mnist_compact.faults import EXIT_FAILED, WorkFault
from mnist_compact.results.summary import BAR


@dataclass(slots=True, frozen=True)
class Round:
    """Best first: by mean accuracy, log-loss breaking ties."""

    seeds: int
    standings: list[tuple[Path, Evidence]]


def rounds(candidates: int, seeds: int) -> list[tuple[int, int]]:
    """(candidates, seeds of each) round by round, down to a last round of two.

    >>> rounds(12, 1)
    [(12, 1), (6, 2), (3, 4), (2, 8)]
    """
    plan = [(candidates, seeds)]
    while plan[-1][0] > 2:
        left, each = plan[-1]
        plan.append(((left + 1) // 2, 2 * each))
    return plan


def rank(folders: list[Path], seeds: int, jobs: int, bar: float = BAR) -> Iterator[Round]:
    """Train what each round lacks, then yield its standings. Raises WorkFault when a seed cannot be trained."""
    left = folders
    for count, each in rounds(len(folders), seeds):
        left = left[:count]
        wanted = [(folder, Confirmation.read(folder).seeds(each)) for folder in left]
        faults = crew.train(wanted, jobs)
        if faults:
            raise WorkFault("\n".join(faults), EXIT_FAILED)
        standings = [(folder, Evidence.gather(folder, chosen, bar)) for folder, chosen in wanted]
        standings.sort(key=lambda standing: _order(standing[1]))
        left = [folder for folder, _ in standings]
        yield Round(each, standings)


def _order(evidence: Evidence) -> tuple[int, float, float]:
    """One with a seed that diverged comes after all that have none."""
    if not evidence.accuracies:
        return evidence.failed, 0.0, 0.0
    return evidence.failed, -round(evidence.summary().mean, 6), evidence.mean_loss()
