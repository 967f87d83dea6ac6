import dataclasses

import pytest
from hydra.errors import ConfigCompositionException
from torch import nn

from mnist_compact.common.errors import ConfigError
from mnist_compact.config.conversion import check_names, from_record
from mnist_compact.config.schema import GROUPS, to_record
from mnist_compact.training.config import MachineConfig


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optim.lr=0", "optim.lr must be above 0, got 0.0"),
        ("optim.lr=nan", "optim.lr must be above 0, got nan"),
        ("optim.beta1=1", "optim.beta1 must be in [0, 1), got 1.0"),
        ("optim.weight_decay=-1", "optim.weight_decay must be at least 0, got -1.0"),
        ("model.dropout=1.5", "model.dropout must be in [0, 1), got 1.5"),
        ("model.layers.conv1.width=0", "model.layers.conv1.width must be in [1, 1000000], got 0"),
        ("model.layers.conv1.kernel=2", "model.layers.conv1.kernel must be 1, 3 or 5, got 2"),
        ("model.layers.conv1.padding=2", "model.layers.conv1.padding must be in [0, 1] for kernel 3, got 2"),
        ("model.layers.conv1.stride=3", "model.layers.conv1.stride must be 1 or 2, got 3"),
        ("model.order=[conv1,conv2]", "model.order must place every enabled layer, ['conv3', 'conv4', 'conv5'"),
        ("model.order=[conv1,conv9]", "model.order must name layers out of ['conv1', 'conv2'"),
        ("model.order=[conv1,conv1]", "model.order must name each layer once, got ['conv1']"),
        ("data=holdout data.train_images=15", "data.train_images must be a multiple of 10 in [0, 40000], got 15"),
        ("augment.rotation_deg=-1", "augment.rotation_deg must be in [0, 180], got -1.0"),
        ("augment.shift_fraction=1", "augment.shift_fraction must be in [0, 1), got 1.0"),
        ("augment.ease_off_epochs=3", "augment.ease_off_epochs must be at most train.epochs = 2, got 3"),
        ("scheduler.warmup_fraction=1", "scheduler.warmup_fraction must be in (0, 1), got 1.0"),
        ("train.epochs=0", "train.epochs must be at least 1, got 0"),
        ("train.batch_size=97", "train.batch_size must be at most the 96 training images, got 97"),
        ("train.label_smoothing=1", "train.label_smoothing must be in [0, 1), got 1.0"),
        ("train.average_epochs=3", "train.average_epochs must be at most train.epochs = 2, got 3"),
        ("train.average_decay=1", "train.average_decay must be in (0, 1), got 1.0"),
        ("budget.parameters_below=0", "budget.parameters_below must be at least 1 or null, got 0"),
        ("seed=-1", "seed must be at least 0, got -1"),
    ],
)
def test_error_for_a_value_names_key_rule_and_value(configure, override, message):
    with pytest.raises(ConfigError) as refused:
        configure(*override.split())
    assert message in str(refused.value)


def test_errors_of_all_groups_are_reported_together(configure):
    with pytest.raises(ConfigError) as refused:
        configure("optim.lr=-1", "model.dropout=2", "train.epochs=0", "optim.eps=0")
    assert [fault.split()[0] for fault in refused.value.faults] == [
        "model.dropout",
        "optim.lr",
        "optim.eps",
        "train.epochs",
    ]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+model.dropuot=0.3", "model.dropuot is not a key of the configuration. Did you mean 'dropout'?"),
        ("+model.head.hiden=3", "model.head.hiden is not a key of the configuration. Did you mean 'hidden'?"),
        ("+sede=1", "sede is not a key of the configuration. Did you mean 'seed'?"),
    ],
)
def test_misspelt_key_is_refused_even_with_a_plus(configure, override, message):
    with pytest.raises(ConfigError) as refused:
        configure(override)
    assert message in str(refused.value)


@pytest.mark.parametrize("override", ["model.dropuot=0.3", "optim.momentum=0.9", "train.epochs=many", "model=m4"])
def test_hydra_refuses_unknown_keys_wrong_types_and_unknown_options(configure, override):
    with pytest.raises(ConfigCompositionException):
        configure(override)


def test_option_with_another_name_than_its_file_is_refused(configure):
    config = configure("model=m3")
    choices = {group: getattr(config, group).name for group in GROUPS} | {"experiment": None}
    check_names(config, choices)
    config.model.name = "mine"
    with pytest.raises(ConfigError, match=r"model.name must be 'm3', the option's name, got 'mine'"):
        check_names(config, choices)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda record: record["optim"].update(kind="sgdd"), r"optim.kind must be one of sgd, adam.*got 'sgdd'"),
        (lambda record: record["optim"].update(lrr=1), "optim: Key 'lrr'"),
        (lambda record: record["model"].update(dropout=3.0), "model.dropout must be in"),
        (lambda record: record.pop("data"), "data.kind must be one of"),
        (lambda record: record.update(data=[]), r"data must be a mapping, got \[\]"),
        (
            lambda record: record.update(seed="x", experiment=1),
            "seed must be a whole number, got 'x'\nexperiment must",
        ),
        (lambda record: record.pop("seed"), "seed must be a whole number, got None"),
    ],
)
def test_damaged_configuration_of_a_record_is_refused(configure, damage, message):
    record = to_record(configure())
    damage(record)
    with pytest.raises(ConfigError, match=message):
        from_record(record)


def before_version_3(record):
    """The record as written by versions without a config group for the machine."""
    machine = record.pop("machine")
    record["train"] |= {"threads": machine["threads"], "device": machine["device"]}
    if record["data"]["kind"] != "synthetic":
        record["data"]["root"] = machine["data_root"]
    return record


@pytest.mark.parametrize("images", [(), ("data=mnist", "machine.data_root=/images"), ("data=holdout",)])
def test_record_without_the_group_machine_is_the_same_run(configure, images):
    config = configure("train.epochs=4", "machine.threads=3", "machine.device=cpu", *images)
    assert from_record(before_version_3(to_record(config))) == config
    bare = to_record(config)
    del bare["machine"]
    assert from_record(bare) == dataclasses.replace(config, machine=MachineConfig(name="auto"))


def test_records_of_two_machines_differ_only_in_the_machine(configure):
    one = to_record(configure("data=mnist", "machine=one_core", "machine.data_root=/images"))
    other = to_record(configure("data=mnist", "machine.threads=8", "machine.device=cuda"))
    assert {group for group in one if one[group] != other[group]} == {"machine"}


def test_images_are_read_from_the_data_root_of_the_machine(configure, monkeypatch):
    roots = []
    for name in ("load_whole", "load_holdout"):
        monkeypatch.setattr(f"mnist_compact.data.datasets.{name}", lambda *given, **_: roots.append(given[2]))
    for data in ("mnist", "fashion", "holdout", "fashion_holdout"):
        configure(f"data={data}", f"machine.data_root=/{data}").load_data(print)
    assert roots == ["/mnist", "/fashion", "/holdout", "/fashion_holdout"]


def test_delta_file_inserts_and_removes_layers(configure, tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "squeezed.yaml").write_text(
        """# @package _global_
defaults: [override /model: compact]
experiment: squeezed
model:
  layers:
    squeeze: {width: 6, kernel: 1}
    conv6: {enabled: false}
  order: [conv1, squeeze, conv2, conv3, conv4, conv5, conv6]
"""
    )
    config = configure(f"hydra.searchpath=[file://{tmp_path}]", "experiment=squeezed")
    shapes = [tuple(m.weight.shape[:2]) for m in config.model.build().modules() if isinstance(m, nn.Conv2d)]
    assert shapes == [(8, 1), (6, 8), (10, 6), (12, 10), (14, 12), (14, 14)]


@pytest.mark.parametrize(
    ("typed", "optim", "scheduler", "rotation_deg"),
    [
        ("experiment=m3_logged", ("adam", 0.015), "step", 7.0),
        ("experiment=m3_logged optim=adam", ("adam", 0.015), "step", 7.0),
        (
            "experiment=m3_logged optim=sgd",
            ("sgd", 0.1),
            "step",
            7.0,
        ),  # the learning rate of sgd, not that of the experiment for Adam
        ("experiment=m3_logged optim=sgd optim.lr=0.3", ("sgd", 0.3), "step", 7.0),
        ("experiment=m3_logged scheduler=none", ("adam", 0.015), "none", 7.0),
        ("experiment=under_8k_plain model=m3 augment=none", ("muon", 0.02440887160129734), "linear", 0.0),
    ],
)
def test_overriding_an_option_drops_its_experiment_settings(configure, typed, optim, scheduler, rotation_deg):
    config = configure(*typed.split())
    assert (config.optim.name, config.optim.lr) == optim
    assert config.scheduler.name == scheduler
    assert config.augment.rotation_deg == rotation_deg
    assert config.experiment == typed.split()[0].partition("=")[2]
    if scheduler == "step":
        assert (config.scheduler.gamma, config.scheduler.first_epoch) == (0.5, 7)
    if "model=m3" in typed:
        assert config.model.layers["conv1"].width == 8
