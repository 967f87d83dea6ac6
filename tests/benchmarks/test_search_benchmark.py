"""The replays of `benchmarks.search` agree with a calculation by hand. Nothing is trained."""

import itertools
import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import SimpleNamespace

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from benchmarks.search import replay
from benchmarks.search.contest import STOCK, ContenderResult, Contest, as_prior, ratio_of_medians
from benchmarks.search.curves import Curve, Curves
from benchmarks.search.question import SearchQuestion, pruner_overrides
from benchmarks.search.real import overhead
from benchmarks.search.replay import Cost, with_barrier, without_barrier
from mnist_compact.common.errors import ConfigError
from mnist_compact.runs.trainer import check
from mnist_compact.search.builders import pruner_of, space_of
from mnist_compact.search.counts import quieten

KEEP_ALL = {"_target_": "optuna.pruners.NopPruner"}
ABOVE_HALF = {"_target_": "optuna.pruners.ThresholdPruner", "lower": 0.5}


@dataclass
class Course:
    epoch_s: float
    accuracies: tuple[float, ...]


def snapshot(pruner=KEEP_ALL):
    sampler = {"_target_": "optuna.samplers.RandomSampler", "seed": None}
    settings = {"params": {}, "branches": {}, "sampler": sampler, "pruner": pruner}
    return {"settings": settings, "arguments": ["optim.lr=interval(0.0,1.0)"]}


def dealt(*courses):
    """Trials have these curves in the order of their proposals; all later trials are long and have a low score."""
    deck = itertools.chain(courses, itertools.repeat(Course(100.0, (0.0, 0.0))))
    return lambda overrides: next(deck)


#                 trial 0                    1                          2                          3
UNEVEN = (Course(1.0, (0.6, 0.7)), Course(3.5, (0.6, 0.8)), Course(1.0, (0.6, 0.6)), Course(1.0, (0.6, 0.9)))


@pytest.mark.parametrize(
    ("score", "cost"),
    [
        (0.7, Cost(2, 2.0)),  # trial 0 at 2.0, when trial 1 has not finished an epoch
        (0.75, Cost(4, 7.0)),  # trial 1 at 7.0
        (0.9, Cost(8, 9.0)),  # trials 2 and 3 start only at 7.0, and end together
        (0.91, None),
    ],
)
def test_batch_with_a_barrier_waits_for_its_slowest_trial(score, cost):
    played = with_barrier(snapshot(), dealt(*UNEVEN), seed=0, workers=2, trials=4)
    assert played.until(score) == cost
    assert (played.best_of(2), played.best_of(4), played.trials, len(played.epoch_ends)) == (0.8, 0.9, 4, 8)


@pytest.mark.parametrize(
    ("score", "cost"),
    [
        (0.7, Cost(2, 2.0)),
        (
            0.75,
            Cost(7, 6.0),
        ),  # trials 0, 2 and 3 one after another, and one epoch of trial 1, whose 0.8 is reported later
        (0.9, Cost(7, 6.0)),
        (0.91, None),
    ],
)
def test_worker_does_not_wait_for_others(score, cost):
    played = without_barrier(snapshot(), dealt(*UNEVEN), seed=0, workers=2, target=0.91, most_epochs=8)
    assert played.until(score) == cost


def test_search_ends_with_the_trial_that_reaches_the_target():
    played = without_barrier(snapshot(), dealt(*UNEVEN), seed=0, workers=2, target=0.9, most_epochs=1000)
    assert (played.until(0.9), played.trials) == (Cost(7, 6.0), 4)


def test_pruned_trial_costs_its_epochs_and_frees_its_worker():
    poor, late = Course(1.0, (0.4, 0.95, 0.95)), Course(1.0, (0.6, 0.6, 0.3))
    good = Course(1.0, (0.6, 0.6, 0.9))
    options = {"seed": 0, "workers": 1, "target": 0.9, "most_epochs": 100}
    played = without_barrier(snapshot(ABOVE_HALF), dealt(poor, late, good), **options)
    assert played.until(0.9) == Cost(1 + 3 + 3, 7.0)
    assert [done.score for done in played.completed] == [0.3, 0.9], "the last epoch of a trial is none to prune after"
    kept = without_barrier(snapshot(), dealt(poor, late, good), **options)
    assert kept.until(0.9) == Cost(3, 3.0), "whose 0.95 counts only as it was trained to its end"


def test_search_without_success_ends_at_its_limit():
    played = without_barrier(snapshot(), dealt(), seed=0, workers=2, target=0.5, most_epochs=21)
    assert len(played.epoch_ends) == 21
    assert played.until(0.5) is None


class Spy(optuna.samplers.RandomSampler):
    """Record for every trial how many trials were known in each state."""

    seen: list[tuple[int, int, int]]

    def infer_relative_search_space(self, study, trial):
        states = [one.state for one in study.trials]
        self.seen.append(tuple(map(states.count, (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING))))
        return {}


def test_replayed_sampler_sees_the_results_of_a_real_search(monkeypatch):
    Spy.seen = []
    monkeypatch.setattr(replay, "stock_sampler", lambda snapshot, seed: Spy(seed=0))
    monkeypatch.setattr(replay, "sampler_of", lambda snapshot, key, prior: Spy(seed=0))
    with_barrier(snapshot(), dealt(*UNEVEN), seed=0, workers=2, trials=4)
    assert Spy.seen == [(0, 0, 2), (0, 0, 2), (2, 0, 2), (2, 0, 2)], "it is asked for both before either suggests"
    Spy.seen = []
    poor = Course(1.0, (0.4, 0.4))
    without_barrier(snapshot(ABOVE_HALF), dealt(*UNEVEN[:3], poor), seed=0, workers=2, target=1.0, most_epochs=7)
    assert Spy.seen == [(0, 0, 1), (0, 0, 2), (1, 0, 2), (2, 0, 2), (2, 1, 2), (3, 1, 2)]


def test_replay_depends_only_on_its_seed():
    quieten()
    question = SearchQuestion.read()
    study = question.snapshot(sampler="tpe_joint", pruner="hyperband")

    def proposals(seed):
        given = []

        def play(overrides):
            given.append(tuple(overrides))
            return Course(
                1.0, tuple(epoch / len(given) for epoch in range(1, 16))
            )  # each is worse than the previous one and is pruned

        without_barrier(study, play, seed=seed, workers=2, target=99.0, most_epochs=150)
        return given

    assert proposals(0) == proposals(0)
    assert proposals(0)[:2] != proposals(1)[:2]


def test_sampler_learns_from_the_trials_of_an_earlier_study():
    quieten()
    question = SearchQuestion.read()
    given = []

    def play(overrides):
        given.append(dict(override.split("=") for override in overrides))
        return Course(1.0, (0.1,))

    narrow = question.of_earlier_study().snapshot(sampler="tpe_joint")
    options = {"seed": 0, "workers": 1, "target": 1.0}
    before = without_barrier(narrow, play, **options, most_epochs=30)
    assert {trial["model.layers.conv1.width"] for trial in given} == {"4"}
    for trial in before.found:
        trial.values = [float(trial.params["train.batch_size"] == 16)]
    study = question.snapshot(sampler="tpe_joint")
    small = []
    for prior in (as_prior(before.found, study), []):
        given.clear()
        without_barrier(study, play, **options, most_epochs=6, prior=prior)
        small.append(sum(trial["train.batch_size"] == "16" for trial in given))
    assert len(before.found) == 30
    assert small[0] > small[1], "the prior trials say that batches of 16 are the best"


def test_earlier_trial_outside_of_a_branch_is_left_out():
    quieten()
    question = SearchQuestion.read()
    common = {"model.layers.conv1.width": 4, "train.batch_size": 16, "augment.shift_fraction": 0.1}
    found = [  # the branch of adamw ends at 0.064
        SimpleNamespace(values=[97.0], params={**common, "optim": "adamw", "optim.lr": rate}) for rate in (0.2, 0.01)
    ]
    (kept,) = as_prior(found, question.snapshot(sampler="tpe_joint", branched=True))
    assert (kept.number, kept.value, kept.params["optim"]) == (-1, 97.0, "adamw")
    assert len(as_prior(found, question.snapshot(sampler="tpe_joint"))) == 2


# The search and its curves


def test_search_is_one_grid_of_networks_within_the_budget(configure):
    question = SearchQuestion.read()
    assert {axis.key: axis.levels for axis in question.axes} == {
        "optim": ("sgd", "adamw"),
        "optim.lr": (0.001, 0.004, 0.016, 0.064, 0.256),
        "model.layers.conv1.width": (4, 8, 16),
        "train.batch_size": (16, 64, 256),
        "augment.shift_fraction": (0.0, 0.1, 0.2),
    }
    points = list(question.grid())
    assert len(set(points)) == 270
    for point in (points[0], points[-1]):
        assert question.nearest(question.overrides_of(point), points) == point
        check(configure(*question.overrides, *question.overrides_of(point)))  # raises for networks over the budget


def test_proposal_is_replayed_at_the_nearest_point():
    proposed = ("adamw", 0.0079, 6, 64, 0.151)  # on a logarithmic scale 0.0079 is nearer to 0.004, and 6 is nearer to 8
    question = SearchQuestion.read()
    points = set(question.grid())
    assert question.nearest(question.overrides_of(proposed), points) == ("adamw", 0.004, 8, 64, 0.2)
    points.remove(("adamw", 0.004, 8, 64, 0.2))
    # Of a range 0.0079 lies 0.123 from 0.004 and 0.127 from 0.016; all other levels are further.
    assert question.nearest(question.overrides_of(proposed), points) == ("adamw", 0.016, 8, 64, 0.2)


def test_no_curve_is_replayed_twice():
    question = SearchQuestion.read()
    curves = {point: Curve(2430, (float(number),), (1.0,)) for number, point in enumerate(question.grid())}
    contest = Contest(Curves(question, {}, curves), {}, {}, workers=2)
    play, line = contest.deal(), question.overrides_of(next(question.grid()))
    scores = [play(line).accuracies[0] for _ in range(270)]
    assert scores[0] == 0
    assert sorted(scores) == list(range(270))
    assert play(line) is None
    assert contest.deal()(line).accuracies[0] == 0, "a new replay begins anew"


def test_search_ends_when_all_curves_are_used():
    deck = iter(UNEVEN)
    options = {"seed": 0, "workers": 2, "target": 1.0, "most_epochs": 1000}
    played = without_barrier(snapshot(), lambda overrides: next(deck, None), **options)
    assert len(played.epoch_ends) == 8
    assert played.until(1.0) is None


def test_pruners_are_options_or_classes_with_settings():
    question = SearchQuestion.read()

    def pruner(text, **more):
        return pruner_of(question.snapshot(sampler="tpe", pruner=text, **more))

    assert isinstance(pruner("none"), optuna.pruners.NopPruner)
    percentile = pruner("percentile:percentile=25,n_warmup_steps=4")
    assert (percentile._percentile, percentile._n_warmup_steps) == (25, 4)
    halving = pruner("SuccessiveHalvingPruner:min_resource=3")
    assert (type(halving), halving._min_resource) == (optuna.pruners.SuccessiveHalvingPruner, 3)
    assert pruner_overrides("percentile:percentile=25") == [
        "hydra/sweeper/pruner=percentile", "hydra.sweeper.pruner.percentile=25",
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="needs an option of hydra/sweeper/pruner, got SuccessiveHalvingPruner"):
        pruner_overrides("SuccessiveHalvingPruner:min_resource=3")


def test_branches_keep_the_rate_and_stay_on_the_grid():
    question = SearchQuestion.read()
    flat, branched = (space_of(question.snapshot(sampler="tpe", branched=given)) for given in (False, True))
    assert flat.keys() == branched.keys()
    assert "optim.lr" not in {parameter.key for parameter in branched.parameters}
    levels = next(axis.levels for axis in question.axes if axis.key == "optim.lr")
    for branch in branched.branches:
        (rate,) = branch.parameters
        assert {rate.distribution.low, rate.distribution.high} <= set(levels)


def test_curves_are_restored_and_those_of_others_refused(tmp_path):
    question = SearchQuestion.read()
    points = list(question.grid())
    curve = Curve(2430, (90.125, 97.5), (1.5, 9.0, 1.25))
    Curves(question, {"threads": 1}, {points[7]: curve, points[3]: curve}).write(tmp_path / "curves.csv")
    back = Curves.read(tmp_path / "curves.csv", question)
    assert (back.environment, dict(back.at)) == ({"threads": 1}, {points[3]: curve, points[7]: curve})
    assert (curve.epoch_s, curve.trial_s, back.epochs) == (1.5, 4.5, 2)
    with pytest.raises(ConfigError, match=r"was recorded with data=holdout .* give another --curves"):
        Curves.read(tmp_path / "curves.csv", SearchQuestion.read(synthetic=True))
    text = (tmp_path / "curves.csv").read_text()
    (tmp_path / "curves.csv").write_text(text.replace("\nsgd,0.001,4,", "\nsgd,0.001,5,"))
    with pytest.raises(ConfigError, match=r"another grid: it contains optim=sgd optim.lr=0.001 \S+width=5 "):
        Curves.read(tmp_path / "curves.csv", question)
    with pytest.raises(ConfigError, match="does not exist; --record creates it"):
        Curves.read(tmp_path / "none.csv", question)


# Summary


def test_contender_that_misses_the_target_counts_as_infinite():
    stock = [Cost(100, 50.0)] * 3
    costs = {STOCK: stock, "ours": [Cost(50, 10.0), Cost(75, 20.0), None]}
    ours = ContenderResult.of("ours", costs)
    assert (ours.epochs, ours.seconds, ours.unreached) == (75, 20.0, 1 / 3)
    assert (ours.epochs_ratio.median, ours.seconds_ratio.median) == (0.75, 0.4)
    assert (ours.epochs_ratio.lowest, ours.epochs_ratio.highest) == (0.5, math.inf)
    assert ContenderResult.of(STOCK, costs).seconds_ratio.median == 1


def test_interval_is_that_of_the_ratio_of_medians():
    spread = ratio_of_medians(range(1, 101), [2.0] * 100)
    # The exact interval of a median, from order statistics 40 and 61 of 100, over 2.
    low, high = pytest.approx(20, abs=1), pytest.approx(30.5, abs=1)
    assert (spread.median, spread.lowest, spread.highest) == (25.25, low, high)


def test_overhead_is_time_outside_training():
    begin = datetime(2026, 1, 1)

    def trial(worker, start, end, seconds):
        return create_trial(
            value=1.0,
            user_attrs={"lease": {"worker": worker}, "seconds": seconds},
        ), begin + timedelta(seconds=start), begin + timedelta(seconds=end)  # fmt: skip

    trials = []
    for done, start, end in [trial("a", 0, 10, 9.0), trial("a", 11, 21, 9.0), trial("b", 0, 30, 29.5)]:
        done.datetime_start, done.datetime_complete = start, end
        trials.append(done)
    assert overhead(trials) == pytest.approx((3.0 + 0.5) / 3)
