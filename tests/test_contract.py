"""Every option of every group composes, stores its name, trains a step, and can be restored from its record."""

import itertools
import json
from contextlib import closing
from dataclasses import fields, replace
from enum import Enum
from pathlib import Path

import pytest
import yaml
from hydra import compose

from mnist_compact.callbacks.callback import CallbackList
from mnist_compact.callbacks.config import CALLBACKS, build_callbacks, stored_callbacks
from mnist_compact.cli.help import ABOUT_GROUPS
from mnist_compact.config.conversion import callbacks_of, from_record
from mnist_compact.config.schema import GROUPS, configuration_folder, to_record
from mnist_compact.data.config import DATA
from mnist_compact.runs.trainer import run

OPTIONS = {
    group: sorted(path.stem for path in (configuration_folder() / group).glob("*.yaml"))
    for group in (*GROUPS, "experiment", "callbacks")
}
ALL = [(group, option) for group, options in OPTIONS.items() for option in options if group != "callbacks"]


def is_offline(group, option):
    """Return whether an option needs no real images, which only the tests with the marker mnist use."""
    defaults = yaml.safe_load((configuration_folder() / group / f"{option}.yaml").read_text())["defaults"]
    if group == "experiment":
        return not any("override /data" in default for default in defaults)
    kind = defaults[0].rpartition("/")[2].partition("@")[0]
    return group != "data" or DATA[kind].role == "synthetic"


PAIRED = ("model", "optim", "scheduler", "augment")  # groups whose options are trained in every pair
OFFLINE = [pair for pair in ALL if is_offline(*pair)]


def choose(group, option):
    return f"{group}={option}"


def test_every_group_has_options_and_is_explained_in_help():
    assert all(OPTIONS.values())
    assert set(ABOUT_GROUPS) == {*OPTIONS, "sweeps"}
    folders = {path.name for path in configuration_folder().iterdir() if path.is_dir()} - {"hydra"}
    assert folders == set(OPTIONS)


def its_epochs(group):
    """An experiment may require its own number of epochs, which is up to 15."""
    return ("train.epochs=15",) if group == "experiment" else ()


@pytest.mark.parametrize(("group", "option"), ALL)
def test_option_names_itself_and_survives_its_record(configure, group, option):
    config = configure(choose(group, option), *its_epochs(group))
    named = config.experiment if group == "experiment" else getattr(config, group).name
    assert named == option
    assert from_record(json.loads(json.dumps(to_record(config)))) == config


SLOW_TO_IMPORT = ("mlflow",)


@pytest.mark.filterwarnings("default")  # MLflow's database has warnings of its own
@pytest.mark.parametrize(
    "option",
    [pytest.param(name, marks=pytest.mark.slow) if name in SLOW_TO_IMPORT else name for name in OPTIONS["callbacks"]],
)
def test_callback_option_observes_a_run_and_is_stored(configure, recording_callback, tmp_path, monkeypatch, option):
    monkeypatch.chdir(tmp_path)  # where MLflow has its database by default
    config, folder = configure("data.train_images=32", "train.epochs=1"), tmp_path / "run"
    configs = callbacks_of(compose("config", overrides=[f"callbacks=[{option}]"]))
    assert {name: type(each) for name, each in configs.items()} == (
        {} if option == "none" else {option: CALLBACKS[option]}
    )
    callbacks = build_callbacks(configs, folder)
    assert len(callbacks) == (0 if option == "none" else 2), "the callback, and what stores its config"
    with closing(CallbackList(recording_callback(), *callbacks)) as callback:
        assert run(config, folder, callback).status == "completed"
    assert stored_callbacks(folder) == configs
    assert all(each.callback is not None for each in callbacks), "no callback has failed"


def as_typed(default):
    return default.value if isinstance(default, Enum) else default


@pytest.mark.parametrize(("group", "option"), [pair for pair in ALL if pair[0] != "experiment"])
def test_option_does_not_restate_defaults(group, option):
    stated = yaml.safe_load((configuration_folder() / group / f"{option}.yaml").read_text())
    kind = stated.pop("defaults")[0].rpartition("/")[2].partition("@")[0]
    if kind in GROUPS[group]:  # otherwise it is based on another option and changes its values
        defaults = {each.name: as_typed(each.default) for each in fields(GROUPS[group][kind])}
        assert [key for key, value in stated.items() if defaults[key] == value] == []


@pytest.mark.parametrize(("group", "option"), [pair for pair in OFFLINE if pair[0] not in PAIRED])
def test_option_trains(configure, recording_callback, tmp_path, group, option):
    one_step = ("data.train_images=32",) if group == "train" else ("data.train_images=32", "train.epochs=1")
    config = configure(choose(group, option), *one_step, *its_epochs(group))
    record = run(config, tmp_path, recording_callback())
    assert record.status == "completed"
    assert 0 < record.score("train").loss < 20


def pairwise(*factors):
    """Combinations of the factors in which every pair of values of two factors occurs at least once."""
    missing = {
        ((i, a), (j, b))
        for (i, first), (j, second) in itertools.combinations(enumerate(factors), 2)
        for a in first
        for b in second
    }
    chosen = []
    while missing:
        best = max(itertools.product(*factors), key=lambda row: len(pairs_of(row) & missing))
        missing -= pairs_of(best)
        chosen.append(best)
    return chosen


def pairs_of(row):
    return set(itertools.combinations(enumerate(row), 2))


@pytest.mark.parametrize(
    ("model", "optim", "scheduler", "augment"),
    pairwise(*(OPTIONS[group] for group in PAIRED)),
)
def test_pairs_of_options_train(configure, recording_callback, tmp_path: Path, model, optim, scheduler, augment):
    config = replace(
        configure("data.train_images=32", "train.epochs=1"),
        model=configure(f"model={model}").model,
        optim=configure(f"optim={optim}").optim,
        scheduler=configure(f"scheduler={scheduler}").scheduler,
        augment=configure(f"augment={augment}").augment,
    )
    config = from_record(to_record(config))
    record = run(config, tmp_path, recording_callback())
    assert record.status == "completed"
    assert 0 < record.score("train").loss < 20
    assert record.network.parameters == sum(parameter.numel() for parameter in config.model.build().parameters())
