"""Re-ranking of the best trials of a search over several seeds.

The error of one score on 10,000 held-out images is about as large as the differences between the best trials. The
ranking is successive halving (Jamieson & Talwalkar 2016): each round halves the candidates and doubles the seeds. It
uses another held-out part than the search, because the best of many scores is biased upward on the part of the search.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mnist_compact.common.errors import EXIT_FAILED, ConfigError, ExecutionError
from mnist_compact.common.statistics import THRESHOLD
from mnist_compact.common.wording import counted
from mnist_compact.confirmation import seed_pool, sources
from mnist_compact.confirmation.conduct import prepare
from mnist_compact.confirmation.confirmation import Confirmation, create_or_load
from mnist_compact.confirmation.defaults import RANKED_BY
from mnist_compact.confirmation.results import SeedResults


@dataclass(slots=True, frozen=True)
class Candidate:
    """A candidate in one round of a ranking.

    Attributes:
        trial: The trial as `confirm(trial=…)` and `--trial` expect it: "STUDY:N".
        folder: Folder of its confirmation.
        results: Results of its seeds.
    """

    trial: str
    folder: Path
    results: SeedResults


@dataclass(slots=True, frozen=True)
class Round:
    """One round of a ranking.

    Attributes:
        seeds: Number of seeds of each candidate.
        candidates: The candidates, the best first.
    """

    seeds: int
    candidates: list[Candidate]

    @property
    def results(self) -> list[SeedResults]:
        """The results of all candidates, the best first."""
        return [candidate.results for candidate in self.candidates]


@dataclass(slots=True, frozen=True)
class Ranking:
    """A complete ranking.

    Attributes:
        rounds: All rounds.
    """

    rounds: list[Round]

    @property
    def first(self) -> SeedResults:
        """The results of the winner."""
        return self.rounds[-1].results[0]

    @property
    def trial(self) -> str:
        """The winner as `confirm(trial=…)` and `--trial` expect it: "STUDY:N"."""
        return self.rounds[-1].candidates[0].trial

    def __repr__(self) -> str:
        """Return the table of each round."""
        from mnist_compact.confirmation.results import rounds_to_plain_text

        return rounds_to_plain_text(self._results())

    def _repr_html_(self) -> str:
        """Show the table of each round in a notebook."""
        from mnist_compact.confirmation.results import rounds_to_html

        return rounds_to_html(self._results())

    def _results(self) -> list[tuple[int, list[SeedResults]]]:
        return [(each.seeds, each.results) for each in self.rounds]


def rounds(candidates: int, seeds: int) -> list[tuple[int, int]]:
    """Plan the rounds of a ranking, down to a last round of two candidates.

    Args:
        candidates: Number of candidates in the first round.
        seeds: Seeds of each candidate in the first round.

    Returns:
        Number of candidates and seeds of each candidate for every round.

    Example:
        >>> rounds(12, 1)
        [(12, 1), (6, 2), (3, 4), (2, 8)]
    """
    schedule = [(candidates, seeds)]
    while schedule[-1][0] > 2:
        count, each = schedule[-1]
        schedule.append(((count + 1) // 2, 2 * each))
    return schedule


def schedule_text(candidates: int, seeds: int) -> str:
    """Describe the rounds of a ranking and the number of its runs.

    Example:
        >>> schedule_text(4, 1)
        '2 rounds: 4 trials with 1 seed each, 2 with 2 seeds; at most 6 runs'
    """
    schedule = rounds(candidates, seeds)
    (count, each), *later = schedule
    parts = [f"{counted(count, 'trial')} with {counted(each, 'seed')} each"]
    parts += [f"{count} with {each} seeds" for count, each in later]
    runs = count * each + sum(count * each // 2 for count, each in later)  # each round doubles the seeds
    return f"{counted(len(schedule), 'round')}: {', '.join(parts)}; at most {counted(runs, 'run')}"


def rank_studies(
    studies: Sequence[str],
    *,
    top: int,
    seeds: int,
    by: str,
    split: str | None,
    threshold: float,
    jobs: int,
    confirmations: Path,
    sweeps: Path,
    url: str | None = None,
    callbacks: Sequence[str] = (),
) -> Iterator[Round]:
    """Rank the best trials of one or more studies. Each has its own folder in `confirmations`.

    Args:
        studies: Names of studies, or paths of exported studies.
        top: Number of trials in the first round.
        seeds: Seeds of each trial in the first round.
        by: What the trials are sorted by, one of `RANKED_BY`.
        split: The images that are scored: holdout or synthetic; None = synthetic for studies of such images, otherwise
            holdout.
        threshold: Accuracy in per cent that the tables count seeds above.
        jobs: Number of processes side by side; 0 means one for each core.
        confirmations: Folder of all confirmations.
        sweeps: Folder of all studies.
        url: Optuna URL of the studies, or journal:///path.
        callbacks: Callbacks of every seed's run, by the names of `named_callbacks`.

    Returns:
        An iterator that trains the next round and yields it.

    Raises:
        ConfigError: The studies cannot be ranked, or not on this split. Nothing is written then.
        ExecutionError: A seed could not be trained, or no candidate completed all its seeds (by the iterator).
    """
    if split == "test":
        raise ConfigError(
            ["--study ranks on --split holdout: the test images must not be used to choose a configuration"]
        )
    if top < 1 or seeds < 1:
        raise ConfigError([f"--top and --seeds must be at least 1, got {top} and {seeds}"])
    if by not in RANKED_BY:
        raise ConfigError([f"--by must be one of {', '.join(RANKED_BY)}, got {by}"])
    best = sources.best_trials(studies, top, sweeps, url)
    if split is None:
        split = "synthetic" if best[0].run.data.role == "synthetic" else "holdout"
    prepared = [prepare(source, split, confirmations, ranking=True) for source in best]
    for folder, candidate in prepared:
        create_or_load(candidate, folder)
    trials = {folder: source.trial or "" for source, (folder, _) in zip(best, prepared, strict=True)}
    return rank(trials, seeds, jobs, threshold, callbacks, by)


def rank(
    trials: Mapping[Path, str],
    seeds: int,
    jobs: int,
    threshold: float = THRESHOLD,
    callbacks: Sequence[str] = (),
    by: str = "accuracy",
) -> Iterator[Round]:
    """Train the missing seeds of each round, then yield the round.

    Args:
        trials: Folder of each candidate's confirmation → the trial as STUDY:N.
        seeds: Seeds of each candidate in the first round.
        jobs: Number of processes side by side; 0 means one for each core.
        threshold: Accuracy in per cent that the tables count seeds above.
        callbacks: Callbacks of every seed's run, by the names of `named_callbacks`.
        by: What the candidates are sorted by, one of `RANKED_BY`.

    Raises:
        ConfigError: Runs of an earlier version have no calibrated log-loss.
        ExecutionError: A seed could not be trained, or no candidate completed all its seeds.
    """
    remaining = [*trials]
    for count, each in rounds(len(trials), seeds):
        requested = [(folder, Confirmation.read(folder).seeds(each)) for folder in remaining[:count]]
        errors = seed_pool.train(requested, jobs, callbacks)
        if errors:
            raise ExecutionError("\n".join(errors), EXIT_FAILED)
        candidates = [
            Candidate(trials[folder], folder, SeedResults.gather(folder, chosen, threshold))
            for folder, chosen in requested
        ]
        candidates.sort(key=lambda candidate: _order(candidate.results, by))
        remaining = [candidate.folder for candidate in candidates]
        yield Round(each, candidates)
    if candidates[0].results.failed:
        raise ExecutionError("no candidate completed all its seeds", EXIT_FAILED)


def _order(seed_results: SeedResults, by: str) -> tuple[int, float, float]:
    """Return a sort key: a candidate with a seed that diverged comes after all candidates without one."""
    if not seed_results.accuracies:
        return seed_results.failed, 0.0, 0.0
    if by == "calibrated_loss":
        loss = seed_results.mean_calibrated_loss()
        if loss is None:
            name = seed_results.confirmation.name
            raise ConfigError([f"the runs of {name} were made by an earlier version, without a calibrated log-loss"])
        return seed_results.failed, loss, 0.0
    return seed_results.failed, -round(seed_results.summary().mean, 6), seed_results.mean_loss()
