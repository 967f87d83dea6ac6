"""How many workers a search starts, and what it says of settings that it does not use; no process is started."""

from types import SimpleNamespace

import pytest
from hydra import compose
from optuna.trial import TrialState, create_trial

from mnist_compact.search import coordinator as module
from mnist_compact.search.coordinator import Coordinator, _of_a_launcher

FREE, FINITE = "model.dropout=interval(0.0,0.1)", "model.layers.conv1.width=range(4,7)"


class Workers:
    """Counts instead of starting processes; all end as soon as the search is done."""

    def __init__(self, jobs):
        self.jobs, self.started = jobs, 0

    def __len__(self):
        return self.started

    def start_worker(self):
        self.started += 1

    def reap(self):
        return {}


@pytest.fixture
def started(configure, tmp_path, monkeypatch):
    """How many of five workers a search starts that has `ended` trials so far."""
    monkeypatch.setattr(module, "POLL_S", 0)

    def counted(*words, ended):
        hydra = ("hydra/help=default", "hydra/sweeper=compact", f"hydra.sweeper.folder={tmp_path}")
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
            search._watch(SimpleNamespace(trials=look), SimpleNamespace(update=lambda _: None, message=print))
        return search.workers.started

    return counted


@pytest.mark.parametrize(
    ("words", "ended", "workers"),
    [
        ((FREE, "hydra.sweeper.n_trials=20"), 0, 5),
        ((FREE, "hydra.sweeper.n_trials=20"), 18, 2),
        ((FREE, "hydra.sweeper.n_trials=1"), 0, 1),
        ((FINITE, "hydra.sweeper.n_trials=20"), 0, 3),  # points of the space
        ((FINITE, "hydra.sweeper.n_trials=20"), 3, 1),  # one, to find out that each was tried
    ],
)
def test_no_more_workers_start_than_trials_are_left(started, words, ended, workers):
    assert started(*words, ended=ended) == workers


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), []),
        (("hydra/launcher=basic",), ["hydra/launcher=basic"]),
        (("hydra.launcher.n_jobs=1",), ["hydra.launcher.n_jobs=1"]),
    ],
)
def test_launcher_settings_without_effect_are_named(configure, words, said):
    hydra = ("hydra/help=default", "hydra/sweeper=compact", *words)
    config = compose("config", overrides=list(hydra), return_hydra_config=True)
    assert _of_a_launcher(config) == said


def test_launcher_chosen_by_a_file_is_named(configure):
    config = compose("config", overrides=["hydra/help=default", "hydra/launcher=basic"], return_hydra_config=True)
    config.hydra.overrides.hydra = []
    assert _of_a_launcher(config) == ["hydra/launcher=basic"]
