"""Terminal output of the results of a confirmation and of a ranking."""

from mnist_compact.common.tables import show_table
from mnist_compact.confirmation.results import (
    SeedResults,
    ranking_table,
    round_title,
    seeds_table,
    sentences,
    summary_table,
)


def show(seed_results: SeedResults) -> None:
    """Print every seed, their summary and the conclusion."""
    if seed_results.seeds:
        show_table(seeds_table(seed_results))
    if seed_results.accuracies:
        print()
        show_table(summary_table(seed_results))
    print()
    for line in sentences(seed_results):
        print(line)


def show_round(number: int, seeds: int, candidates: list[SeedResults]) -> None:
    """Print one round of a ranking, the best candidate first."""
    print(f"\n{round_title(number, seeds, candidates)}")
    show_table(ranking_table(candidates))
