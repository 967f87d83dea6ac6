"""Metrics of a run are read as far as they were written, and convergence agrees with its definition."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from mnist_compact.records.metrics import epochs_to_converge, first_converged
from mnist_compact.reports.tables import read_metrics


@pytest.mark.parametrize(
    ("accuracies", "epoch"),
    [
        ([97.0, 98.9, 99.0], 2),  # exactly 0.1 below
        ([97.0, 98.89, 99.0], 3),
        ([99.0, 98.0, 97.0], 1),
        ([98.0, 99.5, 97.0], 2),  # relative to the best epoch, not the last
        ([10.0, 99.3, 98.0, 99.35], 2),  # the first such epoch, although the accuracy falls again
        ([math.nan, 50.0, math.nan], 2),
        ([98.0, math.inf], 1),
        ([0.0], 1),
        ([math.nan], None),
        ([], None),
    ],
)
def test_first_converged(accuracies: list[float], epoch: int | None) -> None:
    assert first_converged(range(1, len(accuracies) + 1), accuracies) == epoch


HEADER = "epoch,train_accuracy,holdout_averaged_accuracy,holdout_accuracy,holdout_correct\n"


@pytest.mark.parametrize(
    ("text", "epochs", "converged"),
    [
        (None, [], None),
        ("", [], None),
        ("epoch,train_acc", [], None),  # an incomplete header
        (HEADER, [], None),
        (HEADER + "1,99,99,97.0,9\n2,99,99,98.0,9\n", [1, 2], 2),
        (HEADER + "1,99,99,97.0,9\n2,99,99,98.0,9", [1], 1),  # the last line may end within its last number
        (HEADER + "1,99,99,97.0,9\n2,99,9", [1], 1),
        (
            HEADER + "1,99,99,97.0,9\n2,99,3,99,99,98.0,9\n4,99,99,98.5,9\n",
            [1, 4],
            4,
        ),  # an incomplete line, then continued
        (
            HEADER + "1,99,99,97.0,9\n2,99,99,98.0,9\n2,99,99,96.0,9\n",
            [1, 2],
            1,
        ),  # a repeated epoch: the later row counts
        (HEADER + "1,99,,97.0,\n", [1], 1),
        (HEADER + "1,99,99,nan,9\n", [1], None),
        ("epoch,train_accuracy\n1,99\n", [1], None),
        (HEADER.replace("\n", "\r\n") + "1,99,99,97.0,9\r\n", [1], 1),
        ("\x00\xff", [], None),
    ],
)
def test_incomplete_metrics_are_read_as_far_as_possible(
    tmp_path: Path, text: str | None, epochs: list[int], converged: int | None
) -> None:
    if text is not None:
        (tmp_path / "metrics.csv").write_bytes(text.encode("latin-1"))
    assert read_metrics(tmp_path)["epoch"].tolist() == epochs
    assert epochs_to_converge(tmp_path, "holdout") == converged


def test_counts_are_integers_and_measures_are_floats(make_run: Callable[..., Path]) -> None:
    metrics = read_metrics(make_run())
    assert metrics["test_correct"].tolist() == [9700, 9905, 9900]
    dtypes = metrics.dtypes.astype(str)
    assert {name for name, dtype in dtypes.items() if dtype == "Int64"} == {
        *("epoch", "train_correct", "train_total", "test_correct", "test_averaged_correct", "test_total")
    }
    assert set(dtypes) == {"Int64", "float64"}
