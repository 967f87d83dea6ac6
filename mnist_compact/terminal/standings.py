"""What a confirmation and a ranking have measured, on the terminal."""

import pandas as pd

from mnist_compact.confirm.evidence import Evidence
from mnist_compact.confirm.tables import round_title, seeds_table, sentences, standings_table, summary_table
from mnist_compact.results.rendering import on_paper_or_terminal, to_rich, to_text


def show(evidence: Evidence) -> None:
    """Every seed, their summary, the verdict."""
    if evidence.seeds:
        _print(seeds_table(evidence))
    if evidence.accuracies:
        print()
        _print(summary_table(evidence))
    print()
    for line in sentences(evidence):
        print(line)


def show_round(number: int, seeds: int, standings: list[Evidence]) -> None:
    """One round of a ranking, best first."""
    print(f"\n{round_title(number, seeds, standings)}")
    _print(standings_table(standings))


def _print(table: pd.DataFrame) -> None:
    console = on_paper_or_terminal()
    if console.is_terminal:
        console.print(to_rich(table, width=console.width))
    else:
        print(to_text(table), end="")
