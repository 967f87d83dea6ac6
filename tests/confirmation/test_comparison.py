"""Comparisons paired by seed, against independent computations of the same numbers."""

import itertools

import numpy as np
import pytest
from scipy.stats import permutation_test, ttest_rel
from seeds_by_hand import SPLIT, scored, write_seed

from mnist_compact.common.errors import ConfigError
from mnist_compact.config.composition import compose
from mnist_compact.confirmation.comparison import compare, holm, sign_flip_p
from mnist_compact.confirmation.confirmation import Confirmation
from mnist_compact.confirmation.results import SeedResults


def by_enumeration(differences):
    """All sign patterns, one by one."""
    sums = [abs(sum(signs)) for signs in itertools.product(*((d, -d) for d in differences))]
    return sum(total >= abs(sum(differences)) for total in sums) / len(sums)


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ((10, 20, 30), 0.25),
        ((7, 7, 7, 7, 7), 0.0625),
        ((7, 7, 7, 7, 7, 7), 0.03125),
        ((5, -5), 1.0),
        ((0, 0, 0), 1.0),
        ((3, 0, 0, 0), 1.0),
    ],
)
def test_sign_flip_p_of_small_cases(differences, p):
    assert sign_flip_p(differences) == by_enumeration(differences) == p


def test_sign_flip_p_agrees_with_enumeration_and_scipy():
    generator = np.random.default_rng(0)
    for n in (4, 9, 13):
        differences = generator.integers(-9, 13, n).tolist()
        assert sign_flip_p(differences) == pytest.approx(by_enumeration(differences), abs=1e-12)
        expected = permutation_test(
            (np.array(differences),), np.sum, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
        )
        assert sign_flip_p(differences) == pytest.approx(expected.pvalue, abs=1e-12)


def test_sign_flip_p_is_exact_for_twenty_seeds():
    assert sign_flip_p([4] * 20) == 2.0**-19
    assert sign_flip_p([4] * 19 + [-4]) == pytest.approx(2 * 21 / 2**20)  # one or no sign against the others


def test_sign_flip_p_has_the_stated_error_rate():
    """Simulates 400 pairs of equal configurations with a fixed seed."""
    generator = np.random.default_rng(1)
    found = [sign_flip_p(generator.integers(-12, 13, 10).tolist()) < 0.05 for _ in range(400)]
    assert 0.02 < np.mean(found) < 0.08


def test_comparison_pairs_by_seed(seed_results):
    """By hand: differences 0.10, 0.20, 0.30 have mean 0.2 and sd 0.1; the interval is that of a paired t-test."""
    first = seed_results(99.40, 99.60, 99.50, 99.0, name="first")
    second = seed_results(99.30, 99.40, 99.20, name="second")
    found = compare(first, second)[0]
    assert (found.n, found.p) == (3, 0.25)
    expected = ttest_rel([99.40, 99.60, 99.50], [99.30, 99.40, 99.20]).confidence_interval()
    assert (found.difference.low, found.difference.high) == pytest.approx((expected.low, expected.high))
    assert found.describe() == (
        "first - second: +0.200 points over 3 common seeds, 95 % interval [-0.048, +0.448]; "
        "exact sign-flip p = 0.25: 3 seeds are too few for a significant result"
    )


def test_comparison_pairs_seeds_at_different_positions(seed_results):
    """Seeds 1000 to 1003 beside 1001 to 1004: by seed all differences are 0.10, by position none is."""
    first = seed_results(99.00, 99.20, 99.50, 99.90, name="first")
    second = seed_results(99.10, 99.40, 99.80, 99.95, name="second", first=1001)
    found = compare(first, second)[0]
    assert (found.n, found.difference.mean, found.difference.sd) == (3, pytest.approx(0.10), 0)


@pytest.mark.parametrize("common", [0, 1])
def test_comparison_counts_common_seeds_not_positions(seed_results, common):
    first = seed_results(99.0, 99.1, 99.2, name="first")
    second = seed_results(99.0, 99.1, 99.2, name="second", first=1003 - common)
    with pytest.raises(ConfigError, match=f"would have {common}"):
        compare(first, second)[0]


@pytest.mark.parametrize("diverged", ["first", "second"])
def test_comparison_with_a_diverged_seed_is_refused(seed_results, diverged):
    """Even if the other seeds would suffice: their mean is biased upward."""
    scores = (99.5, 99.6, 99.7)
    first, second = (seed_results(*scores, *[None] * (name == diverged), name=name) for name in ("first", "second"))
    with pytest.raises(ConfigError, match=f"1 of 4 seeds of {diverged} diverged"):
        compare(first, second)[0]


def test_significant_difference_is_described(seed_results):
    first = seed_results(*(99.50 + i / 100 for i in range(8)), name="first")
    second = seed_results(*(99.40 + i / 100 + (i % 2) / 100 for i in range(8)), name="second")
    text = compare(first, second)[0].describe()
    assert text.startswith("first - second: +0.095 points over 8 common seeds")
    assert text.endswith("exact sign-flip p = 0.0078: significant")


@pytest.mark.parametrize(
    ("ps", "corrected"),
    [
        ((0.03,), (0.03,)),
        ((0.01, 0.04, 0.03), (0.03, 0.06, 0.06)),  # 3 × 0.01, 2 × 0.03, and at least the value before
        ((0.6, 0.5), (1.0, 1.0)),
        ((0.02, 0.02), (0.04, 0.04)),
        ((), ()),
    ],
)
def test_holm_of_small_cases(ps, corrected):
    assert holm(ps) == pytest.approx(list(corrected))


def test_holm_controls_the_error_rate_of_a_family():
    """Simulates 300 families of 20 comparisons; without a correction two thirds would have a significant result."""
    families = np.random.default_rng(2).uniform(size=(300, 20))
    assert 0.6 < np.mean(families.min(1) < 0.05) < 0.7
    assert 0.03 < np.mean([min(holm(family.tolist())) < 0.05 for family in families]) < 0.07


def test_several_comparisons_are_corrected(seed_results):
    """Six seeds all better are p = 1/32: enough for one comparison, not for two."""
    first = seed_results(*(99.50 + i / 100 for i in range(6)), name="first")
    others = [seed_results(*(99.40 + i / 100 for i in range(6)), name=name) for name in ("second", "third")]
    assert compare(first, others[0])[0].describe().endswith("exact sign-flip p = 0.031: significant")
    text = [each.describe() for each in compare(first, *others)]
    assert [each.split(":")[0] for each in text] == ["first - second", "first - third"]
    ending = "exact sign-flip p = 0.031, 0.062 after Holm's correction for 2 comparisons: not significant"
    assert all(each.endswith(ending) for each in text)
    assert compare(first, *others[:1]) == [compare(first, others[0])[0]]


def test_insignificant_difference_is_described(seed_results):
    first = seed_results(99.5, 99.4, 99.5, 99.4, 99.5, 99.4, name="first")
    second = seed_results(99.4, 99.5, 99.4, 99.5, 99.4, 99.5, name="<second>")
    found = compare(first, second)[0]
    assert found.describe().endswith("p = 1: not significant")
    assert "first - &lt;second&gt;: +0.000 points" in found._repr_html_()


@pytest.mark.parametrize("offset", [0.0, 0.01])
def test_equal_differences_have_no_interval(seed_results, offset):
    """Two equal differences have a standard deviation of zero, so there is no interval."""
    first = seed_results(99.41, 99.52, name="first")
    second = seed_results(99.41 - offset, 99.52 - offset, name="second")
    text = compare(first, second)[0].describe()
    assert text.startswith(
        f"first - second: {offset:+.3f} points over 2 common seeds, the same difference for every seed; "
    )
    assert text.endswith("2 seeds are too few for a significant result")


def test_comparison_refuses_what_cannot_be_paired(seed_results, tmp_path):
    first, second = seed_results(99.0, 99.1, name="first"), seed_results(99.0, 99.1, name="second", first=2000)
    with pytest.raises(ConfigError, match="needs at least two common seeds; first and second would have 0"):
        compare(first, second)[0]
    Confirmation.of("held", "a test", compose("data=holdout"), "holdout", set()).write(tmp_path / "held")
    with pytest.raises(ConfigError, match="different splits: test and holdout"):
        compare(first, SeedResults.gather(tmp_path / "held", []))[0]
    Confirmation.of("fewer", "a test", compose(), SPLIT, set()).write(tmp_path / "fewer")
    for seed in (1000, 1001):
        write_seed(tmp_path / "fewer", seed, scored(99.0, total=5_000))
    with pytest.raises(ConfigError, match="first and fewer are scored on different numbers of images"):
        compare(first, SeedResults.gather(tmp_path / "fewer", [1000, 1001]))[0]
