"""Errors that every trial of a search would have are found before its study is created."""

import sys

import pytest
from hydra import compose
from omegaconf import open_dict, read_write

from mnist_compact.common.errors import ConfigError
from mnist_compact.config.sweeper import BranchConfig
from mnist_compact.search.coordinator import Coordinator
from mnist_compact.search.preflight import preflight
from mnist_compact.search.space import SearchSpace

LINE = ("data=synthetic", "model=compact", "optim.lr=interval(0.01,0.1)")
MANY = "model.layers.conv1.width=range(4,9)"


@pytest.fixture
def check(configure, tmp_path):
    """Check a search as `python -m mnist_compact -m` does before it writes anything."""

    def checked(*words, **branches):
        hydra = [word for word in words if word.startswith("hydra")]
        line = [*LINE, *(word for word in words if word not in hydra)]
        plain = [word for word in line if "(" not in word]
        bare = ("hydra/sweeper=compact", f"hydra.sweeper.folder={tmp_path}")
        config = compose("config", overrides=[*bare, *hydra, *plain], return_hydra_config=True)
        with read_write(config), open_dict(config):
            config.hydra.sweeper.branches = {name: BranchConfig(**branch) for name, branch in branches.items()}
        Coordinator(config, line).check()

    return checked


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("hydra.sweeper.rank_top=2", "hydra.sweeper.objectives=[accuracy,parameters]"),
            r"^hydra\.sweeper\.rank_top needs a single objective, got 2$",
        ),
        (
            ("hydra.sweeper.rank_top=2", "hydra.sweeper.workers=slurm", "hydra.sweeper.storage='journal:///shared/log'"),
            r"hydra\.sweeper\.rank_top needs workers=local",
        ),
        (("train.epochs=20",), r"^train\.epochs must be at most budget\.max_epochs = 15, got 20$"),
        (("train.epochs=range(16,30)",), r"^train\.epochs must be at most"),
        (("train.epochs=20", MANY), r"^train\.epochs must be at most"),
        (("machine.device=cuda:99",), r"^machine\.device must be auto, cpu or a GPU of this machine, got 'cuda:99'"),
        (
            ("machine.threads=choice(1,2)",),
            r"^machine\.threads must not be searched, because it describes the machine that computes a trial$",
        ),
        (
            ("hydra/sweeper/pruner=hyperband", "hydra.sweeper.pruner.reduction_factor=1"),
            r"^hydra/sweeper/pruner must support this search space, got HyperbandPruner",
        ),
        (
            ("hydra/sweeper/pruner=hyperband", "hydra.sweeper.pruner.min_resource=0"),
            r"^hydra/sweeper/pruner must support this search space, got HyperbandPruner",
        ),
        (
            ("optim.weight_decay=range(7,7)",),
            r"^optim\.weight_decay must contain at least one value, got range\(7,7\)$",
        ),
        (("optim=choice(sgd,sgd)",), r"^optim must list each choice once, got sgd, sgd$"),
        (
            ("hydra.sweeper.target=200",),
            r"^hydra\.sweeper\.target must be at least 0 and below 100 for accuracy, got 200",
        ),
        (("hydra.sweeper.target=nan",), r"^hydra\.sweeper\.target must be at least 0 and below 100 for accuracy"),
        (
            ("hydra.sweeper.target=0", "hydra.sweeper.objectives=[loss]"),
            r"^hydra\.sweeper\.target must be above 0 and at most 100 for loss, got 0",
        ),
        (
            ("hydra.sweeper.objectives=[accuracy,accuracy]",),
            r"^hydra\.sweeper\.objectives must name each objective once, got \['accuracy', 'accuracy'\]$",
        ),
        (("hydra.sweeper.storage=study.db",), r"^hydra\.sweeper\.storage must be an Optuna URL .*, got 'study\.db'$"),
    ],
)
def test_space_in_which_no_trial_could_train_is_refused(check, words, message):
    with pytest.raises(ConfigError, match=message):
        check(*words)


def test_callback_that_is_not_installed_is_refused(check, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(ConfigError, match="pip install tensorboard"):
        check("callbacks=tensorboard")


def test_missing_sampler_library_is_refused_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "cmaes", None)
    snapshot = {"settings": {"objectives": ["accuracy"], "sampler": {"_target_": "optuna.samplers.CmaEsSampler"}}}
    with pytest.raises(ConfigError, match=r"^hydra/sweeper/sampler=cmaes needs cmaes: pip install cmaes, or"):
        preflight(snapshot, SearchSpace.parse({"train.batch_size": "choice(32, 64)"}, {}, []), {})


@pytest.mark.parametrize(
    "words",
    [
        ("train.epochs=choice(20,15)",),
        ("optim=glob(*)", "hydra.sweeper.target=99.5"),
        ("hydra.sweeper.target=0.1", "hydra.sweeper.objectives=[loss]"),
        ("train.epochs=20", "budget=choice(mission,none)"),
        ("hydra/sweeper/pruner=hyperband",),
        ("hydra/sweeper/pruner=hyperband", "hydra.sweeper.objectives=[accuracy,parameters]"),
    ],
)
def test_setting_that_only_some_proposals_refuse_is_accepted(check, words):
    check(*words)


def test_nested_branches_are_composed_along_all_their_conditions(check):
    """Only sgd has `optim.nesterov`, so the check of the inner branch must choose sgd as well."""

    def inner(key):
        return {"when": {"optim.nesterov": [True]}, "params": {key: "choice(0.8,0.9)"}}

    sgd = {"when": {"optim": ["sgd"]}, "params": {"optim.nesterov": "choice(true,false)"}}
    check("optim=choice(adam,sgd)", sgd=sgd, inner=inner("optim.momentum"))
    with pytest.raises(ConfigError, match=r"^hydra\.sweeper\.branches\.inner\.params: optim\.momentun is not a key"):
        check("optim=choice(adam,sgd)", sgd=sgd, inner=inner("optim.momentun"))
