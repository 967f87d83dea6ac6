"""Large studies: trials are read in bulk, and samplers see the best and the latest. `benchmarks` measures the time."""

from collections import Counter

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.samplers import TPESampler
from optuna.storages import InMemoryStorage, RDBStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial
from sqlalchemy import event

from mnist_compact.search import bulk, prior
from mnist_compact.search.bulk import Database
from mnist_compact.search.prior import InformedSampler, representative
from mnist_compact.search.rounding import RoundingSampler, comparable, is_same_point

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")  # as in a search
DISTRIBUTIONS = {"a": FloatDistribution(0.0, 1.0), "b": CategoricalDistribution(("x", "y"))}


def trial_of(number, value, state=TrialState.COMPLETE, **attributes):
    trial = create_trial(
        state=state,
        value=value,
        params={"a": number / 100, "b": "xy"[number % 2]},
        distributions=DISTRIBUTIONS,
        user_attrs=attributes,
    )
    trial.number = number
    return trial


def joint(seed=0):
    return TPESampler(multivariate=True, group=True, constant_liar=True, n_startup_trials=4, seed=seed)


def study_of(trials, directions=("maximize",)):
    study = optuna.create_study(storage=InMemoryStorage(), directions=list(directions))
    study.add_trials(trials)
    return study


def proposal(study, sampler):
    study.sampler = sampler
    trial = study.ask()
    return trial.suggest_float("a", 0.0, 1.0), trial.suggest_categorical("b", ("x", "y"))


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(prior, "BEST", 2)
    monkeypatch.setattr(prior, "LATEST", 3)


@pytest.mark.parametrize(("direction", "best"), [(StudyDirection.MAXIMIZE, [0, 2]), (StudyDirection.MINIMIZE, [3, 4])])
def test_sampler_sees_the_best_the_latest_and_all_unfinished_trials(few, direction, best):
    trials = [trial_of(number, value) for number, value in enumerate([9.0, 7.0, 8.0, 1.0, 2.0, 5.0, 5.0, 5.0, 5.0])]
    trials.insert(1, trial_of(1, None, TrialState.RUNNING))
    trials.insert(2, trial_of(2, None, TrialState.WAITING))
    trials.insert(3, trial_of(3, 99.0 if direction is StudyDirection.MAXIMIZE else 0.0, refused="over budget"))
    trials.append(trial_of(12, None, TrialState.FAIL))
    for number, trial in enumerate(trials):
        trial.number = number
    numbers = [0, *range(4, 12)]  # of the nine trials above
    seen = [trial.number for trial in representative(trials, direction)]
    assert seen == sorted([*(numbers[i] for i in best), 1, 2, 9, 10, 11])


def test_sampler_sees_a_study_below_the_limit_completely(few):
    trials = [trial_of(number, float(number)) for number in range(5)]
    assert representative(trials, StudyDirection.MAXIMIZE) is trials


@pytest.mark.parametrize(("count", "equal"), [(30, True), (31, False)])
def test_equal_seeds_give_equal_proposals_up_to_the_limit(monkeypatch, count, equal):
    monkeypatch.setattr(prior, "BEST", 5)
    monkeypatch.setattr(prior, "LATEST", 25)
    trials = [trial_of(number, -abs(number - 40.0)) for number in range(count)]
    plain = [proposal(study_of(trials), RoundingSampler(joint(seed))) for seed in range(8)]
    informed = [proposal(study_of(trials), InformedSampler(joint(seed), ())) for seed in range(8)]
    assert (informed == plain) is equal


def test_sampler_sees_all_trials_of_several_objectives(few):
    study = optuna.create_study(storage=InMemoryStorage(), directions=["maximize", "minimize"])
    study.add_trials([create_trial(values=[0.5, 0.5]) for _ in range(9)])
    assert len(prior.StudyForSampler(study, ()).get_trials()) == 9


def test_sampler_reads_the_study_once_for_each_proposal(monkeypatch):
    study, calls = study_of([trial_of(number, float(number)) for number in range(9)]), Counter()
    study.sampler = InformedSampler(joint(), ())
    trial, read = study.ask(), study._storage.get_all_trials

    def counted(*args, **kwargs):
        calls["reads"] += 1
        return read(*args, **kwargs)

    monkeypatch.setattr(study._storage, "get_all_trials", counted)
    trial.suggest_float("a", 0.0, 1.0)  # in the joint space
    trial.suggest_float("other", 0.0, 1.0)  # sampled on its own
    assert calls["reads"] == 1
    proposal(study, study.sampler)
    assert study.trials[-2].number in {trial.number for trial in study.sampler._seen[1].seen}, "a new trial, a new read"


@pytest.mark.parametrize(
    ("params", "same"),
    [
        ({"a": 0.30000000000000004, "b": "x"}, True),
        ({"b": "x", "a": 0.3}, True),
        ({"a": 0.31, "b": "x"}, False),
        ({"a": 0.3, "b": "y"}, False),
        ({"a": 0.3}, False),
        ({"a": 0.3, "b": "x", "c": 1}, False),
    ],
)
def test_points_are_compared_without_the_noise_of_arithmetic(params, same):
    point = {"a": 0.3, "b": "x"}
    assert is_same_point(params, point) is same
    assert (comparable(params) == point) is same


@pytest.fixture
def database(tmp_path):
    """A study with trials of every state and kind of content, of which every second one has ended."""
    database = Database(f"sqlite:///{tmp_path}/study.db")
    study = optuna.create_study(study_name="s", storage=database, direction="maximize")
    for number in range(6):
        trial = study.ask(DISTRIBUTIONS)
        trial.report(number / 3, 1)
        trial.set_user_attr("lease", {"worker": f"w{number}"})
        if number % 2:
            study.tell(trial, float("inf") if number == 5 else number / 7)
    study.enqueue_trial({"a": 0.5})
    yield database
    database.engine.dispose()


@pytest.mark.parametrize("chunk", [1, 5000])
def test_later_reads_in_bulk_give_what_optuna_reads(database, monkeypatch, chunk):
    monkeypatch.setattr(bulk, "CHUNK", chunk)
    ids = [trial._trial_id for trial in database.get_all_trials(1)]
    for after in (0, *ids, 99):
        for included in (set(), {ids[0]}, set(ids)):
            found = database._get_trials(1, None, included, after)
            assert found == RDBStorage._get_trials(database, 1, None, included, after), (after, included)


def test_trial_that_ends_during_a_read_is_complete_in_the_next_read(database):
    """It would lack its values for ever: trials that have ended are read once."""
    study, pending = optuna.load_study(study_name="s", storage=database), ["trial 4"]

    def end_trial(connection, cursor, statement, *_):
        if pending and "FROM trial_intermediate_values" in statement:  # after the values were read
            pending.clear()
            other = RDBStorage(str(database.engine.url))
            optuna.load_study(study_name="s", storage=other).tell(4, 99.0)
            other.engine.dispose()

    event.listen(database.engine, "before_cursor_execute", end_trial)
    study.get_trials()
    assert study.get_trials()[4].values == [99.0]
