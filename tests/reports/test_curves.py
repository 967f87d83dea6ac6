"""The four curves show the values of the metrics, and state which values are not drawn."""

import math
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from mnist_compact.records.metrics import Columns, read_columns
from mnist_compact.reports.curves import accuracy_limits, curves_figure
from mnist_compact.reports.plots import draw_curves


def _metrics(**columns: list[float]) -> Columns:
    epochs = range(1, len(next(iter(columns.values()))) + 1)
    return {"epoch": list(map(float, epochs)), **columns}


def test_four_curves_are_the_columns_of_the_metrics(make_run: Callable[..., Path]) -> None:
    metrics = read_columns(make_run())
    axes = curves_figure(metrics, "t", "test").axes
    panels = [
        ("train_loss", "training loss", "loss (nats)"),
        ("train_accuracy", "training accuracy", "accuracy (%)"),
        ("test_loss", "test loss", "loss (nats)"),
        ("test_accuracy", "test accuracy", "accuracy (%)"),
    ]
    for axis, (column, title, unit) in zip(axes, panels, strict=True):
        line = next(line for line in axis.get_lines() if len(line.get_xdata()) == 3)
        assert list(line.get_xdata()) == [1, 2, 3]
        assert list(line.get_ydata()) == metrics[column]
        assert (axis.get_title(), axis.get_ylabel()) == (title, unit)
    assert [axis.get_xlabel() for axis in axes] == ["", "", "epoch", "epoch"]


def test_title_and_star_show_the_first_best_epoch() -> None:
    metrics = _metrics(holdout_loss=[0.3, 0.1, 0.1, 0.2], holdout_accuracy=[97.0, 99.0, 99.0, 98.5])
    figure = curves_figure(metrics, "name", "holdout")
    assert figure.get_suptitle() == "name\nholdout accuracy, raw weights: last 98.50 %, best 99.00 % (epoch 2)"
    stars = [line for line in figure.axes[3].get_lines() if line.get_marker() == "*"]
    assert [(list(star.get_xdata()), list(star.get_ydata())) for star in stars] == [([2], [99.0])]


def test_averaged_weights_have_separate_lines() -> None:
    metrics = _metrics(
        test_loss=[0.3, 0.2],
        test_accuracy=[97.0, 98.0],
        test_averaged_loss=[math.nan, 0.1],
        test_averaged_accuracy=[math.nan, 99.0],
    )
    axes = curves_figure(metrics, "t", "test").axes
    labels = [[text.get_text() for text in axis.get_legend().get_texts()] for axis in axes[2:]]
    assert labels == [
        ["raw weights", "averaged weights"],
        ["raw weights: best 98.00 % in epoch 2", "averaged weights: best 99.00 % in epoch 2"],
    ]


def test_averaged_columns_without_a_value_are_not_drawn() -> None:
    empty = [math.nan, math.nan]
    metrics = _metrics(
        test_loss=[0.3, 0.2], test_accuracy=[97.0, 98.0], test_averaged_loss=empty, test_averaged_accuracy=empty
    )
    axes = curves_figure(metrics, "t", "test").axes
    assert axes[2].get_legend() is None
    assert [text.get_text() for text in axes[3].get_legend().get_texts()] == ["raw weights: best 98.00 % in epoch 2"]


@pytest.mark.parametrize(("accuracies", "drawn"), [([99.2, 99.45], True), ([97.0, 98.0], False)])
def test_target_is_drawn_only_if_it_is_in_range(accuracies: list[float], drawn: bool) -> None:
    axis = curves_figure(_metrics(test_loss=[0.2, 0.1], test_accuracy=accuracies), "t", "test").axes[3]
    assert ("99.4 %" in [text.get_text() for text in axis.texts]) is drawn
    assert axis.get_ylim()[0] < min(accuracies)
    assert axis.get_ylim()[1] < max(accuracies) + 1


def test_early_epochs_outside_the_chart_are_mentioned() -> None:
    accuracies = [11.0, *[99.0 + i / 100 for i in range(9)]]
    axis = curves_figure(_metrics(test_loss=[0.1] * 10, test_accuracy=accuracies), "t", "test").axes[3]
    assert axis.get_title() == "test accuracy  (1 point below, down to 11.0 %)"


@pytest.mark.parametrize(
    ("values", "shown_from"),
    [
        ([50.0, 98.0, 99.0], 50.0),  # few values: all of them are shown
        ([10.0] * 8 + [90.0] * 2, 10.0),  # most values are low: all of them are shown
        ([20.0, *[99.0] * 9], 99.0),
        ([100.0], 100.0),
    ],
)
def test_accuracy_limits(values: list[float], shown_from: float) -> None:
    low, high = accuracy_limits(values)
    assert shown_from - 8 < low < shown_from
    assert max(values) < high <= 100 + 5


@pytest.mark.parametrize(
    ("losses", "scale"),
    [([0.5, 0.02], "log"), ([0.5, 0.1], "linear"), ([0.5, 0.0], "linear"), ([math.nan, 0.1], "linear")],
)
def test_losses_over_a_wide_range_have_a_logarithmic_axis(losses: list[float], scale: str) -> None:
    axis = curves_figure(_metrics(train_loss=losses, train_accuracy=[90.0, 91.0]), "t", "test").axes[0]
    assert axis.get_yscale() == scale


@pytest.mark.parametrize("loss", [[math.nan, math.nan], [0.0, 0.1], [math.inf, 1.0]])
def test_unusual_losses_can_be_drawn(make_run: Callable[..., Path], loss: list[float]) -> None:
    folder = make_run()
    metrics = _metrics(train_loss=loss, train_accuracy=[10.0, 9.0], test_loss=loss, test_accuracy=[math.nan] * 2)
    pd.DataFrame(metrics).to_csv(folder / "metrics.csv", index=False)
    assert draw_curves(folder).read_bytes()[:4] == b"\x89PNG"
    assert curves_figure(read_columns(folder), "t", "test").get_suptitle() == "t\nno evaluation"


def test_run_without_evaluation_shows_its_training_curves(make_run: Callable[..., Path]) -> None:
    folder = make_run(metrics="epoch,train_loss,train_accuracy\n1,0.5,90\n")
    axes = curves_figure(read_columns(folder), "t", "test").axes
    assert [axis.axison for axis in axes] == [True, True, False, False]
    assert draw_curves(folder).read_bytes()[:4] == b"\x89PNG"
