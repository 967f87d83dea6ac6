"""Summaries of groups of completed runs, by default one group per configuration."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from mnist_compact.common.statistics import CONFIDENCE, FEWEST, THRESHOLD, Summary, above
from mnist_compact.common.wording import counted
from mnist_compact.records.record import Status
from mnist_compact.records.settings import GROUPS, is_machines
from mnist_compact.reports.columns import LENGTHENED, UNREADABLE, ScoreColumn, evaluated, is_setting
from mnist_compact.reports.tables import differing

if TYPE_CHECKING:
    import pandas as pd

LEGEND = (
    "Accuracies are in per cent at the last epoch. sd: standard deviation (n - 1). low, high: Student's "
    f"{100 * CONFIDENCE:g} % interval of the mean, only an indication for n < {FEWEST}. "
    f"over {THRESHOLD:.2f}: the share of runs above that accuracy in per cent. "
    "left out: runs of the group that were not completed."
)
MOST_NAMED = 12
# Kinds of runs whose scores were used to select configurations, so that the best of them are biased upward.
CHOSEN = {"trial", "ranking"}


def by_configuration(frame: "pd.DataFrame") -> tuple["pd.DataFrame", list[str]]:
    """Summarize completed runs with one row per configuration.

    Runs have the same configuration if they differ only in the seed and the machine. A run that was resumed for more
    epochs than planned differs from a run that was planned for all of them.

    Args:
        frame: A `load_runs` table.

    Returns:
        The table and notes on it. Its columns are model, augment, optim, scheduler, what else differs between the
        configurations, and then the columns of `grouped`.
    """
    completed = _completed(frame)
    shown = [name for name in differing(completed) if name not in ("seed", "experiment") and not is_machines(name)]
    named = dict.fromkeys([*("model", "augment", "optim", "scheduler"), *shown])
    table = _table(frame, completed, [*_configuration(completed)], [*named])
    return table, _notes(frame, completed, [*_configuration(completed)], [])


def grouped(frame: "pd.DataFrame", names: Sequence[str]) -> tuple["pd.DataFrame", list[str]]:
    """Summarize completed runs with one row per combination of values in some columns.

    Args:
        frame: A `load_runs` table.
        names: The columns by which runs are grouped.

    Returns:
        The table, with groups in order of first appearance, and notes on it. Its columns are `names`; then, if groups
        have runs that were not completed, their number `left out`; then for every evaluated split and kind of weights
        `n`, `mean %`, `sd`, `min %`, `max %`, `low %`, `high %` (see `Summary`) and `over 99.40`, the share of runs
        above 99.40 % in per cent. These names begin with the split and, for averaged weights, the weights: `test
        averaged mean %`. The notes list the runs that were left out, settings other than the seed that differ within
        groups (the standard deviation is then not that of seeds alone), and duplicate runs.
    """
    completed = _completed(frame)
    within = [name for name in _configuration(completed) if name not in names]
    kinds = completed.groupby([*names], dropna=False)[within].nunique(dropna=False)
    varied = [name for name in within if (kinds[name] > 1).any()]
    return _table(frame, completed, names, names), _notes(frame, completed, names, varied)


def mean_column(name: str) -> str:
    """Return the column of means that belongs to an accuracy column."""
    score = evaluated(name)
    assert score is not None
    return f"{_stem(score)} mean %"


def _completed(frame: "pd.DataFrame") -> "pd.DataFrame":
    return frame[frame["status"] == str(Status.COMPLETED)]


def _configuration(frame: "pd.DataFrame") -> Iterator[str]:
    """Yield the columns that distinguish configurations: options, settings and lengthening."""
    columns = (*GROUPS, *LENGTHENED, *(name for name in frame.columns if is_setting(name)))
    yield from (name for name in columns if not is_machines(name))


def _table(
    frame: "pd.DataFrame", completed: "pd.DataFrame", names: Sequence[str], shown: Sequence[str]
) -> "pd.DataFrame":
    import pandas as pd

    groups: dict[tuple[Any, ...], list[int]] = {}
    for position, key in enumerate(_keys(completed, names)):
        groups.setdefault(key, []).append(position)
    series = {name: completed[name] for name in completed.columns}
    measured = {score: column for name, column in series.items() if (score := evaluated(name)) and score.at == "last"}
    scores = {score: column.tolist() for score, column in measured.items() if column.notna().any()}
    rows = []
    for positions in groups.values():
        row: dict[str, float | None] = {}
        for score, accuracies in scores.items():
            values = [accuracies[position] for position in positions]
            row |= _summary(score, [value for value in values if not pd.isna(value)])
        rows.append(row)
    columns = [name for score in scores for name in _summary(score, [])]
    summary = pd.DataFrame(rows, columns=columns, dtype="Float64")
    keys = completed[[*shown]].iloc[[positions[0] for positions in groups.values()]].reset_index(drop=True)
    lost = Counter(_keys(frame[(frame["status"] != str(Status.COMPLETED)) & (frame["status"] != UNREADABLE)], names))
    left_out = pd.DataFrame({"left out": pd.Series([lost[key] for key in groups], dtype="Int64")})
    parts = [keys, *([left_out] if left_out.to_numpy().any() else [])]
    parts.append(summary.astype({name: "Int64" for name in columns if name.endswith(" n")}))
    return pd.concat(parts, axis="columns")


def _keys(frame: "pd.DataFrame", names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Return the group of each run."""
    return zip(*(frame[name] for name in names), strict=True)


def _summary(score: ScoreColumn, accuracies: list[float]) -> dict[str, float | None]:
    names = ["n", "mean %", "sd", "min %", "max %", "low %", "high %", f"over {THRESHOLD:.2f}"]
    cells: list[float | None] = [0]
    if accuracies:
        of = Summary.of(accuracies)
        over = 100 * above(accuracies, THRESHOLD) / of.n
        cells = [of.n, of.mean, of.sd, of.minimum, of.maximum, of.low, of.high, over]
    return {f"{_stem(score)} {name}": cell for name, cell in zip_longest(names, cells)}


def _stem(score: ScoreColumn) -> str:
    return score.split if score.weights == "raw" else f"{score.split} {score.weights}"


def _notes(frame: "pd.DataFrame", completed: "pd.DataFrame", names: Sequence[str], varied: list[str]) -> list[str]:
    left_out = Counter(frame["status"][frame["status"] != str(Status.COMPLETED)])
    notes = []
    if left_out:
        counts = ", ".join(f"{count} {status}" for status, count in left_out.most_common())
        notes.append(f"Left out, because only completed runs count: {counts}.")
    if varied:
        more = f" and {len(varied) - MOST_NAMED} more" if len(varied) > MOST_NAMED else ""
        notes.append(
            f"Within groups, more than the seed differs: {', '.join(varied[:MOST_NAMED])}{more}. "
            "There, sd and interval are not those of seeds alone."
        )
    if mixed := _mixed(completed, names):
        notes.append(
            f"{counted(mixed, 'group mixes', 'groups mix')} runs whose scores were used for selection "
            "(trials, rankings) with confirmations. The best of many scores is biased upward. "
            "To keep only confirmations: --where 'kind == \"confirmation\"'."
        )
    if (duplicates := _duplicates(completed, names)) > 0:
        notes.append(f"Runs that repeat the configuration and seed of another run in their group: {duplicates}.")
    return notes


def _mixed(frame: "pd.DataFrame", names: Sequence[str]) -> int:
    """Return the number of groups that mix scores used for selection with confirmations."""
    kinds: dict[tuple[Any, ...], set[str]] = {}
    for key, kind in zip(_keys(frame, names), frame["kind"], strict=True):
        kinds.setdefault(key, set()).add(kind)
    return sum("confirmation" in found and bool(found & CHOSEN) for found in kinds.values())


def _duplicates(frame: "pd.DataFrame", names: Sequence[str]) -> int:
    return int(frame.duplicated([*dict.fromkeys([*names, *_configuration(frame), "seed"])]).sum())
