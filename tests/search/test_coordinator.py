"""How many workers a search would start, and its messages about settings without effect. No worker is started."""

import subprocess
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import optuna
import pytest
from hydra import compose
from optuna.trial import TrialState, create_trial

from mnist_compact.search import coordinator as module
from mnist_compact.search import leases as module_of_leases
from mnist_compact.search.bulk import Database
from mnist_compact.search.coordinator import Coordinator, _of_a_launcher
from mnist_compact.search.leases import TrialLeases

FREE, FINITE = "model.dropout=interval(0.0,0.1)", "model.layers.conv1.width=range(4,7)"


class Workers:
    """A worker pool that only counts; all workers end when the search is done."""

    queued = 0

    def __init__(self, jobs):
        self.jobs, self.started = jobs, 0

    def __len__(self):
        return self.started

    def start(self, count):
        self.started += count

    def stop(self):
        pass

    def reap(self):
        return {}


@pytest.fixture
def started(configure, tmp_path, monkeypatch):
    """Return how many of five workers a search with `ended` finished trials starts."""
    monkeypatch.setattr(module, "POLL_S", 0)

    def counted(*words, ended):
        hydra = ("hydra/sweeper=compact", f"hydra.sweeper.folder={tmp_path}")
        given = [word for word in words if word.startswith("hydra")]
        config = compose("config", overrides=[*hydra, *given], return_hydra_config=True)
        line = ["data=synthetic", "model=compact", *(word for word in words if word not in given)]
        search = Coordinator(config, line)
        search.check()
        search.workers = Workers(5)
        trials = [create_trial(state=TrialState.COMPLETE, value=90.0) for _ in range(ended)]
        looks = iter([trials, trials, None])

        def look():
            found = next(looks)
            if found is None:
                raise KeyboardInterrupt
            return found

        with pytest.raises(KeyboardInterrupt):
            search._watch(SimpleNamespace(trials=look), SimpleNamespace(update=lambda *_: None, message=print))
        return search.workers.started

    return counted


@pytest.mark.parametrize(
    ("words", "ended", "workers"),
    [
        ((FREE, "hydra.sweeper.n_trials=20"), 0, 5),
        ((FREE, "hydra.sweeper.n_trials=20"), 18, 2),
        ((FREE, "hydra.sweeper.n_trials=1"), 0, 1),
        ((FINITE, "hydra.sweeper.n_trials=20"), 0, 3),  # points of the space
        ((FINITE, "hydra.sweeper.n_trials=20"), 3, 1),  # one worker, which finds out that every point was tried
    ],
)
def test_no_more_workers_start_than_trials_are_left(started, words, ended, workers):
    assert started(*words, ended=ended) == workers


def test_search_ends_while_workers_are_still_queued(configure, tmp_path):
    """Their places may come after days, and are not needed any more."""
    words = ("hydra/sweeper=compact", f"hydra.sweeper.folder={tmp_path}", "hydra.sweeper.n_trials=1")
    config = compose("config", overrides=[*words], return_hydra_config=True)
    search, queued = Coordinator(config, ["data=synthetic", FREE]), []
    search.workers = Workers(2)
    search.workers.started = search.workers.queued = 2
    leases = SimpleNamespace(trials=lambda: [create_trial(state=TrialState.COMPLETE, value=90.0)])
    view = SimpleNamespace(update=lambda trials, waiting: queued.append(waiting), message=print)
    assert search._watch(leases, view).reason == "the only trial has ended"
    assert queued == [2]


@pytest.mark.parametrize("top", [0, 2])
def test_display_is_told_whether_a_ranking_follows(configure, tmp_path, top):
    words = (f"hydra.sweeper.folder={tmp_path}", "hydra.sweeper.n_trials=1", f"hydra.sweeper.rank_top={top}")
    config = compose("config", overrides=["hydra/sweeper=compact", *words], return_hydra_config=True)
    search, told = Coordinator(config, ["data=synthetic", FREE]), []
    search.check()
    search.workers = Workers(1)
    trials = [create_trial(state=TrialState.COMPLETE, value=90.0)]
    guarded = SimpleNamespace(guard=nullcontext)
    leases = SimpleNamespace(trials=lambda: trials, are_many=lambda: False, study=None, watch=guarded)

    class Shown:
        def __init__(self, *_):
            self.begin = self.message = self.update = self.close = lambda *_: None

        def end(self, study, reason, *, ranks):
            told.append(ranks)

    result = search._run(leases, Shown)
    assert told == [result.ranking is not None] == [top > 0]


@pytest.mark.parametrize(
    ("many", "n_trials", "message"),
    [
        (True, 20, ["start", "read"]),
        (True, 2, ["start", "read", "stop"]),  # all trials have ended
        (False, 20, ["read"]),
    ],
)
def test_worker_of_a_large_study_starts_before_the_trials_are_read(configure, tmp_path, many, n_trials, message):
    words = ("hydra/sweeper=compact", f"hydra.sweeper.folder={tmp_path}", f"hydra.sweeper.n_trials={n_trials}")
    config = compose("config", overrides=[*words], return_hydra_config=True)
    search, done = Coordinator(config, ["data=synthetic", FREE]), []
    trials = [create_trial(state=TrialState.COMPLETE, value=90.0) for _ in range(2)]
    search.workers = SimpleNamespace(start=lambda count: done.append("start"), stop=lambda: done.append("stop"))
    leases = SimpleNamespace(are_many=lambda: many, trials=lambda: done.append("read") or trials)
    assert search._first_reading(leases) is trials
    assert done == message


def test_study_is_large_from_a_limit_on(tmp_path, monkeypatch):
    """They are counted without being read."""
    url = f"sqlite:///{tmp_path}/study.db"
    optuna.create_study(study_name="other", storage=url).add_trials([create_trial(value=1.0) for _ in range(5)])
    study = optuna.create_study(study_name="s", storage=url)
    study.add_trials([create_trial(value=1.0) for _ in range(2)])
    leases = TrialLeases(tmp_path, url, "s", "ours", private=True)
    monkeypatch.setattr(module_of_leases, "MANY", 3)
    monkeypatch.setattr(Database, "_get_trials", None)
    assert not leases.are_many()
    monkeypatch.setattr(module_of_leases, "MANY", 2)
    assert leases.are_many()


def test_coordinator_does_not_import_torch():
    """A search starts its workers seconds sooner."""
    code = "import sys, mnist_compact.search.coordinator, mnist_compact.search.resuming; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), []),
        (("hydra/launcher=basic",), ["hydra/launcher=basic"]),
        (("hydra.launcher.n_jobs=1",), ["hydra.launcher.n_jobs=1"]),
    ],
)
def test_launcher_settings_without_effect_are_named(configure, words, message):
    hydra = ("hydra/sweeper=compact", *words)
    config = compose("config", overrides=list(hydra), return_hydra_config=True)
    assert _of_a_launcher(config) == message


def test_launcher_chosen_by_a_file_is_named(configure):
    config = compose("config", overrides=["hydra/launcher=basic"], return_hydra_config=True)
    config.hydra.overrides.hydra = []
    assert _of_a_launcher(config) == ["hydra/launcher=basic"]
