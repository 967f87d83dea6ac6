"""Early stopping: error rate, power and saved seeds by simulation."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from mnist_compact.confirmation.interim import FUTILE_FROM, LIMITS, SEEDS, InterimAnalysis

THRESHOLD, SD = 99.4, 0.05
SIMULATED = 20_000


def simulate(mean, *, stop_futile=True):
    """(share that is significant, mean number of seeds), computed with arrays, without `InterimAnalysis`."""
    from scipy.stats import t

    scores = np.random.default_rng(0).normal(mean, SD, (SIMULATED, SEEDS))
    yes, used, left = np.zeros(SIMULATED, bool), np.full(SIMULATED, SEEDS), np.ones(SIMULATED, bool)
    for n, limit in LIMITS.items():
        part = scores[:, :n]
        p = t.sf((part.mean(1) - THRESHOLD) / (part.std(1, ddof=1) / n**0.5), n - 1)
        won = left & (p < limit)
        lost = left & (part.mean(1) <= THRESHOLD) & (n >= FUTILE_FROM) & stop_futile
        yes |= won
        used[won | (lost & ~won)] = n
        left &= ~(won | lost)
    return yes.mean(), used.mean()


def test_error_rate_of_all_analyses_is_2_5_per_cent():
    share, _ = simulate(THRESHOLD, stop_futile=False)
    assert share == pytest.approx(0.025, abs=0.003)


@pytest.mark.parametrize(("mean", "power", "seeds"), [(99.45, 0.98, 13.5), (99.43, 0.70, 16.7)])
def test_power_and_mean_number_of_seeds(mean, power, seeds):
    share, used = simulate(mean)
    assert share == pytest.approx(power, abs=0.02)
    assert used == pytest.approx(seeds, abs=0.3)


@pytest.mark.parametrize("n", LIMITS)
def test_analysis_is_the_one_sided_t_test_of_scipy(n):
    scores = np.random.default_rng(n).normal(99.42, SD, n).tolist()
    expected = ttest_1samp(scores, THRESHOLD, alternative="greater").pvalue
    assert InterimAnalysis.at(scores, THRESHOLD).p == pytest.approx(expected)


@pytest.mark.parametrize(
    ("accuracies", "finished", "text"),
    [
        ((99.50, 99.51, 99.50, 99.51, 99.50), True, "mean > 99.40: yes, one-sided p = 9.2e-07, limit after 5 of 20"),
        (
            (99.46, 99.50, 99.41, 99.48, 99.42),
            False,
            "mean > 99.40: undecided, one-sided p = 0.017, limit after 5",
        ),
        ((99.30,) * 5, False, "mean > 99.40: undecided, one-sided p = 1"),
        (
            (99.30,) * 4 + (99.50,) * 4,
            True,
            "mean > 99.40: not shown, stopped as futile after 8 of 20 seeds, mean 99.400",
        ),
        (
            (99.30,) * 8 + (99.53,) * 12,
            True,
            "mean > 99.40: not shown, one-sided p = 0.079, limit after 20",
        ),
        ((99.50,) * 8, True, "mean > 99.40: yes, one-sided p = 0, limit after 8"),
    ],
)
def test_analysis_finishes_and_describes_the_result(accuracies, finished, text):
    analysis = InterimAnalysis.at(accuracies, THRESHOLD)
    assert analysis.finished is finished
    assert analysis.describe().startswith(text)
