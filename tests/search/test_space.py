"""The search space: Hydra's override grammar, branches, and the precedence of the command line."""

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from mnist_compact.common.errors import ConfigError
from mnist_compact.search.space import SearchSpace

PARAMS = {"optim": "choice(sgd,adamw)", "model.layers.conv1.width": "int(interval(4,12))"}
BRANCHES = {
    "sgd": {"when": {"optim": ["sgd"]}, "params": {"optim.lr": "tag(log, interval(0.01, 0.2))"}},
    "adamw": {"when": {"optim": ["adamw"]}, "params": {"optim.lr": "tag(log, interval(0.001, 0.03))"}},
}


def nothing_known(key):
    return None


@pytest.mark.parametrize(
    ("sweep", "distribution"),
    [
        ("interval(0.1,0.5)", FloatDistribution(0.1, 0.5)),
        ("tag(log, interval(1e-3,1e-1))", FloatDistribution(1e-3, 1e-1, log=True)),
        ("int(interval(4,12))", IntDistribution(4, 12)),
        ("range(4,13,4)", IntDistribution(4, 12, step=4)),
        ("choice(64,128)", CategoricalDistribution((64, 128))),
        ("choice(true,false)", CategoricalDistribution((True, False))),
    ],
)
def test_hydra_sweeps_become_distributions(sweep, distribution):
    """Compares with a private function of Hydra's Optuna plugin, so this test fails if that function moves."""
    (parameter,) = SearchSpace.parse({"optim.lr": sweep}, {}, []).parameters
    assert parameter.distribution == distribution


def test_branch_has_its_own_parameters_under_its_own_name():
    space = SearchSpace.parse(PARAMS, BRANCHES, [])
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen = set()
    for _ in range(20):
        trial = study.ask()
        point = dict(override.split("=") for override in space.suggest(trial, nothing_known))
        assert set(point) == {"optim", "model.layers.conv1.width", "optim.lr"}
        assert f"{point['optim']}:optim.lr" in trial.params
        low, high = (0.01, 0.2) if point["optim"] == "sgd" else (0.001, 0.03)
        assert low <= float(point["optim.lr"]) <= high
        seen.add(point["optim"])
    assert seen == {"sgd", "adamw"}


def test_branch_may_depend_on_a_fixed_value():
    space = SearchSpace.parse({}, BRANCHES, ["model.dropout=interval(0.0,0.1)"])
    overrides = space.suggest(optuna.create_study().ask(), {"optim": "adamw"}.get)
    assert [override.partition("=")[0] for override in overrides] == ["model.dropout", "optim.lr"]


def test_branch_condition_may_have_several_values_and_keys():
    when = {"optim": ["adamw", "muon"], "scheduler": ["linear"]}
    branches = {"both": {"when": when, "params": {"optim.weight_decay": "interval(0.01, 0.1)"}}}
    space = SearchSpace.parse({"model.dropout": "interval(0.0, 0.1)"}, branches, [])

    def searched(**known):
        return {override.partition("=")[0] for override in space.suggest(optuna.create_study().ask(), known.get)}

    for optim in ("adamw", "muon"):
        assert searched(optim=optim, scheduler="linear") == {"model.dropout", "optim.weight_decay"}
    for other in ({"optim": "sgd", "scheduler": "linear"}, {"optim": "muon", "scheduler": "cosine"}):
        assert searched(**other) == {"model.dropout"}


def test_command_line_takes_precedence():
    space = SearchSpace.parse(PARAMS, BRANCHES, ["optim.lr=0.05", "model.layers.conv1.width=range(8,11)", "seed=3"])
    assert set(space.fixed) == {"optim.lr=0.05", "seed=3"}
    assert all(not branch.parameters for branch in space.branches)
    width = next(parameter for parameter in space.parameters if parameter.key == "model.layers.conv1.width")
    assert width.distribution == IntDistribution(8, 10)


def test_space_without_a_dimension_is_refused():
    with pytest.raises(ConfigError, match="at least one key"):
        SearchSpace.parse({}, {}, ["model=m3"])


def test_points_are_checked_and_named_by_branch():
    space = SearchSpace.parse(PARAMS, BRANCHES, [])
    assert space.named({"optim": "sgd", "optim.lr": 0.1}, nothing_known) == {"optim": "sgd", "sgd:optim.lr": 0.1}
    fixed = SearchSpace.parse(PARAMS, BRANCHES, ["optim=sgd", "model.layers.conv1.width=8"])
    known = {"optim": "sgd"}.get
    assert fixed.named({"optim": "sgd", "model.layers.conv1.width": 5, "optim.lr": 0.1}, known) == {"sgd:optim.lr": 0.1}
    assert fixed.named({"optim": "adamw", "optim.lr": 0.01}, known) is None
    with pytest.raises(ConfigError, match="must lie in"):
        space.named({"optim": "sgd", "optim.lr": 5.0}, nothing_known)
    with pytest.raises(ConfigError, match=r"model\.dropout is not searched here"):
        space.named({"model.dropout": 0.1}, nothing_known)
    needs = r"optim\.lr is not searched except with optim=sgd, or with optim=adamw, which the point must set"
    with pytest.raises(
        ConfigError, match=needs
    ):  # independent of the default, because the sampler may choose another value
        space.named({"optim.lr": 0.1}, {"optim": "sgd"}.get)


def test_point_can_remove_values_of_another_point():
    """After a merge with YAML's `<<`, `null` removes the key."""
    space = SearchSpace.parse(PARAMS, BRANCHES, [])
    point = {"optim": "sgd", "optim.lr": None, "model.dropout": None}
    assert space.named(point, nothing_known) == {"optim": "sgd"}


def test_point_from_a_run_takes_the_searched_values_within_the_space():
    branches = {
        "sgd": {"when": {"optim": ["sgd"]}, "params": {"optim.momentum": "interval(0.8, 0.95)"}},
        "muon": {"when": {"optim": ["muon"]}, "params": {"optim.adamw_lr": "interval(0.001, 0.1)"}},
    }
    space = SearchSpace.parse({"optim": "choice(sgd,muon)"}, branches, [])
    run = {"optim": "muon", "optim.momentum": 0.97, "optim.adamw_lr": 0.01}
    assert space.within(run, nothing_known) == {"optim": "muon", "optim.adamw_lr": 0.01}


NESTED = {
    "nesterov": {"when": {"optim.nesterov": [True]}, "params": {"optim.momentum": "choice(0.8,0.9)"}},  # before its own
    "sgd": {"when": {"optim": ["sgd"]}, "params": {"optim.nesterov": "choice(true,false)"}},
}


@pytest.fixture
def nested():
    """A space in which one branch depends on the parameter of another."""
    return SearchSpace.parse({"optim": "choice(adamw,sgd)"}, NESTED, [])


def test_nested_conditions_enumerate_every_point_once(nested):
    points = [
        {"optim": "adamw"},
        {"optim": "sgd", "sgd:optim.nesterov": True, "nesterov:optim.momentum": 0.8},
        {"optim": "sgd", "sgd:optim.nesterov": True, "nesterov:optim.momentum": 0.9},
        {"optim": "sgd", "sgd:optim.nesterov": False},
    ]
    assert list(nested.points({"optim.nesterov": True}.get)) == points


def test_nested_branch_is_sampled_only_with_its_parent(nested):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(40):
        trial = study.ask()
        nested.suggest(
            trial, {"optim.nesterov": True}.get
        )  # a default in the file does not activate the branch with adamw
    sampled = [trial.params for trial in study.trials]
    expected = list(nested.points(nothing_known))
    assert all(point in expected for point in sampled)
    assert all(point in sampled for point in expected)


def test_enqueued_points_are_checked_along_nested_branches(nested):
    point = {"optim": "sgd", "optim.nesterov": True, "optim.momentum": 0.9}
    names = {"optim": "sgd", "sgd:optim.nesterov": True, "nesterov:optim.momentum": 0.9}
    assert nested.named(point, nothing_known) == names
    assert nested.within({**point, "optim": "adamw"}, nothing_known) == {"optim": "adamw"}
    with pytest.raises(ConfigError, match=r"optim\.momentum is not searched except with optim\.nesterov=True"):
        nested.named({**point, "optim.nesterov": False}, nothing_known)


def test_cyclic_branches_are_refused():
    branches = {
        "first": {"when": {"a": [1]}, "params": {"b": "choice(1,2)"}},
        "second": {"when": {"b": [1]}, "params": {"a": "choice(1,2)"}},
    }
    with pytest.raises(ConfigError, match="must not depend on each other in a circle, got first, second"):
        SearchSpace.parse({"c": "choice(1,2)"}, branches, [])


@pytest.mark.parametrize(
    ("sweep", "rule"),
    [
        ("interval(0.2,0.01)", "must begin with its lower end"),
        ("tag(log,interval(0,0.2))", "must be above 0 to be searched on a logarithmic scale"),
        ("interval(0,inf)", "must have finite ends"),
        ("range(7,7)", "must contain at least one value"),
        ("range(0.5,0.1,0.1)", "must contain at least one value"),
        ("range(1,5,0)", "must have a step other than 0"),
        ("range(0.0,inf)", "must have finite ends and a finite step"),
        ("shuffle(choice(1,2,3))", "must not be shuffled"),
        ("shuffle(range(1,4))", "must not be shuffled"),
    ],
)
def test_error_for_a_sweep_without_values_names_key_and_rule(sweep, rule):
    with pytest.raises(ConfigError) as caught:
        SearchSpace.parse({"optim.lr": sweep}, {}, ["seed=range(2,2)"])
    first, second = caught.value.faults
    assert first.startswith(f"optim.lr {rule}")
    assert first.endswith(f", got {sweep}")
    assert second == "seed must contain at least one value, got range(2,2)"


def test_stepped_floats_have_no_rounding_noise():
    space = SearchSpace.parse({"model.dropout": "range(0.1,0.5,0.1)"}, {}, [])
    assert [point["model.dropout"] for point in space.points(nothing_known)] == [0.1, 0.2, 0.3, 0.4]
