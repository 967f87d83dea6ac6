"""Conditions of --where and the short names of scores: which rows match, and the error messages."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from mnist_compact.records.record import Score, Status
from mnist_compact.reports.column_names import resolve
from mnist_compact.reports.query import matching, names_in
from mnist_compact.reports.tables import load_runs

MakeRun = Callable[..., Path]
MakeScore = Callable[..., Score]

TABLE = pd.DataFrame(
    {
        "run": pd.Series(["r/a", "r/b", "r/c", "r/d"], dtype="string"),
        "status": pd.Series(["completed", "completed", "failed", "running"], dtype="string"),
        "parameters": pd.Series([3000, 7999, 8000, None], dtype="Int64"),
        "optim.lr": pd.Series([0.1, 0.01, None, 0.2], dtype="Float64"),
        "model.conv_bias": pd.Series([True, False, None, True], dtype="boolean"),
        "optim.odd-name": pd.Series([1, 2, 3, 4], dtype="Int64"),
        "machine.data_root": pd.Series([None] * 4, dtype="string"),
        "started_at": pd.Series(
            pd.to_datetime(["2025-11-20T10:00", "2025-11-21T10:00", "2025-11-22T10:00", None]),
            dtype="datetime64[us]",
        ),
    }
)


@pytest.mark.parametrize(
    ("condition", "runs"),
    [
        ("parameters < 8000", "ab"),
        ("8000 > parameters", "ab"),
        ("parameters < 8000 and optim.lr > 0.05", "a"),
        ("parameters >= 8000 or optim.lr > 0.05", "acd"),
        ("optim.lr < optim.lr", ""),
        ("optim.lr != 0.1", "bd"),  # a missing value is neither equal nor different
        ("not optim.lr == 0.1", "bd"),
        ("not (parameters < 5000)", "bc"),
        ("3000 <= parameters < 8000", "ab"),
        ("optim.lr > -1", "abd"),
        ("parameters < 99999999999999999999999", "abc"),
        ("status == 'completed'", "ab"),
        ('status != "completed"', "cd"),
        ("status in ('failed', 'running')", "cd"),
        ("status not in ['failed']", "abd"),
        ("parameters in [3000, 8000]", "ac"),
        ("parameters not in [3000]", "bc"),
        ("'/b' in run", "b"),
        ("'.' in run", ""),  # not a pattern
        ("model.conv_bias", "ad"),
        ("not model.conv_bias", "b"),
        ("model.conv_bias == false", "b"),
        ("model.conv_bias != True", "b"),
        ("optim.lr is None", "c"),
        ("optim.lr is not None and parameters is not None", "ab"),
        ("machine.data_root > 0.1", ""),  # no run has a value
        ("machine.data_root == 'x' or parameters == 3000", "a"),
        ("started_at >= '2025-11-21'", "bc"),
        ("started_at == '2025-11-20T12:00:00+02:00'", "a"),
        ("not started_at > '2025-11-20 12:00'", "a"),
        ("`optim.odd-name` == 2 and `optim.lr` < 1", "b"),
        ("run == '`x`' or parameters == 3000", "a"),
    ],
)
def test_conditions_select_rows(condition: str, runs: str) -> None:
    assert [run[-1] for run in matching(TABLE, condition)["run"]] == [*runs]


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("", "is not a condition"),
        ("import os", "is not a condition"),
        ("parameters <", "is not a condition"),
        ("@parameters > 1", "is not a condition"),
        ("parameters = 3", "is not a condition"),
        ("parameters + 1 > 3", "is not a condition"),
        ("parameters > 3 if status else parameters", "is not a condition"),
        ("'x'.upper() == status", "is not a condition"),
        ("status == f'{run}'", "is not a condition"),
        ("status == b'x'", "is not a condition"),
        ("(lambda: 1) == parameters", "is not a condition"),
        ("(" * 500, "is not a condition"),
        ("__import__('os').system('true')", "no column '__import__'"),
        ("optim.lr.__class__ == 1", "no column 'optim.lr.__class__'"),
        ("parametres < 8 and optim.rl > 1", "'parametres'. Did you mean 'parameters'? There is no column 'optim.rl'."),
        ("status == qqqq", "no column 'qqqq'. Text must be in quotes."),
        ("parameters", "parameters (a column of numbers) is not a condition by itself"),
        ("1", "1 is not a condition by itself"),
        ("1 < 2", "one of them must be a column"),
        ("parameters > 'many'", "compares parameters (a column of numbers) with 'many': the types must agree"),
        ("status == 3", "compares status (a column of text) with 3"),
        ("model.conv_bias == 1", "compares model.conv_bias (a column of true or false) with 1"),
        ("status < 'm'", "only numbers and times can be ordered"),
        ("parameters == status", "compares parameters (a column of numbers) with status (a column of text)"),
        ("parameters in ['x']", "compares parameters (a column of numbers) with 'x'"),
        ("parameters in 3", "`in` needs a column and a list"),
        ("parameters is 3", "`is` compares only with None"),
        ("parameters == None", "compares parameters (a column of numbers) with None"),
        ("started_at > 'yester'", "'yester' is not a time"),
    ],
)
def test_invalid_conditions_are_refused_with_a_message(condition: str, message: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        matching(TABLE, condition)
    assert message in str(refused.value)


def test_short_names_are_replaced_in_a_condition() -> None:
    assert names_in("optim.lr > 1 and `a b` == 'x.y' and not model.conv_bias == true") == [
        "optim.lr",
        "a b",
        "model.conv_bias",
    ]


# Accuracy and loss


@pytest.fixture
def final(make_run: MakeRun, score: MakeScore, tmp_path: Path) -> Callable[..., pd.DataFrame]:
    """final("holdout raw", …) returns a table of completed runs with such final scores, "pruned …" a pruned run."""

    def load(*runs: str) -> pd.DataFrame:
        for number, run in enumerate(runs):
            *pruned, split, weights = run.split()
            scores = [score("train", "raw", "last", 90.0), score(split, "raw", "last", 98.0)]
            if weights == "averaged":
                scores.append(score(split, "averaged", "last", 98.5))
            make_run(str(number), scores=scores, status=Status.STOPPED if pruned else Status.COMPLETED)
        return load_runs(tmp_path)

    return load


@pytest.mark.parametrize(
    ("runs", "column"),
    [
        (["test raw", "test raw"], "test_accuracy_last"),
        (["holdout averaged"], "holdout_averaged_accuracy_last"),
        (["holdout averaged", "pruned holdout raw"], "holdout_averaged_accuracy_last"),  # before averaging started
        (["pruned holdout raw"], "holdout_accuracy_last"),
    ],
)
def test_accuracy_means_the_final_score(final: Callable[..., pd.DataFrame], runs: list[str], column: str) -> None:
    frame = final(*runs)
    assert resolve(frame, "accuracy") == column
    assert resolve(frame, "loss") == column.replace("accuracy", "loss")
    assert len(matching(frame, "accuracy > 90")) == sum(not run.startswith("pruned") for run in runs) or len(runs) == 1


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        (["test raw", "holdout raw"], "holdout_accuracy_last (runs: 1) or test_accuracy_last (runs: 1)"),
        (["test raw", "test averaged"], "test_accuracy_last (runs: 1) or test_averaged_accuracy_last (runs: 1)"),
    ],
)
def test_scores_of_other_splits_or_weights_do_not_mix(
    final: Callable[..., pd.DataFrame], runs: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match="must not be mixed") as refused:
        resolve(final(*runs), "accuracy")
    assert message in str(refused.value)


def test_accuracy_without_any_score_is_refused(make_run: MakeRun) -> None:
    frame = load_runs(make_run(scores=[]))
    with pytest.raises(ValueError, match="no run has a score"):
        resolve(frame, "accuracy")
