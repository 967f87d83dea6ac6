"""Evidence as tables and sentences."""

import pandas as pd

from mnist_compact.confirm.evidence import Evidence
from mnist_compact.results.rendering import to_html_fragment, to_text
from mnist_compact.results.summary import FEWEST, bar_text
from mnist_compact.wording import counted


def to_html(evidence: Evidence) -> str:
    """Every seed, their summary and the verdict, for a notebook."""
    *above, last = [seeds_table(evidence), *([summary_table(evidence)] if evidence.accuracies else [])]
    return "".join([*map(to_html_fragment, above), to_html_fragment(last, sentences(evidence))])


def to_plain_text(evidence: Evidence) -> str:
    """The summary and the verdict, for `print`."""
    table = to_text(summary_table(evidence)) if evidence.accuracies else ""
    return table + "\n".join(sentences(evidence))


def sentences(evidence: Evidence) -> list[str]:
    """What was measured, what is to be known of it, the verdict."""
    about, notes = evidence.confirmation, evidence.notes()
    if about.split == "test" and evidence.plan is None:
        notes.append("no plan was written before the test images were read")
    measured = f"{about.source}: {about.split} accuracy in per cent at the last epoch, {evidence.weights} weights"
    return [measured, *notes, evidence.verdict()]


def seeds_table(evidence: Evidence) -> pd.DataFrame:
    """One row for each seed asked for."""
    averaged = evidence.weights == "averaged"
    rows = [
        {
            "seed": result.seed,
            "status": str(result.status),
            "accuracy %": None if score is None else score.accuracy,
            "loss": None if score is None else score.loss,
            **({"raw accuracy %": None if raw is None else raw.accuracy} if averaged else {}),
            "seconds": result.seconds,
        }
        for result in evidence.seeds
        for score, raw in [(result.score, result.raw) if result in evidence.completed else (None, None)]
    ]
    return pd.DataFrame(rows)


def rounds_to_html(rounds: list[tuple[int, list[Evidence]]]) -> str:
    """All rounds of a ranking, with the seeds of each, for a notebook."""
    return "".join(
        to_html_fragment(standings_table(standings), [round_title(number, seeds, standings)])
        for number, (seeds, standings) in enumerate(rounds, 1)
    )


def rounds_to_plain_text(rounds: list[tuple[int, list[Evidence]]]) -> str:
    """All rounds of a ranking, for `print`."""
    return "\n".join(
        f"{round_title(number, seeds, standings)}\n{to_text(standings_table(standings))}"
        for number, (seeds, standings) in enumerate(rounds, 1)
    )


def round_title(number: int, seeds: int, standings: list[Evidence]) -> str:
    few = f"; with fewer than {FEWEST} seeds an interval is only an indication" if seeds < FEWEST else ""
    return f"round {number}: {counted(len(standings), 'candidate')}, {counted(seeds, 'seed')} each{few}"


def standings_table(standings: list[Evidence]) -> pd.DataFrame:
    """One row for each candidate of a ranking."""
    rows = [
        {
            "trial": evidence.confirmation.source.removeprefix("trial "),
            "weights": evidence.weights,
            **(_summary(evidence) if evidence.accuracies else {"n": 0}),
        }
        for evidence in standings
    ]
    return pd.DataFrame(rows)


def summary_table(evidence: Evidence) -> pd.DataFrame:
    """One row."""
    return pd.DataFrame([_summary(evidence)])


def _summary(evidence: Evidence) -> dict[str, object]:
    summary = evidence.summary()
    return {
        "n": summary.n,
        "mean": summary.mean,
        "sd": summary.sd,
        "min": summary.minimum,
        "max": summary.maximum,
        "95 % low": summary.low,
        "95 % high": summary.high,
        f"seeds > {bar_text(evidence.bar)}": f"{evidence.above()}/{evidence.asked}",
        "loss": evidence.mean_loss(),
        "parameters": evidence.completed[0].parameters,
    }
