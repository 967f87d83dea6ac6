"""What every trial of a search would fail of is found before its study is founded."""

import sys

import pytest
from hydra import compose

from mnist_compact.faults import ConfigError
from mnist_compact.questions.checks import rehearse
from mnist_compact.search.parent import Parent

LINE = ("data=synthetic", "model=compact", "optim.lr=interval(0.01,0.1)")
MANY = "model.layers.conv1.width=range(4,9)"


@pytest.fixture
def check(configure, tmp_path):
    """Checks a search as `python -m mnist_compact -m` does before it writes anything."""

    def checked(*words):
        hydra = [word for word in words if word.startswith("hydra")]
        line = [*LINE, *(word for word in words if word not in hydra)]
        plain = [word for word in line if "(" not in word]
        bare = ("hydra/help=default", "hydra/sweeper=compact", f"hydra.sweeper.folder={tmp_path}")
        config = compose("config", overrides=[*bare, *hydra, *plain], return_hydra_config=True)
        Parent(config, line).check()

    return checked


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("train.epochs=20",), r"^train\.epochs must be at most budget\.max_epochs = 15, got 20$"),
        (("train.epochs=range(16,30)",), r"^train\.epochs must be at most"),
        (("train.epochs=20", MANY), r"^train\.epochs must be at most"),
        (("machine.device=cuda:99",), r"^machine\.device must be auto, cpu or a GPU of this machine, got 'cuda:99'"),
        (("machine.threads=choice(1,2)",), r"^machine\.threads says what a trial is computed on: it is no question$"),
        (
            ("hydra/sweeper/pruner=hyperband", "hydra.sweeper.pruner.reduction_factor=1"),
            r"^hydra/sweeper/pruner must be one that works here, got HyperbandPruner",
        ),
        (
            ("hydra/sweeper/pruner=hyperband", "hydra.sweeper.pruner.min_resource=0"),
            r"^hydra/sweeper/pruner must be one that works here, got HyperbandPruner",
        ),
        (("hydra.sweeper.storage=study.db",), r"^hydra\.sweeper\.storage must be an Optuna URL .*, got 'study\.db'$"),
    ],
)
def test_what_no_trial_could_train_with_is_refused(check, words, said):
    with pytest.raises(ConfigError, match=said):
        check(*words)


def test_a_tracker_that_is_not_installed_is_refused(check, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(ConfigError, match="pip install tensorboard"):
        check("tracker=tensorboard")


def test_a_sampler_whose_library_is_not_installed_is_refused_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cmaes", None)
    frozen = {"settings": {"objectives": ["accuracy"], "sampler": {"_target_": "optuna.samplers.CmaEsSampler"}}}
    with pytest.raises(ConfigError, match=r"^hydra/sweeper/sampler=cmaes needs cmaes: pip install cmaes, or"):
        rehearse(frozen, {})


@pytest.mark.parametrize(
    "words",
    [
        ("train.epochs=choice(20,15)",),
        ("train.epochs=20", "budget=choice(mission,none)"),
        ("hydra/sweeper/pruner=hyperband",),
        ("hydra/sweeper/pruner=hyperband", "hydra.sweeper.objectives=[accuracy,parameters]"),
    ],
)
def test_what_only_some_proposals_could_not_is_theirs(check, words):
    check(*words)
