"""Which columns of a table are meant by the names that people give, `accuracy` and `loss` among them."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from mnist_compact.common.errors import UserError, nearest
from mnist_compact.records.record import Status
from mnist_compact.reports.columns import evaluated, score_column

if TYPE_CHECKING:
    import pandas as pd

SHORT = ("accuracy", "loss")  # of the final score


def check(columns: Iterable[str], names: Iterable[str], hint: str = "") -> None:
    """Raises UserError naming every one of `names` that is none of the columns, with the nearest or else `hint`."""
    columns = list(columns)
    unknown = [name for name in dict.fromkeys(names) if name not in columns]
    faults = [f"There is no column {name!r}.{nearest(name, columns) or hint}" for name in unknown]
    if faults:
        raise UserError(" ".join(faults))


def resolve_all(frame: "pd.DataFrame", names: Iterable[str], hint: str = "") -> list[str]:
    """The columns meant by `names`, each once. Raises UserError as `check` and `resolve` do."""
    names = list(dict.fromkeys(names))
    check(frame.columns, [name for name in names if name not in SHORT], hint)
    return list(dict.fromkeys(resolve(frame, name) for name in names))


def resolve(frame: "pd.DataFrame", name: str) -> str:
    """The column meant by `name`, where `accuracy` and `loss` stand for those of the final score.

    Raises UserError where the runs' final scores are of several splits or weights, for these must not mix.
    """
    if name in frame.columns or name not in SHORT:
        return name
    if "status" not in frame.columns:  # no table of runs
        check(frame.columns, [name])
    scores = final_scores(frame)
    columns = [score_column(split, weights, name, "last") for split, weights in scores]
    if len(columns) == 1:
        return columns[0]
    if not columns:
        raise UserError(f"{name!r} stands for the final score's, and no run here has a score")
    counted = " or ".join(f"{column} (runs: {n})" for column, n in zip(columns, scores.values(), strict=True))
    raise UserError(f"{name!r} could mean {counted}, which do not mix: name one, or first choose runs by a condition")


def final_scores(frame: "pd.DataFrame") -> dict[tuple[str, str], int]:
    """(split, weights) → how many of the completed runs end with that score; where none is completed, of all runs."""
    completed = frame[frame["status"] == str(Status.COMPLETED)]
    rows = frame if completed.empty else completed
    return {score: int(ended.sum()) for score, ended in ended_with(rows).items()}


def ended_with(frame: "pd.DataFrame") -> dict[tuple[str, str], "pd.Series[bool]"]:
    """(split, weights) → which runs have that as their final score, where any has; in the order of the columns."""
    ended: dict[tuple[str, str], pd.Series[bool]] = {}
    for name in frame.columns:
        score = evaluated(name)
        if score is None or score.at != "last":
            continue
        final = (frame["evaluated"] == score.split) & (frame["final_weights"] == score.weights)
        final = final.fillna(False).astype(bool)
        if final.any():
            ended[score.split, score.weights] = final
    return ended
