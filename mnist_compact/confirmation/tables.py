"""SeedResults as tables and sentences."""

import pandas as pd

from mnist_compact.common.statistics import FEWEST, threshold_text
from mnist_compact.common.tables import to_html_fragment, to_text
from mnist_compact.common.wording import counted
from mnist_compact.confirmation.results import SeedResults


def to_html(seed_results: SeedResults) -> str:
    """Every seed, their summary and the verdict, for a notebook."""
    *above, last = [seeds_table(seed_results), *([summary_table(seed_results)] if seed_results.accuracies else [])]
    return "".join([*map(to_html_fragment, above), to_html_fragment(last, sentences(seed_results))])


def to_plain_text(seed_results: SeedResults) -> str:
    """The summary and the verdict, for `print`."""
    table = to_text(summary_table(seed_results)) if seed_results.accuracies else ""
    return table + "\n".join(sentences(seed_results))


def sentences(seed_results: SeedResults) -> list[str]:
    """What was measured, what is to be known of it, the verdict."""
    about, notes = seed_results.confirmation, seed_results.notes()
    if about.split == "test" and seed_results.plan is None:
        notes.append("no plan was written before the test images were read")
    measured = f"{about.source}: {about.split} accuracy in per cent at the last epoch, {seed_results.weights} weights"
    return [measured, *notes, seed_results.verdict()]


def seeds_table(seed_results: SeedResults) -> pd.DataFrame:
    """One row for each seed asked for."""
    averaged = seed_results.weights == "averaged"
    rows = [
        {
            "seed": result.seed,
            "status": str(result.status),
            "accuracy %": None if score is None else score.accuracy,
            "loss": None if score is None else score.loss,
            **({"raw accuracy %": None if raw is None else raw.accuracy} if averaged else {}),
            "seconds": result.seconds,
        }
        for result in seed_results.seeds
        for score, raw in [(result.score, result.raw) if result in seed_results.completed else (None, None)]
    ]
    return pd.DataFrame(rows)


def rounds_to_html(rounds: list[tuple[int, list[SeedResults]]]) -> str:
    """All rounds of a ranking, with the seeds of each, for a notebook."""
    return "".join(
        to_html_fragment(standings_table(standings), [round_title(number, seeds, standings)])
        for number, (seeds, standings) in enumerate(rounds, 1)
    )


def rounds_to_plain_text(rounds: list[tuple[int, list[SeedResults]]]) -> str:
    """All rounds of a ranking, for `print`."""
    return "\n".join(
        f"{round_title(number, seeds, standings)}\n{to_text(standings_table(standings))}"
        for number, (seeds, standings) in enumerate(rounds, 1)
    )


def round_title(number: int, seeds: int, standings: list[SeedResults]) -> str:
    few = f"; with fewer than {FEWEST} seeds an interval is only an indication" if seeds < FEWEST else ""
    return f"round {number}: {counted(len(standings), 'candidate')}, {counted(seeds, 'seed')} each{few}"


def standings_table(standings: list[SeedResults]) -> pd.DataFrame:
    """One row for each candidate of a ranking."""
    rows = [
        {
            "trial": seed_results.confirmation.source.removeprefix("trial "),
            "weights": seed_results.weights,
            **(_summary(seed_results) if seed_results.accuracies else {"n": 0}),
        }
        for seed_results in standings
    ]
    return pd.DataFrame(rows)


def summary_table(seed_results: SeedResults) -> pd.DataFrame:
    """One row."""
    return pd.DataFrame([_summary(seed_results)])


def _summary(seed_results: SeedResults) -> dict[str, object]:
    summary = seed_results.summary()
    return {
        "n": summary.n,
        "mean": summary.mean,
        "sd": summary.sd,
        "min": summary.minimum,
        "max": summary.maximum,
        "95 % low": summary.low,
        "95 % high": summary.high,
        f"seeds > {threshold_text(seed_results.threshold)}": f"{seed_results.above()}/{seed_results.asked}",
        "loss": seed_results.mean_loss(),
        "parameters": seed_results.completed[0].parameters,
    }
