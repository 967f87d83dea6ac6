"""Rankings on the command line: `python -m mnist_compact.confirm --study`, and the end of a search."""

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_compact.common.statistics import THRESHOLD
from mnist_compact.confirmation.defaults import FOLDER, SEEDS_AFTER_SEARCH
from mnist_compact.search.locate import SWEEPS

if TYPE_CHECKING:
    from mnist_compact.confirmation.reranking import Round
    from mnist_compact.search.coordinator import SearchResult


def show_ranking(
    rounds: "Iterable[Round]", *, top: int, seeds: int, confirmations: Path, sweeps: Path, url: str | None
) -> None:
    """Print the rounds of a ranking, the results of each as it ends, and the command that confirms the winner.

    Args:
        rounds: The rounds, from `rank_studies`.
        top: Number of trials in the first round.
        seeds: Seeds of each trial in the first round.
        confirmations: Folder of all confirmations.
        sweeps: Folder of all studies.
        url: Optuna URL of the studies, or journal:///path; None = in `sweeps`.
    """
    from mnist_compact.cli.confirmation_display import show_round
    from mnist_compact.confirmation.reranking import Ranking, schedule_text
    from mnist_compact.search.storage_urls import shown

    print(f"ranking in {schedule_text(top, seeds)}", flush=True)
    ended = []
    for each in rounds:
        ended.append(each)
        show_round(len(ended), each.seeds, each.results)
    ranking = Ranking(ended)
    words = ["python", "-m", "mnist_compact.confirm", "--trial", ranking.trial]
    for name, value, default in (
        ("sweeps", sweeps, Path(SWEEPS)),
        ("folder", confirmations, Path(FOLDER)),
        ("storage", url and shown(url), None),
    ):
        if value != default:
            words += [f"--{name}", str(value)]
    winner = ranking.first.confirmation
    if winner.role == "synthetic":
        words += ["--split", "synthetic"]
    images = "with fresh seeds" if winner.role == "synthetic" else "on the test images"
    print(f"winner: {winner.source}. Confirm it {images}: {shlex.join(words)}")
    if url and shown(url) != url:
        print("replace *** by the password of the storage")


def rank_best(search_result: "SearchResult") -> None:
    """Rank the best trials of a search whose settings ask for it, and show the ranking."""
    plan = search_result.ranking
    if plan is None:
        return
    from mnist_compact.confirmation.reranking import rank_studies

    print(f"the best {plan.top} trials are ranked over several seeds by {plan.by}", flush=True)
    confirmations = plan.sweeps.parent / Path(FOLDER).name
    rounds = rank_studies(
        [search_result.study_name],
        top=plan.top,
        seeds=SEEDS_AFTER_SEARCH,
        by=plan.by,
        split=None,
        threshold=THRESHOLD,
        jobs=plan.jobs,
        confirmations=confirmations,
        sweeps=plan.sweeps,
        url=plan.url,
    )
    show_ranking(
        rounds,
        top=plan.top,
        seeds=SEEDS_AFTER_SEARCH,
        confirmations=confirmations,
        sweeps=plan.sweeps,
        url=plan.url,
    )
