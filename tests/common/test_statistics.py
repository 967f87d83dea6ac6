import pytest
from scipy import stats

from mnist_compact.common.statistics import THRESHOLD, Summary, above, normal_scores


def test_interval_agrees_with_a_worked_example():
    """A worked example: 99.40, 99.44, 99.48 with t = 4.3027 for two degrees of freedom."""
    summary = Summary.of([99.40, 99.44, 99.48])
    assert (summary.n, summary.minimum, summary.maximum) == (3, 99.40, 99.48)
    assert summary.mean == pytest.approx(99.44)
    assert summary.sd == pytest.approx(0.04)
    assert (summary.low, summary.high) == pytest.approx((99.44 - 0.099366, 99.44 + 0.099366), abs=1e-5)


def test_interval_agrees_with_scipy():
    scores = [99.41, 99.39, 99.52, 99.47, 99.44, 99.38]
    summary = Summary.of(scores)
    expected = stats.ttest_1samp(scores, 0).confidence_interval(0.95)
    assert (summary.low, summary.high) == pytest.approx((expected.low, expected.high))


def test_interval_lies_within_0_and_100():
    """Two scores of 50 and 93 would have an interval of -202 to 345."""
    summary = Summary.of([50.0, 93.0])
    assert (summary.low, summary.high) == (0.0, 100.0)
    differences = Summary.of([-50.0, -93.0], least=-100.0)
    assert (differences.low, differences.high) == (-100.0, 100.0)


def test_interval_of_few_scores_is_only_an_indication():
    cautions = [Summary.of([99.4, 99.5] * n).caution for n in (1, 2, 3)]
    assert cautions == [*2 * [" (only an indication: fewer than 5 seeds)"], ""]


def test_equal_scores_have_an_interval_of_no_width():
    summary = Summary.of([99.4] * 5)
    assert (summary.sd, summary.low, summary.high) == pytest.approx((0, 99.4, 99.4))


def test_one_score_has_no_spread_and_none_no_summary():
    summary = Summary.of([99.4])
    assert (summary.n, summary.mean, summary.sd, summary.low, summary.high) == (1, 99.4, None, None, None)
    with pytest.raises(ValueError, match="at least one"):
        Summary.of([])


def test_above_the_threshold_means_at_least_one_image_more():
    at_the_bar = [9940 / 10_000 * 100, 100 * 9940 / 10_000, 100 * 0.994, 0.994 * 100 + 1.5e-14]
    assert max(at_the_bar) > THRESHOLD  # in binary
    assert above(at_the_bar, THRESHOLD) == 0
    assert above([*at_the_bar, 100 * 9941 / 10_000], THRESHOLD) == 1


def test_normal_scores_agree_with_scipy():
    values = [97.0, 98.0, 30.0, 98.0, 12.5]
    assert normal_scores(values) == pytest.approx(stats.norm.ppf((stats.rankdata(values) - 0.5) / 5))
    assert normal_scores([]) == []
