"""Runs summed up in groups: completed runs alike in some columns, by default in everything but the seed."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from mnist_compact.common.statistics import CONFIDENCE, FEWEST, THRESHOLD, Summary, above
from mnist_compact.records.record import Status
from mnist_compact.records.settings import GROUPS, is_machines
from mnist_compact.reports.columns import LENGTHENED, UNREADABLE, ScoreColumn, evaluated, is_setting
from mnist_compact.reports.tables import differing

if TYPE_CHECKING:
    import pandas as pd

LEGEND = (
    "Accuracies are per cent at the last epoch; sd: standard deviation (n - 1); low, high: Student's "
    f"{100 * CONFIDENCE:g} % interval of the mean, only an indication for n < {FEWEST}; "
    f"over {THRESHOLD:.2f}: per cent of the runs; left out: runs of the group that were not completed."
)
MOST_NAMED = 12
CHOSEN = {"trial", "ranking"}  # kinds of runs whose scores took part in a choice


def by_configuration(frame: "pd.DataFrame") -> tuple["pd.DataFrame", list[str]]:
    """One row for each configuration among the completed runs of a `load_runs` table, equal runs but for seed
    and machine; a run that was lengthened is not one of its epochs from the start.

    Columns: model, augment, optim, scheduler and what else differs between configurations; then as `grouped`.
    """
    completed = _completed(frame)
    shown = [name for name in differing(completed) if name not in ("seed", "experiment") and not is_machines(name)]
    named = dict.fromkeys([*("model", "augment", "optim", "scheduler"), *shown])
    table = _table(frame, completed, [*_configuration(completed)], [*named])
    return table, _notes(frame, completed, [*_configuration(completed)], [])


def grouped(frame: "pd.DataFrame", names: Sequence[str]) -> tuple["pd.DataFrame", list[str]]:
    """One row for each combination of values in the columns `names` among completed runs, by first appearance.

    Then, where groups have runs that were not completed, `left out`: how many. Then for every evaluated split and kind
    of weights `n`, `mean %`, `sd`, `min %`, `max %`, `low %`, `high %` (see `Summary`) and `over 99.40`, the share of
    runs with more than 99.40 %, in per cent; each name led by the split and, where averaged, the weights: `test
    averaged mean %`. The notes say which runs were left out and why, what else than the seed differs within groups, for
    then the spread is not that of seeds, and how many runs are there twice.
    """
    completed = _completed(frame)
    within = [name for name in _configuration(completed) if name not in names]
    kinds = completed.groupby([*names], dropna=False)[within].nunique(dropna=False)
    varied = [name for name in within if (kinds[name] > 1).any()]
    return _table(frame, completed, names, names), _notes(frame, completed, names, varied)


def mean_column(name: str) -> str:
    """The column of means for a column of accuracies."""
    score = evaluated(name)
    assert score is not None
    return f"{_stem(score)} mean %"


def _completed(frame: "pd.DataFrame") -> "pd.DataFrame":
    return frame[frame["status"] == str(Status.COMPLETED)]


def _configuration(frame: "pd.DataFrame") -> Iterator[str]:
    """The columns that tell configurations apart: options, settings and lengthening; not seed, name or machine."""
    columns = (*GROUPS, *LENGTHENED, *(name for name in frame.columns if is_setting(name)))
    yield from (name for name in columns if not is_machines(name))


def _table(
    frame: "pd.DataFrame", completed: "pd.DataFrame", names: Sequence[str], shown: Sequence[str]
) -> "pd.DataFrame":
    import pandas as pd

    groups: dict[tuple[Any, ...], list[int]] = {}
    for place, key in enumerate(_keys(completed, names)):
        groups.setdefault(key, []).append(place)
    told = {name: completed[name] for name in completed.columns}
    measured = {score: column for name, column in told.items() if (score := evaluated(name)) and score.at == "last"}
    scores = {score: column.tolist() for score, column in measured.items() if column.notna().any()}
    rows = []
    for places in groups.values():
        row: dict[str, float | None] = {}
        for score, accuracies in scores.items():
            row |= _summed_up(score, [accuracies[place] for place in places if not pd.isna(accuracies[place])])
        rows.append(row)
    columns = [name for score in scores for name in _summed_up(score, [])]
    summed = pd.DataFrame(rows, columns=columns, dtype="Float64")
    keys = completed[[*shown]].iloc[[places[0] for places in groups.values()]].reset_index(drop=True)
    lost = Counter(_keys(frame[(frame["status"] != str(Status.COMPLETED)) & (frame["status"] != UNREADABLE)], names))
    left_out = pd.DataFrame({"left out": pd.Series([lost[key] for key in groups], dtype="Int64")})
    parts = [keys, *([left_out] if left_out.to_numpy().any() else [])]
    parts.append(summed.astype({name: "Int64" for name in columns if name.endswith(" n")}))
    return pd.concat(parts, axis="columns")


def _keys(frame: "pd.DataFrame", names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """The group of each run."""
    return zip(*(frame[name] for name in names), strict=True)


def _summed_up(score: ScoreColumn, accuracies: list[float]) -> dict[str, float | None]:
    names = ["n", "mean %", "sd", "min %", "max %", "low %", "high %", f"over {THRESHOLD:.2f}"]
    cells: list[float | None] = [0]
    if accuracies:
        told = Summary.of(accuracies)
        over = 100 * above(accuracies, THRESHOLD) / told.n
        cells = [told.n, told.mean, told.sd, told.minimum, told.maximum, told.low, told.high, over]
    return {f"{_stem(score)} {name}": cell for name, cell in zip_longest(names, cells)}


def _stem(score: ScoreColumn) -> str:
    return score.split if score.weights == "raw" else f"{score.split} {score.weights}"


def _notes(frame: "pd.DataFrame", completed: "pd.DataFrame", names: Sequence[str], varied: list[str]) -> list[str]:
    left_out = Counter(frame["status"][frame["status"] != str(Status.COMPLETED)])
    notes = []
    if left_out:
        told = ", ".join(f"{count} {status}" for status, count in left_out.most_common())
        notes.append(f"Left out, for only completed runs count: {told}.")
    if varied:
        more = f" and {len(varied) - MOST_NAMED} more" if len(varied) > MOST_NAMED else ""
        notes.append(
            f"Within groups differ, besides the seed: {', '.join(varied[:MOST_NAMED])}{more}; "
            "there sd and interval are not those of seeds alone."
        )
    if mixed := _mixed(completed, names):
        notes.append(
            "Groups with trials or rankings of a search, chosen by their scores, and confirmations, which were not: "
            f"{mixed}; --where 'kind == \"confirmation\"' leaves those out."
        )
    if (again := _repeated(completed, names)) > 0:
        notes.append(f"Runs with configuration and seed of another in their group, which count again: {again}.")
    return notes


def _mixed(frame: "pd.DataFrame", names: Sequence[str]) -> int:
    """How many groups hold scores that flatter beside scores that do not."""
    kinds: dict[tuple[Any, ...], set[str]] = {}
    for key, kind in zip(_keys(frame, names), frame["kind"], strict=True):
        kinds.setdefault(key, set()).add(kind)
    return sum("confirmation" in found and bool(found & CHOSEN) for found in kinds.values())


def _repeated(frame: "pd.DataFrame", names: Sequence[str]) -> int:
    return int(frame.duplicated([*dict.fromkeys([*names, *_configuration(frame), "seed"])]).sum())
