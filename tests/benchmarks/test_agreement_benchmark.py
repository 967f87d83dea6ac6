"""The statistics and the report of `benchmarks.agreement`. Nothing is trained."""

import json
import math

import numpy as np
import pytest
import scipy.stats

from benchmarks.agreement import Scores, compared, permutation_p, report


@pytest.mark.parametrize("scale", [1, 1e-3], ids=["accuracies", "losses"])
def test_permutation_test_agrees_with_scipy(scale):
    generator = np.random.default_rng(5)
    first, second = (scale * generator.normal(99.3, 0.1, size=5) for _ in range(2))
    reference = scipy.stats.permutation_test(
        (first, second), lambda a, b: np.mean(a) - np.mean(b), n_resamples=math.inf, alternative="two-sided"
    )
    assert permutation_p(list(first), list(second)) == pytest.approx(reference.pvalue)


def test_difference_is_second_minus_first_with_the_interval_of_the_pairs():
    result = compared([99.1, 99.2, 99.3], [99.2, 99.4, 99.3])
    # the differences 0.1, 0.2, 0 have mean 0.1 and standard deviation 0.1; t(2, 97.5 %) = 4.3027
    half = 4.3027 * 0.1 / math.sqrt(3)
    assert result["difference"] == pytest.approx(0.1)
    assert (result["low"], result["high"]) == (pytest.approx(0.1 - half, abs=1e-4), pytest.approx(0.1 + half, abs=1e-4))


def test_report_compares_the_accuracy_and_the_log_loss_of_two_precisions(capsys):
    found = {
        "float32": [Scores(99.1, 0.030), Scores(99.3, 0.028)],
        "bfloat16": [Scores(99.2, 0.029), Scores(99.2, 0.029)],
    }
    report(found, as_json=False)
    text = capsys.readouterr().out
    assert "float32   mean 99.200  sd 0.141  (99.10 99.30)" in text
    assert "bfloat16 - float32: +0.000, 95 % interval -1.271 to +1.271, p = 1.00" in text
    assert "bfloat16  mean 0.02900  sd 0.00000  (0.0290 0.0290)" in text


def test_report_of_a_plain_loop_has_no_log_loss(capsys):
    found = {"ours": [Scores(99.1, 0.03), Scores(99.3, 0.03)], "plain": [Scores(99.1, None), Scores(99.3, None)]}
    report(found, as_json=True)
    assert list(json.loads(capsys.readouterr().out)["results"]) == ["accuracy"]
