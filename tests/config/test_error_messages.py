"""Error messages name key, rule and value of a mistake, and a refused command leaves no files."""

import sys

import pytest

from mnist_compact import __version__
from mnist_compact.cli import train
from mnist_compact.config.schema import configuration_folder

TINY = (
    *("data=synthetic", "data.train_images=64", "data.evaluation_images=40"),
    *("train.batch_size=32", "train.epochs=1", "machine.threads=1"),
)
DEVICES = "machine.device must be auto, cpu or a GPU of this machine, got "


def options_of(group):
    return ", ".join(sorted(path.stem for path in (configuration_folder() / group).glob("*.yaml")))


ACTIVATIONS = "model.activation must be one of relu, leaky_relu, silu, gelu, hardswish, got "
MODELS, SCHEDULERS, OPTIMIZERS = (
    f"{group} must be one of {options_of(group)}, got " for group in ("model", "scheduler", "optim")
)


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("model=1", f"{MODELS}1"),
        ("model=[1,2]", f"{MODELS}[1,2]"),
        ("model=[m1,m3]", f"{MODELS}[m1,m3]. To run each of them, use a grid: -m model=m1,m3"),
        ("scheduler=null", f"{SCHEDULERS}null"),
        ("experiment=[m1_reference,m2_reference]", "experiment must be the name of one option, got "
            "[m1_reference,m2_reference]. To run each of them, use a grid: -m experiment=m1_reference,m2_reference"),
        ("-m optim=adam,1", f"{OPTIMIZERS}1"),
        ("model.activation=релу", "'model.activation=релу' cannot be read: a value with е л р у must be in quotes: "
            "'model.activation='\"'\"'релу'\"'\"''"),
        ("model.activation='релу'", f"{ACTIVATIONS}'релу'"),
        ("model.activation=rellu", f"{ACTIVATIONS}'rellu'. Did you mean 'relu'?"),
        ("model.order=[conv1", "'model.order=[conv1' cannot be read: a bracket or a quotation mark is not closed"),
        ("model.order=[conv1,,conv2]", "'model.order=[conv1,,conv2]' cannot be read: the value must be a word, a "
            "number, a list such as [a,b] or a quoted text"),
        ("train.epochs=1.5", "train.epochs must be a whole number, got '1.5'"),
        ("optim.lr=", "optim.lr must be a number, got ''"),
        ("~scheduler", f"{SCHEDULERS}nothing"),
        ("~optim", f"{OPTIMIZERS}nothing"),
        ("train.epochs=null", "train.epochs must have a value, got null"),
        ("optim.lr=inf", "optim.lr must be finite, got inf"),
        ("seed=9223372036854775808", f"seed must be at most {2**63 - 1}, got {2**63}"),
        ("optim.lr=${nope}", "optim.lr: Interpolation key 'nope' not found"),
        (
            "train.threads=1",
            "train.threads is not a key of the configuration. It is machine.threads now. Valid keys: name, epochs, "
            "batch_size, label_smoothing, average_epochs, average_decay, precision.",
        ),
        ("+data.root=/x", "data.root is not a key of the configuration. It is machine.data_root now."),
        ("machine=cluster", f"machine=cluster does not exist. Options of machine: {options_of('machine')}."),
        ("machine.threads=2000000000", "machine.threads must be in [0, 1024], got 2000000000"),
        ("machine.device=meta", f"{DEVICES}'meta' (it cannot compute)"),
        ("model.layers.conv1.width=2000000000", "model.layers.conv1.width must be in [1, 1000000], got 2000000000"),
        (
            "model.layers.conv1.width=1000000 model.layers.conv2.width=1000000",
            "budget.parameters_below must exceed the network's parameters, got 8,000 for 9,000,021,003,020 "
            "(budget=none removes the limit)",
        ),
    ],
)  # fmt: skip
def test_refusal_names_key_rule_and_value_and_creates_nothing(type_in, tmp_path, typed, message):
    assert type_in(*TINY, *typed.split()) == (2, "", f"mnist_compact: {message}\n")
    assert list(tmp_path.iterdir()) == []


def test_empty_data_root_is_refused(type_in):
    for data in ("mnist", "holdout"):
        message = "mnist_compact: machine.data_root must be a folder, or null for the default, got ''\n"
        assert type_in(f"data={data}", "machine.data_root=") == (2, "", message)


def test_error_for_an_added_layer_names_the_file_to_write(type_in):
    _, _, message = type_in(*TINY, "+model.layers.last.width=14")
    assert message.startswith(
        "mnist_compact: model.layers.last.width is not a key of this model's layers, and the command "
    )
    assert "conf/model/<name>.yaml with 'defaults: [m3, _self_]'" in message


def test_error_for_an_added_stage_names_the_file_to_write(type_in):
    _, _, message = type_in(*TINY, "model=stages", "+model.stages.fourth.width=14")
    assert message.startswith("mnist_compact: model.stages.fourth.width is not a key of this model's stages, and the")
    assert "conf/model/<name>.yaml with 'defaults: [stages, _self_]'" in message


@pytest.mark.parametrize("name", ["half", "to", "pop", "a.b"])
def test_layer_with_a_name_reserved_by_torch_is_refused(type_in, tmp_path, name):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text(
        f"defaults: [/schema/model/compact@_here_, _self_]\nname: mine\n"
        f"layers: {{b1: {{width: 8}}, {name}: {{width: 8}}}}\norder: [b1, {name}]\n"
    )
    status, _, message = type_in(f"--config-dir={tmp_path}", *TINY, "model=mine")
    assert status == 2
    assert message.startswith(
        "mnist_compact: model.layers must have names without dots that are no attributes of torch.nn."
    )
    assert message.endswith(f"got {name!r}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_refusal_keeps_existing_empty_folders(type_in, tmp_path):
    (tmp_path / "mine" / "empty").mkdir(parents=True)
    assert type_in(*TINY, "hydra.run.dir=mine/empty/new/deep", "optim.lr=-1")[0] == 2
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "empty"]


def test_ctrl_c_before_the_run_starts_leaves_nothing(type_in, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "to_run_config", interrupted)
    assert type_in(*TINY) == (130, "", "")
    assert list(tmp_path.iterdir()) == []


def test_deleted_working_folder_is_reported(type_in, tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert type_in(*TINY) == (2, "", "mnist_compact: the working folder no longer exists\n")


def test_version_is_printed(type_in):
    assert type_in("--version") == (0, f"mnist_compact {__version__}\n", "")


def test_closed_pipe_of_the_help_is_not_an_error(type_in, monkeypatch):
    class Closed:
        def write(self, text):
            raise BrokenPipeError

        def flush(self): ...

    monkeypatch.setattr(sys, "stdout", Closed())
    assert type_in("--help") == (0, "", "")
