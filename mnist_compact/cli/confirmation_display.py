"""What a confirmation and a ranking have measured, on the terminal."""

from mnist_compact.common.tables import show_table
from mnist_compact.confirmation.results import (
    SeedResults,
    round_title,
    seeds_table,
    sentences,
    standings_table,
    summary_table,
)


def show(seed_results: SeedResults) -> None:
    """Every seed, their summary, the verdict."""
    if seed_results.seeds:
        show_table(seeds_table(seed_results))
    if seed_results.accuracies:
        print()
        show_table(summary_table(seed_results))
    print()
    for line in sentences(seed_results):
        print(line)


def show_round(number: int, seeds: int, standings: list[SeedResults]) -> None:
    """One round of a ranking, best first."""
    print(f"\n{round_title(number, seeds, standings)}")
    show_table(standings_table(standings))
