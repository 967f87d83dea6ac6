"""Rankings on the command line: `python -m mnist_compact.confirm --study`, and the end of a search."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_compact.common.statistics import THRESHOLD
from mnist_compact.confirmation.defaults import FOLDER, SEEDS_AFTER_SEARCH
from mnist_compact.search.locate import SWEEPS

if TYPE_CHECKING:
    from mnist_compact.search.coordinator import SearchResult


def rank_and_show(
    study: str,
    *,
    top: int,
    seeds: int,
    by: str,
    split: str | None,
    threshold: float,
    jobs: int,
    confirmations: Path,
    sweeps: Path,
    url: str | None,
    callbacks: Sequence[str] = (),
) -> None:
    """Rank the best trials of a study, and print each round and the command that confirms the winner.

    The arguments and errors are those of `rank_study`.
    """
    from mnist_compact.cli.confirmation_display import show_round
    from mnist_compact.confirmation.reranking import Ranking, rank_study

    rounds = []
    for each in rank_study(
        study,
        top=top,
        seeds=seeds,
        by=by,
        split=split,
        threshold=threshold,
        jobs=jobs,
        confirmations=confirmations,
        sweeps=sweeps,
        url=url,
        callbacks=callbacks,
    ):
        rounds.append(each)
        show_round(len(rounds), each.seeds, [seed_results for _, seed_results in each.candidates])
    ranking = Ranking(study, rounds)
    words = ["python", "-m", "mnist_compact.confirm", "--trial", ranking.trial]
    for name, value, default in (
        ("sweeps", sweeps, Path(SWEEPS)),
        ("folder", confirmations, Path(FOLDER)),
        ("storage", url, None),
    ):
        if value != default:
            words += [f"--{name}", str(value)]
    winner = ranking.first.confirmation
    if winner.role == "synthetic":
        words += ["--split", "synthetic"]
    images = "with fresh seeds" if winner.role == "synthetic" else "on the test images"
    print(f"winner: {winner.source}. Confirm it {images}: {shlex.join(words)}")


def rank_best(search_result: "SearchResult") -> None:
    """Rank the best trials of a search whose settings ask for it, and show the ranking."""
    plan = search_result.ranking
    if plan is None:
        return
    print(f"the best {plan.top} trials are ranked over several seeds by {plan.by}", flush=True)
    rank_and_show(
        search_result.study_name,
        top=plan.top,
        seeds=SEEDS_AFTER_SEARCH,
        by=plan.by,
        split=None,
        threshold=THRESHOLD,
        jobs=plan.jobs,
        confirmations=plan.sweeps.parent / Path(FOLDER).name,
        sweeps=plan.sweeps,
        url=plan.url,
    )
