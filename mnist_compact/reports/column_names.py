"""Resolution of column names that users give, including the short names of the final score."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from mnist_compact.common.errors import UserError, nearest
from mnist_compact.records.record import Status
from mnist_compact.reports.columns import evaluated, score_column

if TYPE_CHECKING:
    import pandas as pd

SHORT = ("accuracy", "loss", "calibrated_loss")  # short names for the columns of the final score


def check(columns: Iterable[str], names: Iterable[str], hint: str = "") -> None:
    """Check that all names are columns.

    Args:
        columns: The columns of the table.
        names: The names to check.
        hint: Follows an unknown name that is similar to no column.

    Raises:
        UserError: If there are unknown names; the message lists all of them with similar columns.
    """
    columns = list(columns)
    unknown = [name for name in dict.fromkeys(names) if name not in columns]
    faults = [f"There is no column {name!r}.{nearest(name, columns) or hint}" for name in unknown]
    if faults:
        raise UserError(" ".join(faults))


def resolve_all(frame: "pd.DataFrame", names: Iterable[str], hint: str = "") -> list[str]:
    """Resolve several names to columns, each listed once. Raises UserError as `check` and `resolve` do."""
    names = list(dict.fromkeys(names))
    check(frame.columns, [name for name in names if name not in SHORT], hint)
    return list(dict.fromkeys(resolve(frame, name) for name in names))


def resolve(frame: "pd.DataFrame", name: str) -> str:
    """Resolve a name to a column; the names in `SHORT` stand for the columns of the final score.

    Raises:
        UserError: If the final scores of the runs belong to different splits or weights, which must not be mixed.
    """
    if name in frame.columns or name not in SHORT:
        return name
    if "status" not in frame.columns:  # not a table of runs
        check(frame.columns, [name])
    scores = final_scores(frame)
    columns = [score_column(split, weights, name, "last") for split, weights in scores]
    if len(columns) == 1:
        return columns[0]
    if not columns:
        raise UserError(f"{name!r} stands for the column of the final score, but no run has a score")
    counted = " or ".join(f"{column} (runs: {n})" for column, n in zip(columns, scores.values(), strict=True))
    raise UserError(
        f"{name!r} is ambiguous: it could mean {counted}, which must not be mixed. "
        "Name one of these columns, or select runs by a condition first."
    )


def final_scores(frame: "pd.DataFrame") -> dict[tuple[str, str], int]:
    """Count the completed runs by (split, weights) of their final score; all runs if none is completed."""
    completed = frame[frame["status"] == str(Status.COMPLETED)]
    rows = frame if completed.empty else completed
    return {score: int(ended.sum()) for score, ended in ended_with(rows).items()}


def ended_with(frame: "pd.DataFrame") -> dict[tuple[str, str], "pd.Series[bool]"]:
    """Map (split, weights) to a mask of the runs with that final score, in the order of the columns."""
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
