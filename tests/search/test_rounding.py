"""Proposed values are rounded to readable numbers and stay within their interval."""

import doctest

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from mnist_compact.search import rounding
from mnist_compact.search.rounding import RoundingSampler, rounded


@pytest.mark.parametrize(
    ("value", "distribution", "readable"),
    [
        (0.12345678, FloatDistribution(0.0, 0.2), 0.1235),
        (0.00012345678, FloatDistribution(0.0, 0.2), 0.0001235),
        (2.3456789e-05, FloatDistribution(2e-5, 2e-3, log=True), 2.346e-05),
        (1234567.8, FloatDistribution(0.0, 1e7), 1235000.0),
        (-7.00049, FloatDistribution(-8.0, 8.0), -7.0),
        (0.0, FloatDistribution(0.0, 0.2), 0.0),
        (0.99912345, FloatDistribution(0.999, 0.9999), 0.999123),  # narrow: only 9 values of 4 digits would remain
        (0.123412, FloatDistribution(0.12341, 0.5), 0.12341),  # 0.1234 lies outside
        (0.51239, FloatDistribution(0.0, 0.51239), 0.51239),  # 0.5124 lies outside
        (0.30000000000000004, FloatDistribution(0.1, 0.5, step=0.1), 0.3),
        (0.12345, FloatDistribution(0.12345, 0.12345), 0.12345),
        (7, IntDistribution(1, 9), 7),
        (0.998877665, CategoricalDistribution((0.998877665, 0.5)), 0.998877665),
    ],
)
def test_rounded_value_is_readable_and_inside(value, distribution, readable):
    assert rounded(value, distribution) == readable
    assert distribution._contains(distribution.to_internal_repr(readable))


def test_documented_examples_hold():
    assert doctest.testmod(rounding).failed == 0


@pytest.mark.parametrize("base", [optuna.samplers.RandomSampler, optuna.samplers.TPESampler])
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_study_stores_the_rounded_value(base):
    """With joint sampling of all parameters and with independent sampling."""
    options = {} if base is optuna.samplers.RandomSampler else {"multivariate": True, "n_startup_trials": 2}
    study = optuna.create_study(sampler=RoundingSampler(base(seed=0, **options)))
    space = {"lr": FloatDistribution(1e-4, 1.0, log=True), "p": FloatDistribution(0.0, 1.0)}
    for _ in range(8):
        trial = study.ask(space)
        study.tell(trial, trial.params["lr"])
    for trial in study.trials:
        assert all(len(f"{value:.15g}".lstrip("0.").replace("e-05", "")) <= 5 for value in trial.params.values())
    assert len({trial.params["lr"] for trial in study.trials}) == 8


def test_enqueued_point_is_not_rounded():
    study = optuna.create_study(sampler=RoundingSampler(optuna.samplers.RandomSampler(seed=0)))
    study.enqueue_trial({"lr": 0.123456789})
    trial = study.ask({"lr": FloatDistribution(0.1, 0.2), "p": FloatDistribution(0.0, 1.0)})
    assert trial.params["lr"] == 0.123456789
    assert trial.params["p"] == float(f"{trial.params['p']:.4g}")
