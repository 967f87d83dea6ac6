"""What a confirmation and a ranking have measured, on the terminal."""

from mnist_compact.confirm.evidence import Evidence
from mnist_compact.confirm.tables import round_title, seeds_table, sentences, standings_table, summary_table
from mnist_compact.results.rendering import show_table


def show(evidence: Evidence) -> None:
    """Every seed, their summary, the verdict."""
    if evidence.seeds:
        show_table(seeds_table(evidence))
    if evidence.accuracies:
        print()
        show_table(summary_table(evidence))
    print()
    for line in sentences(evidence):
        print(line)


def show_round(number: int, seeds: int, standings: list[Evidence]) -> None:
    """One round of a ranking, best first."""
    print(f"\n{round_title(number, seeds, standings)}")
    show_table(standings_table(standings))
