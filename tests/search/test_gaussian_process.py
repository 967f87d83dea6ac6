"""The Gaussian process as a sampler: it models branches, and learns from ranks and not from refused trials."""

import math
from statistics import NormalDist, median

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from mnist_compact.search.gaussian_process import GaussianProcessSampler, centre, completed, set_normal_scores
from mnist_compact.search.space import SearchSpace

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")

RATE = "tag(log,interval(0.001,1))"
SPACE = SearchSpace.parse(
    {"optim": "choice(sgd,adamw)"},
    {name: {"when": {"optim": [name]}, "params": {"optim.lr": RATE}} for name in ("sgd", "adamw")},
    [],
)
DISTRIBUTIONS = {parameter.name: parameter.distribution for parameter in SPACE.all_parameters()}
BEST = {"sgd": 0.2, "adamw": 0.005}


def score(optim, rate):
    """The accuracy in place of training: sgd at its best rate is best."""
    return 99.0 - (math.log10(rate) - math.log10(BEST[optim])) ** 2 - 0.5 * (optim == "adamw")


def trial(optim, rate, value):
    params = {"optim": optim, f"{optim}:optim.lr": rate}
    return create_trial(value=value, params=params, distributions={name: DISTRIBUTIONS[name] for name in params})


def some_trials(value=lambda accuracy: accuracy):
    """Sixteen trials of both optimizers, whose rates cover the range."""
    points = [(optim, 10 ** (-3 * (i + 0.5) / 8)) for i in range(8) for optim in ("sgd", "adamw")]
    return [trial(optim, rate, value(score(optim, rate))) for optim, rate in points]


def proposals(trials, count=6, sampler=None):
    """The points that the sampler proposes with different seeds after these trials."""
    points = []
    for seed in range(count):
        base = optuna.samplers.GPSampler(seed=seed, n_startup_trials=4)
        chosen = sampler(base) if sampler else GaussianProcessSampler(base, (), SPACE.all_parameters())
        study = optuna.create_study(direction="maximize", sampler=chosen)
        study.add_trials(trials)
        asked = study.ask()
        SPACE.suggest(asked, lambda key: None)
        points.append(asked.params)
    return points


def test_rates_of_branches_are_proposed_near_the_best():
    found = proposals(some_trials())
    assert {point["optim"] for point in found} == {"sgd"}
    assert median(abs(math.log10(point["sgd:optim.lr"] / BEST["sgd"])) for point in found) < 0.2


def test_proposals_depend_on_the_ranks_of_the_values_only():
    """A trial that diverged is only the worst, however low its accuracy is."""
    assert proposals(some_trials(lambda value: 100 - (100 - value) ** 4), 2) == proposals(some_trials(), 2)


def test_prior_trials_replace_start_up_trials():
    found = proposals([], sampler=lambda base: GaussianProcessSampler(base, some_trials(), SPACE.all_parameters()))
    assert median(abs(math.log10(point[f"{point['optim']}:optim.lr"] / BEST[point["optim"]])) for point in found) < 0.2


def test_each_objective_has_its_own_ranks():
    trials = [create_trial(values=values) for values in ([97.0, 9000.0], [98.0, 7000.0], [96.0, 8000.0])]
    set_normal_scores(trials)
    third = NormalDist().inv_cdf(5 / 6)
    assert [t.values for t in trials] == [pytest.approx(v) for v in ([0, third], [third, -third], [-third, 0])]


def test_refused_trials_have_the_mean_score_and_change_no_other():
    trained, refused = [trial("sgd", 0.1, value) for value in (97.0, 98.0)], trial("sgd", 0.1, 12.0)
    refused.set_user_attr("refused", "over budget")
    set_normal_scores([*trained, refused])
    alone = [trial("sgd", 0.1, value) for value in (97.0, 98.0)]
    set_normal_scores(alone)
    assert refused.value == 0.0
    assert [t.value for t in trained] == [t.value for t in alone]


def test_inactive_parameters_have_the_centre_of_their_range_and_the_trial_is_not_changed():
    given = trial("sgd", 0.1, 98.0)
    filled = completed(given, DISTRIBUTIONS)
    assert filled.params == {"optim": "sgd", "sgd:optim.lr": 0.1, "adamw:optim.lr": pytest.approx(0.0316, rel=1e-3)}
    assert set(given.params) == {"optim", "sgd:optim.lr"}


def test_trial_without_parameters_stays_as_it_is():
    asked = create_trial(state=TrialState.RUNNING)
    assert completed(asked, DISTRIBUTIONS).params == {}


@pytest.mark.parametrize(
    ("distribution", "middle"),
    [
        (FloatDistribution(0.0, 0.3), 0.15),
        (FloatDistribution(0.001, 0.1, log=True), 0.01),
        (IntDistribution(4, 9), 6),
        (CategoricalDistribution(("conv", "separable")), "conv"),
    ],
)
def test_centre_is_in_the_range(distribution, middle):
    assert (
        centre(distribution) == pytest.approx(middle) if isinstance(middle, float) else centre(distribution) == middle
    )
    assert distribution._contains(distribution.to_internal_repr(centre(distribution)))
