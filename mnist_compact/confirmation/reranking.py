"""A search's best, ranked again: one score of 10,000 held-out images is as uncertain as the differences are large.

In rounds, as successive halving does (Jamieson & Talwalkar 2016): each halves the candidates and doubles the seeds.
On another held-out part than the search's: the best of many owe some of their scores to the images of that one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mnist_compact.common.errors import EXIT_FAILED, ConfigError, ExecutionError
from mnist_compact.common.statistics import THRESHOLD
from mnist_compact.confirmation import seed_pool, sources
from mnist_compact.confirmation.conduct import place
from mnist_compact.confirmation.confirmation import Confirmation, begin
from mnist_compact.confirmation.results import SeedResults


@dataclass(slots=True, frozen=True)
class Round:
    """Best first: by mean accuracy, log-loss breaking ties."""

    seeds: int
    standings: list[tuple[Path, SeedResults]]


@dataclass(slots=True, frozen=True)
class Ranking:
    """All rounds, to the last."""

    study: str  # a name or an exported file
    rounds: list[Round]

    @property
    def first(self) -> SeedResults:
        return self.rounds[-1].standings[0][1]

    @property
    def trial(self) -> str:
        """The first, as `confirm(trial=…)` and `--trial` take it."""
        return f"{self.study}:{self.first.confirmation.source.rpartition(':')[2]}"

    def __repr__(self) -> str:
        """The standings, round by round."""
        from mnist_compact.confirmation.results import rounds_to_plain_text

        return rounds_to_plain_text(self._standings())

    def _repr_html_(self) -> str:
        """In a notebook: the standings, round by round."""
        from mnist_compact.confirmation.results import rounds_to_html

        return rounds_to_html(self._standings())

    def _standings(self) -> list[tuple[int, list[SeedResults]]]:
        return [(each.seeds, [seed_results for _, seed_results in each.standings]) for each in self.rounds]


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


def rank_study(
    study: str,
    *,
    top: int,
    seeds: int,
    split: str,
    threshold: float,
    jobs: int,
    among: Path,
    sweeps: Path,
    url: str | None = None,
) -> Iterator[Round]:
    """`rank` the study's `top` best trials, each in a folder of its own in `among`.

    Raises ConfigError, before anything is written, for what cannot be ranked: by test images, say.
    """
    if split == "test":
        raise ConfigError(["--study ranks on the held-out split: compose_cache by test images would spoil them"])
    if top < 1 or seeds < 1:
        raise ConfigError([f"--top and --seeds must be at least 1, got {top} and {seeds}"])
    best = sources.best_trials(study, top, sweeps, url)
    candidates = [place(source, split, among, ranking=True) for source in best]
    for folder, candidate in candidates:
        begin(candidate, folder)
    yield from rank([folder for folder, _ in candidates], seeds, jobs, threshold)


def rank(folders: list[Path], seeds: int, jobs: int, threshold: float = THRESHOLD) -> Iterator[Round]:
    """Train what each round lacks, then yield its standings.

    Raises ExecutionError when a seed cannot be trained, and after the last round where no candidate has all its seeds.
    """
    left = folders
    for count, each in rounds(len(folders), seeds):
        left = left[:count]
        wanted = [(folder, Confirmation.read(folder).seeds(each)) for folder in left]
        faults = seed_pool.train(wanted, jobs)
        if faults:
            raise ExecutionError("\n".join(faults), EXIT_FAILED)
        standings = [(folder, SeedResults.gather(folder, chosen, threshold)) for folder, chosen in wanted]
        standings.sort(key=lambda standing: _order(standing[1]))
        left = [folder for folder, _ in standings]
        yield Round(each, standings)
    if standings[0][1].failed:
        raise ExecutionError("no candidate came through with all its seeds", EXIT_FAILED)


def _order(seed_results: SeedResults) -> tuple[int, float, float]:
    """One with a seed that diverged comes after all that have none."""
    if not seed_results.accuracies:
        return seed_results.failed, 0.0, 0.0
    return seed_results.failed, -round(seed_results.summary().mean, 6), seed_results.mean_loss()
