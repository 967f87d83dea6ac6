"""The schedules and correlations of `benchmarks.short_schedules`. Nothing is trained."""

import math

import numpy as np
import pandas as pd
import pytest

from benchmarks.short_schedules import correlation, shortened
from mnist_compact.config.composition import compose
from mnist_compact.runs.trainer import check


@pytest.mark.parametrize(("epochs", "eased", "averaged"), [(2, 1, 1), (5, 2, 2), (15, 4, 4)])
def test_epochs_of_averaging_and_easing_are_shortened_in_proportion(epochs, eased, averaged):
    run = compose("augment=affine", "augment.ease_off_epochs=4", "train.average_epochs=4")
    short = shortened(run, epochs)
    assert (short.train.epochs, short.augment.ease_off_epochs, short.train.average_epochs) == (epochs, eased, averaged)
    assert run.train.epochs == 15
    check(short)


def test_settings_that_are_off_stay_off():
    short = shortened(compose("augment=none", "train.average_epochs=0"), 2)
    assert (short.train.epochs, short.train.average_epochs) == (2, 0)


def test_correlation_is_that_of_the_ranks():
    final = pd.Series([99.1, 99.2, 99.3, 99.4, 99.5, math.nan], list("abcdef"))
    scores = pd.Series([3.0, 1.0, 5.0, 4.0, 2000.0, 9.0], list("abcdef"))
    found = correlation(scores, final)
    # ranks 2 1 4 3 5 against 1 2 3 4 5; 1 - 6 * (1 + 1 + 1 + 1) / (5 * 24)
    assert (found["n"], found["correlation"]) == (5, pytest.approx(0.8))
    assert -1 <= found["low"] < 0.8 < found["high"] <= 1


def test_correlation_interval_narrows_with_the_number_of_points():
    generator = np.random.default_rng(1)
    widths = []
    for count in (20, 500):
        final = pd.Series(generator.normal(size=count))
        found = correlation(final + generator.normal(size=count), final)
        widths.append(found["high"] - found["low"])
    assert widths[1] < widths[0] / 3


def test_points_without_a_score_are_left_out_and_too_few_have_no_correlation():
    assert correlation(pd.Series({"a": 1.0, "b": 2.0}), pd.Series({"b": 99.0, "c": 99.1})) is None
