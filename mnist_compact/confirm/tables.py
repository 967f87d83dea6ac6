"""Evidence as tables and sentences on the terminal."""

import pandas as pd

from mnist_compact.confirm.evidence import Evidence
from mnist_compact.results.rendering import on_paper_or_terminal, to_html_fragment, to_rich, to_text
from mnist_compact.results.summary import bar_text


def show(evidence: Evidence) -> None:
    """Every seed, their summary, the verdict."""
    if evidence.seeds:
        _print(_seeds(evidence))
    if evidence.accuracies:
        print()
        _print(pd.DataFrame([_summary(evidence)]))
    print()
    for line in _sentences(evidence):
        print(line)


def to_html(evidence: Evidence) -> str:
    """The same, for a notebook."""
    *above, last = [_seeds(evidence), *([pd.DataFrame([_summary(evidence)])] if evidence.accuracies else [])]
    return "".join([*map(to_html_fragment, above), to_html_fragment(last, _sentences(evidence))])


def _sentences(evidence: Evidence) -> list[str]:
    about, notes = evidence.confirmation, evidence.notes()
    if about.split == "test" and evidence.plan is None:
        notes.append("no plan was written before the test images were read")
    measured = f"{about.source}: {about.split} accuracy in per cent at the last epoch, {evidence.weights} weights"
    return [measured, *notes, evidence.verdict()]


def _seeds(evidence: Evidence) -> pd.DataFrame:
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


def show_round(number: int, seeds: int, standings: list[Evidence]) -> None:
    """One round of a ranking, best first."""
    rows = [
        {
            "trial": evidence.confirmation.source.removeprefix("trial "),
            "weights": evidence.weights,
            **(_summary(evidence) if evidence.accuracies else {"n": 0}),
        }
        for evidence in standings
    ]
    print(f"\nround {number}: {len(standings)} candidates, {seeds} seeds each")
    _print(pd.DataFrame(rows))


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


def _print(table: pd.DataFrame) -> None:
    console = on_paper_or_terminal()
    if console.is_terminal:
        console.print(to_rich(table, width=console.width))
    else:
        print(to_text(table), end="")
