"""Two confirmations paired by seed, against other ways to the same numbers."""

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
def test_the_sign_flip_p_of_small_cases_by_hand(differences, p):
    assert sign_flip_p(differences) == by_enumeration(differences) == p


def test_the_sign_flip_p_is_that_of_all_patterns_and_of_scipys_exact_test():
    generator = np.random.default_rng(0)
    for n in (4, 9, 13):
        differences = generator.integers(-9, 13, n).tolist()
        assert sign_flip_p(differences) == pytest.approx(by_enumeration(differences), abs=1e-12)
        theirs = permutation_test(
            (np.array(differences),), np.sum, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
        )
        assert sign_flip_p(differences) == pytest.approx(theirs.pvalue, abs=1e-12)


def test_twenty_seeds_are_exact_too():
    assert sign_flip_p([4] * 20) == 2.0**-19
    assert sign_flip_p([4] * 19 + [-4]) == pytest.approx(2 * 21 / 2**20)  # one or no sign against the others


def test_the_sign_flip_p_errs_as_often_as_it_says():
    """Of 400 pairs of equals, fixed by the seed."""
    generator = np.random.default_rng(1)
    found = [sign_flip_p(generator.integers(-12, 13, 10).tolist()) < 0.05 for _ in range(400)]
    assert 0.02 < np.mean(found) < 0.08


def test_a_comparison_pairs_by_seed(seed_results):
    """By hand: differences 0.10, 0.20, 0.30 have mean 0.2 and sd 0.1; the interval is that of a paired t-test."""
    first = seed_results(99.40, 99.60, 99.50, 99.0, name="first")
    second = seed_results(99.30, 99.40, 99.20, name="second")
    found = compare(first, second)[0]
    assert (found.n, found.p) == (3, 0.25)
    wanted = ttest_rel([99.40, 99.60, 99.50], [99.30, 99.40, 99.20]).confidence_interval()
    assert (found.difference.low, found.difference.high) == pytest.approx((wanted.low, wanted.high))
    assert found.told() == (
        "first - second: +0.200 points over 3 common seeds, 95 % interval [-0.048, +0.448]; "
        "exact sign-flip p = 0.25: 3 seeds are too few to show anything"
    )


def test_a_comparison_pairs_equal_seeds_in_unequal_places(seed_results):
    """Seeds 1000 to 1003 beside 1001 to 1004: by seed all differences are 0.10, by position none is."""
    first = seed_results(99.00, 99.20, 99.50, 99.90, name="first")
    second = seed_results(99.10, 99.40, 99.80, 99.95, name="second", first=1001)
    found = first.versus(second)
    assert (found.n, found.difference.mean, found.difference.sd) == (3, pytest.approx(0.10), 0)


@pytest.mark.parametrize("common", [0, 1])
def test_a_comparison_counts_seeds_in_common_not_places(seed_results, common):
    first = seed_results(99.0, 99.1, 99.2, name="first")
    second = seed_results(99.0, 99.1, 99.2, name="second", first=1003 - common)
    with pytest.raises(ConfigError, match=f"{common} of two seeds in common"):
        first.versus(second)


@pytest.mark.parametrize("diverged", ["first", "second"])
def test_a_comparison_with_a_diverged_seed_is_refused(seed_results, diverged):
    """Also where the other seeds would suffice: the mean of those that came through is biased upward."""
    scores = (99.5, 99.6, 99.7)
    first, second = (seed_results(*scores, *[None] * (name == diverged), name=name) for name in ("first", "second"))
    with pytest.raises(ConfigError, match=f"1 of 4 seeds of {diverged} diverged"):
        first.versus(second)


def test_a_difference_beyond_noise_is_said(seed_results):
    first = seed_results(*(99.50 + i / 100 for i in range(8)), name="first")
    second = seed_results(*(99.40 + i / 100 + (i % 2) / 100 for i in range(8)), name="second")
    told = compare(first, second)[0].told()
    assert told.startswith("first - second: +0.095 points over 8 common seeds")
    assert told.endswith("exact sign-flip p = 0.0078: more than noise")


@pytest.mark.parametrize(
    ("ps", "corrected"),
    [
        ((0.03,), (0.03,)),
        ((0.01, 0.04, 0.03), (0.03, 0.06, 0.06)),  # by hand: 3 × 0.01, 2 × 0.03, and 0.04 is no surer than that
        ((0.6, 0.5), (1.0, 1.0)),
        ((0.02, 0.02), (0.04, 0.04)),
        ((), ()),
    ],
)
def test_holms_correction_by_hand(ps, corrected):
    assert holm(ps) == pytest.approx(list(corrected))


def test_of_many_comparisons_of_equals_one_is_found_as_seldom_as_the_level_says():
    """Of 300 families of twenty, fixed by the seed: without a correction two in three would find something."""
    families = np.random.default_rng(2).uniform(size=(300, 20))
    assert 0.6 < np.mean(families.min(1) < 0.05) < 0.7
    assert 0.03 < np.mean([min(holm(family.tolist())) < 0.05 for family in families]) < 0.07


def test_compared_at_once_a_difference_must_be_the_clearer(seed_results):
    """Six seeds all better are p = 1/32: enough for one comparison, not for two."""
    first = seed_results(*(99.50 + i / 100 for i in range(6)), name="first")
    others = [seed_results(*(99.40 + i / 100 for i in range(6)), name=name) for name in ("second", "third")]
    assert compare(first, others[0])[0].told().endswith("exact sign-flip p = 0.031: more than noise")
    told = [each.told() for each in compare(first, *others)]
    assert [each.split(":")[0] for each in told] == ["first - second", "first - third"]
    said = "exact sign-flip p = 0.031, 0.062 by Holm for 2 comparisons: not shown to be more than noise"
    assert all(each.endswith(said) for each in told)
    assert compare(first, *others[:1]) == [compare(first, others[0])[0]]


def test_what_may_be_noise_is_said_not_to_be_shown(seed_results):
    first = seed_results(99.5, 99.4, 99.5, 99.4, 99.5, 99.4, name="first")
    second = seed_results(99.4, 99.5, 99.4, 99.5, 99.4, 99.5, name="<second>")
    found = compare(first, second)[0]
    assert found.told().endswith("p = 1: not shown to be more than noise")
    assert "first - &lt;second&gt;: +0.000 points" in found._repr_html_()


@pytest.mark.parametrize("offset", [0.0, 0.01])
def test_differences_without_spread_have_no_interval(seed_results, offset):
    """Of two seeds, one more right image each is no evidence, whatever a division by nearly nothing gives."""
    first = seed_results(99.41, 99.52, name="first")
    second = seed_results(99.41 - offset, 99.52 - offset, name="second")
    told = compare(first, second)[0].told()
    assert told.startswith(f"first - second: {offset:+.3f} points over 2 common seeds, the same for each; ")
    assert told.endswith("2 seeds are too few to show anything")


def test_what_cannot_be_paired_is_refused(seed_results, tmp_path):
    first, second = seed_results(99.0, 99.1, name="first"), seed_results(99.0, 99.1, name="second", first=2000)
    with pytest.raises(ConfigError, match="0 of two seeds in common"):
        compare(first, second)[0]
    Confirmation.of("held", "a test", compose("data=holdout"), "holdout", set()).write(tmp_path / "held")
    with pytest.raises(ConfigError, match="different splits: test and holdout"):
        compare(first, SeedResults.gather(tmp_path / "held", []))[0]
    Confirmation.of("fewer", "a test", compose(), SPLIT, set()).write(tmp_path / "fewer")
    for seed in (1000, 1001):
        write_seed(tmp_path / "fewer", seed, scored(99.0, total=5_000))
    with pytest.raises(ConfigError, match="first and fewer are scored on different numbers of images"):
        compare(first, SeedResults.gather(tmp_path / "fewer", [1000, 1001]))[0]
