"""Ending early: the limits keep their promise, by simulation, and save what they are said to save."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from mnist_compact.confirmation.interim import GIVE_UP_FROM, LIMITS, SEEDS, InterimAnalysis

THRESHOLD, SD = 99.4, 0.05
SIMULATED = 20_000


def played(mean, *, give_up=True):
    """(share that ends with yes, seeds on average), the looks computed without `InterimAnalysis`, by arrays."""
    from scipy.stats import t

    scores = np.random.default_rng(0).normal(mean, SD, (SIMULATED, SEEDS))
    yes, spent, left = np.zeros(SIMULATED, bool), np.full(SIMULATED, SEEDS), np.ones(SIMULATED, bool)
    for n, limit in LIMITS.items():
        part = scores[:, :n]
        p = t.sf((part.mean(1) - THRESHOLD) / (part.std(1, ddof=1) / n**0.5), n - 1)
        won = left & (p < limit)
        lost = left & (part.mean(1) <= THRESHOLD) & (n >= GIVE_UP_FROM) & give_up
        yes |= won
        spent[won | (lost & ~won)] = n
        left &= ~(won | lost)
    return yes.mean(), spent.mean()


def test_all_looks_together_err_in_two_and_a_half_per_cent():
    share, _ = played(THRESHOLD, give_up=False)
    assert share == pytest.approx(0.025, abs=0.003)


@pytest.mark.parametrize(("mean", "power", "seeds"), [(99.45, 0.98, 13.5), (99.43, 0.70, 16.7)])
def test_power_and_seeds_are_what_is_said(mean, power, seeds):
    share, spent = played(mean)
    assert share == pytest.approx(power, abs=0.02)
    assert spent == pytest.approx(seeds, abs=0.3)


@pytest.mark.parametrize("n", LIMITS)
def test_a_look_is_scipys_one_sided_t_test(n):
    scores = np.random.default_rng(n).normal(99.42, SD, n).tolist()
    theirs = ttest_1samp(scores, THRESHOLD, alternative="greater").pvalue
    assert InterimAnalysis.at(scores, THRESHOLD).p == pytest.approx(theirs)


@pytest.mark.parametrize(
    ("accuracies", "ended", "told"),
    [
        ((99.50, 99.51, 99.50, 99.51, 99.50), True, "mean > 99.40: yes, one-sided p = 9.2e-07, limit after 5 of 20"),
        (
            (99.46, 99.50, 99.41, 99.48, 99.42),
            False,
            "mean > 99.40: open, one-sided p = 0.017, limit after 5",
        ),
        ((99.30,) * 5, False, "mean > 99.40: open, one-sided p = 1"),
        ((99.30,) * 4 + (99.50,) * 4, True, "mean > 99.40: given up after 8 of 20 seeds, mean 99.400"),
        (
            (99.30,) * 8 + (99.53,) * 12,
            True,
            "mean > 99.40: not shown, one-sided p = 0.079, limit after 20",
        ),
        ((99.50,) * 8, True, "mean > 99.40: yes, one-sided p = 0, limit after 8"),
    ],
)
def test_when_it_ends_and_in_what_words(accuracies, ended, told):
    look = InterimAnalysis.at(accuracies, THRESHOLD)
    assert look.ended is ended
    assert look.told().startswith(told)
