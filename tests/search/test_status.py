"""The status of a search."""

import dataclasses

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from mnist_compact.search.status import RunningTrial, search_status, store_criteria, stored_criteria
from mnist_compact.search.stopping import StoppingCriteria, StopReason, over

SETTINGS = StoppingCriteria(n_trials=7, target=None, target_trials=1, max_failures=3, max_refusals=4, maximize=True)
POINT = {"overrides": ["optim.lr=0.1"]}


def ended(state, value=None, **attributes):
    return create_trial(state=state, value=value, user_attrs=POINT | attributes)


def running(lease, scores=None):
    found = create_trial(state=TrialState.RUNNING, user_attrs=POINT | lease, intermediate_values=scores)
    found.number = 6
    return found


def test_status_has_counts_best_trials_and_remaining_time():
    trials = [
        ended(TrialState.COMPLETE, 98.0, seconds=100.0),
        ended(TrialState.COMPLETE, 99.0, seconds=200.0),
        ended(TrialState.PRUNED, seconds=30.0),
        ended(TrialState.FAIL, reason="killed"),
        ended(TrialState.PRUNED, refused="over budget"),
        running({"lease": {"worker": None}}),  # released
        running({"lease": {"worker": "vm-2-4711-a1b2c3-3", "host": "vm-2"}}, {1: 90.0, 2: 95.0}),
        create_trial(state=TrialState.RUNNING),  # not yet checked
    ]
    status = search_status(trials, SETTINGS)
    counted = status.counted
    assert (counted.complete, counted.pruned, counted.failed, counted.refused) == (2, 1, 1, 1)
    assert (status.total, [trial.value for trial in status.best], status.stop) == (7, [99.0, 98.0], None)
    assert status.running == [RunningTrial("vm-2/3", 6, 2, 95.0, ["optim.lr=0.1"])]
    assert status.per_hour == pytest.approx(3600 / 110), "for one worker: the finished trials took 110 s on average"
    assert status.hours_left == pytest.approx(3 * 110 / 3600)
    assert search_status(trials, dataclasses.replace(SETTINGS, n_trials=4)).stop == StopReason(
        "all 4 trials have ended"
    )


def test_no_remaining_time_without_workers_or_total():
    trials = [ended(TrialState.COMPLETE, 98.0, seconds=100.0)]
    assert search_status(trials, SETTINGS).hours_left is None
    trials.append(running({"lease": {"worker": "vm-1-a-0", "host": "vm"}}))
    status = search_status(trials, stored_criteria(optuna.create_study(direction="maximize")))
    assert (status.total, status.per_hour, status.hours_left, status.stop) == (None, 36.0, None, None)


def test_study_stores_its_stopping_criteria():
    study = optuna.create_study(direction="minimize")
    assert not stored_criteria(study).maximize
    store_criteria(study, SETTINGS)
    assert stored_criteria(study) == SETTINGS


@pytest.mark.parametrize(("maximize", "past"), [(True, [2, 3]), (False, [1])])
def test_trials_past_the_target_are_sorted_best_first(maximize, past):
    trials = [create_trial(value=value) for value in (99.4, 99.3, 99.6, 99.5)]
    trials += [create_trial(value=99.9 if maximize else 0.1, user_attrs={"refused": "over budget"})]
    for number, trial in enumerate(trials):
        trial.number = number
    assert [trial.number for trial in over(trials, 99.4, maximize=maximize)] == past
