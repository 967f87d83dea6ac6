"""A run agrees with a training loop in plain PyTorch, and every setting of the configuration changes the result."""

import dataclasses
from enum import Enum

import pytest
import torch
import torch.nn.functional as F
import yaml
from safetensors.torch import load_file
from torch import nn

from mnist_compact.callbacks.callback import Callback
from mnist_compact.common.errors import ConfigError
from mnist_compact.common.seeds import derive_seed
from mnist_compact.config.schema import GROUPS, configuration_folder
from mnist_compact.data.datasets import Batches
from mnist_compact.models.config import CompactConfig
from mnist_compact.models.stages import StagesConfig
from mnist_compact.records.record import RunRecord
from mnist_compact.records.settings import MACHINE
from mnist_compact.runs.trainer import resume, run
from mnist_compact.training import device, evaluation
from mnist_compact.training.loop import TrainingPlan, train_epoch
from mnist_compact.training.step import Step, TrainState

TWO_LAYERS = (
    *("model.order=[conv1,conv2]", "model.layers.conv1.width=4", "model.layers.conv2.width=5"),
    *(f"model.layers.conv{number}.enabled=false" for number in range(3, 7)),
)
EPOCHS, BATCH, IMAGES = 4, 64, 200  # three full batches and one of 8 images
PLAIN = (
    *("model=compact", *TWO_LAYERS),
    *("data.train_images=200", "data.evaluation_images=100", "train.batch_size=64", "train.epochs=4", "seed=3"),
    *("augment=affine", "augment.contrast=0.3", "augment.ease_off_epochs=2", "train.label_smoothing=0.1"),
    *("optim=sgd", "optim.lr=0.1", "optim.momentum=0.9", "optim.weight_decay=0.01", "scheduler=linear"),
    *(
        "scheduler.warmup_fraction=0",
        "scheduler.end_factor=0.2",
        "scheduler.peak_momentum=0.7",
        "train.average_epochs=2",
        "train.average_decay=0.8",
    ),
)
STRENGTHS = [1.0, 1.0, 0.5, 0.0]


def plain_network(model):
    """The same network (two convolutions with BatchNorm and ReLU, pooling, a linear head) of torch.nn layers only."""
    network = nn.Sequential(
        *[nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU()],
        *[nn.Conv2d(4, 5, 3, bias=False), nn.BatchNorm2d(5), nn.ReLU(), nn.MaxPool2d(2)],
        *[nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 10)],
    )
    with torch.no_grad():
        for target, source in zip(network.parameters(), model.parameters(), strict=True):
            target.copy_(source.reshape(target.shape))
    return network


def plain_loop(config):
    """An independent implementation of `run`: returns one row per epoch, the network and its averaged weights."""
    data, augmentation = config.data.load(print), config.augment.build()
    images, labels = data.train.images / 255, data.train.labels
    mean, std = images.mean(), images.std(correction=0)
    torch.manual_seed(derive_seed(3, "weights"))
    network = plain_network(config.model.build())
    average = plain_network(network)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)
    rows, step, averaging = [], 0, False
    for epoch in range(1, EPOCHS + 1):
        generator = torch.Generator().manual_seed(derive_seed(3, "batches", epoch))
        order = torch.randperm(IMAGES, generator=generator)
        inputs = (augmentation(images[order], STRENGTHS[epoch - 1], generator) - mean) / std
        loss_sum, correct = 0.0, 0
        network.train()
        for batch, targets in zip(inputs.unsqueeze(1).split(BATCH), labels[order].split(BATCH), strict=True):
            decay = 1 - 0.8 * step / 16
            optimizer.param_groups[0] |= {"lr": 0.1 * decay, "momentum": 0.9 - 0.2 * decay}
            logits = network(batch)
            loss = F.cross_entropy(logits, targets, label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step, loss_sum = step + 1, loss_sum + loss.item() * len(targets)
            correct += int((logits.argmax(1) == targets).sum())
            for averaged, weight in zip(average.parameters(), network.parameters(), strict=True):
                if epoch >= 3:
                    averaged.data = 0.8 * averaged.data + 0.2 * weight.data if averaging else weight.data.clone()
            averaging = epoch >= 3
        row = {"train_loss": loss_sum / IMAGES, "train_correct": correct, "rate": optimizer.param_groups[0]["lr"]}
        rows.append(row | evaluated(network, data, mean, std))
        if epoch >= 3:
            set_batchnorm_statistics(average, ((images - mean) / std).unsqueeze(1))
            rows[-1] |= {f"averaged_{name}": value for name, value in evaluated(average, data, mean, std).items()}
    return rows, network, average


@torch.no_grad()
def evaluated(network, data, mean, std):
    logits = network.eval()(((data.evaluation.images / 255 - mean) / std).unsqueeze(1))
    labels = data.evaluation.labels
    return {"loss": F.cross_entropy(logits, labels).item(), "correct": int((logits.argmax(1) == labels).sum())}


@torch.no_grad()
def set_batchnorm_statistics(network, images):
    """Compute the BatchNorm statistics over all `images`, in one batch."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0  # the statistics are those of the last batch, which contains all images
    network.train()(images)


def test_run_agrees_with_plain_pytorch_loop(configure, recording_callback, tmp_path):
    config, callback = configure(*PLAIN), recording_callback()
    run(config, tmp_path, callback)
    rows, network, average = plain_loop(config)
    assert len(callback.rows) == EPOCHS
    for result, reference in zip(callback.rows, rows, strict=True):
        assert (result["train_total"], result["synthetic_total"]) == (IMAGES, 100)
        assert result["learning_rate"] == pytest.approx(reference["rate"])
        assert result["train_loss"] == pytest.approx(reference["train_loss"], rel=1e-3)
        assert result["train_correct"] == pytest.approx(reference["train_correct"], abs=2)
        assert result["train_accuracy"] == pytest.approx(100 * result["train_correct"] / IMAGES)
        for kind in ("", "averaged_"):
            if f"{kind}loss" in reference:
                assert result[f"synthetic_{kind}loss"] == pytest.approx(reference[f"{kind}loss"], rel=1e-3)
                assert result[f"synthetic_{kind}correct"] == pytest.approx(reference[f"{kind}correct"], abs=2)
                assert result[f"synthetic_{kind}accuracy"] == pytest.approx(
                    result[f"synthetic_{kind}correct"]
                )  # of 100
            else:
                assert result[f"synthetic_{kind}loss"] is None
    for name, reference in (("last", network), ("averaged_last", average)):
        result = config.model.build()
        result.load_state_dict(load_file(tmp_path / "weights" / f"{name}.safetensors"))
        for (key, actual), expected in zip(result.state_dict().items(), reference.state_dict().values(), strict=True):
            if not key.endswith("num_batches_tracked"):
                torch.testing.assert_close(actual.reshape(expected.shape), expected, rtol=1e-3, atol=1e-3)


def test_tally_weights_each_batch_by_its_number_of_images(configure):
    config = configure("model=m1")
    network, float32 = config.model.build(), device.autocast(torch.device("cpu"), config.train.precision)
    step = Step(TrainState(network, config.optim.build(network)), 0.0, float32)
    labels = torch.tensor([3, 1, 4, 1, 5, 9])
    for predicted, loss in (([3, 1, 4, 1, 5, 9], 0.5), ([0, 1], 2.0), ([0, 0, 4], 1.0), ([3], 4.0)):
        logits = F.one_hot(torch.tensor(predicted), 10).float()
        step.tally(logits, torch.tensor(loss), labels[: len(predicted)])
    assert (step.correct.item(), step.loss_sum.item()) == (6 + 1 + 1 + 1, 6 * 0.5 + 2 * 2.0 + 3 * 1.0 + 4.0)


# Every setting


def one_option_of_each_class():
    """Pairs (group, option) from conf/: one for each config class, because its other options differ in values only."""
    chosen = {}
    for group in GROUPS:
        for path in sorted((configuration_folder() / group).glob("*.yaml")):
            chosen.setdefault((group, yaml.safe_load(path.read_text())["defaults"][0]), path.stem)
    return [(group, option) for (group, _), option in chosen.items()]


EVERYTHING_ON = {"train": ("train.average_epochs=1",)}
SMALL_MODELS = {  # two layers; the first has padding, so that it can be residual
    CompactConfig: (*TWO_LAYERS, "model.layers.conv1.padding=1"),
    StagesConfig: (
        *("model.stem.width=4", "model.stem.padding=1", "model.stages.first.width=5"),
        *("model.stages.second.depth=0", "model.stages.third.depth=0"),
    ),
}
# A budget and the machine do not change results. Data sets that are read from files are tested in tests/data.
TESTED_OPTIONS = [
    pair
    for pair in one_option_of_each_class()
    if pair[0] not in ("budget", MACHINE) and (pair[0] != "data" or pair[1] == "synthetic")
]
FEW_IMAGES = ("data.train_images=64", "data.evaluation_images=40", "train.epochs=3")
SMALL = (*FEW_IMAGES, "model=compact", *TWO_LAYERS)


def with_option(configure, group, option):
    """A small run with this option. A model under test is reduced to two layers if it is of the compact family."""
    chosen = f"{group}={option}"
    if group != "model":
        return configure(*SMALL, chosen, *EVERYTHING_ON.get(group, ()))
    return configure(*FEW_IMAGES, chosen, *SMALL_MODELS.get(type(configure(chosen).model), ()))


def switched_on(settings):
    """Replace strengths of 0, so that settings which only matter at a positive strength change the run."""
    zeros = {f.name: 0.2 for f in dataclasses.fields(settings) if getattr(settings, f.name) == 0.0 and is_float(f)}
    return dataclasses.replace(settings, **zeros)


def is_float(field):
    return "float" in str(field.type)


def other_values(value):
    """Other values of a setting; some of them may be refused."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, Enum):
        return [other for other in type(value) if other is not value]
    if isinstance(value, int):
        return [value + 1, value + 2, max(0, value - 1)]
    if isinstance(value, float):
        return [value / 2, value + 0.3, 0.05]
    return []


def outcome(config, folder, recording_callback):
    """All weights and scores of a run, for a bitwise comparison."""
    record = run(config, folder, recording_callback())
    files = {path.name: load_file(path) for path in sorted((folder / "weights").iterdir())}
    weights = [
        (file, name, tuple(tensor.shape), tensor.numpy().tobytes())
        for file, tensors in files.items()
        for name, tensor in sorted(tensors.items())
    ]
    return weights, [(score.split, score.weights, score.at, score.loss) for score in record.scores]


def parts_of(settings):
    """Yield each dataclass in a group's settings, with a function that returns the settings with that part replaced."""
    yield settings, lambda part: part
    for field in dataclasses.fields(settings):
        value, name = getattr(settings, field.name), field.name
        if dataclasses.is_dataclass(value):
            yield value, lambda part, name=name: dataclasses.replace(settings, **{name: part})
        elif isinstance(value, dict):
            first, items = next(iter(value)), value
            yield (
                value[first],
                lambda part, name=name, first=first, items=items: dataclasses.replace(
                    settings, **{name: {**items, first: part}}
                ),
            )


@pytest.mark.parametrize(("group", "option"), TESTED_OPTIONS)
def test_every_setting_changes_the_run(monkeypatch, configure, recording_callback, tmp_path, group, option):
    monkeypatch.setattr(device, "has_bfloat16", lambda device: True)  # torch imitates the instructions
    base = with_option(configure, group, option)
    assert getattr(base, group).name == option
    base = dataclasses.replace(base, **{group: switched_on(getattr(base, group))})
    before = outcome(base, tmp_path / "before", recording_callback)

    def changes_run(put_back, part, name):
        for number, value in enumerate(other_values(getattr(part, name))):
            try:
                changed = dataclasses.replace(base, **{group: put_back(dataclasses.replace(part, **{name: value}))})
                if outcome(changed, tmp_path / f"{type(part).__name__}.{name}.{number}", recording_callback) != before:
                    return True
            except ConfigError:
                continue
        return False

    without_effect = [
        field.name
        for part, put_back in parts_of(getattr(base, group))
        for field in dataclasses.fields(part)
        if field.name != "name"
        and other_values(getattr(part, field.name))
        and not changes_run(put_back, part, field.name)
    ]
    assert without_effect == []


def test_seed_changes_the_run(configure, recording_callback, tmp_path):
    one, other = (
        outcome(configure(*SMALL, f"seed={seed}"), tmp_path / str(seed), recording_callback) for seed in (0, 1)
    )
    assert one != other


def test_run_uses_requested_threads_and_resume_keeps_them(configure, recording_callback, tmp_path, monkeypatch):
    seen = []
    callback = recording_callback(lambda view: seen.append(torch.get_num_threads()))
    run(configure(*SMALL, "train.epochs=1", "machine.threads=3"), tmp_path / "requested", callback)
    run(configure(*SMALL, "train.epochs=1", "machine.threads=0"), tmp_path / "free", recording_callback())
    threads = RunRecord.read(tmp_path / "free").environment["threads"]
    torch.set_num_threads(threads + 1)
    monkeypatch.setattr(device, "cores", lambda: threads + 1, raising=False)
    resume(tmp_path / "free", callback, epochs=2)
    assert seen == [3, 3, threads, threads]


def test_dropout_differs_by_epoch_and_is_repeatable(configure):
    config = configure("augment=none", "data.train_images=64", "train.batch_size=64")
    data = config.data.load(print)
    batches = Batches(data, config.augment.build(), 64, 0)
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(28 * 28, 10))
    plan = TrainingPlan(
        epochs=2,
        schedule=lambda step: 1.0,
        strength=lambda epoch: 1.0,
        average_from=3,
        label_smoothing=0.0,
        autocast=device.autocast(torch.device("cpu"), config.train.precision),
        watch_loss=True,
        seed=0,
    )
    dropped = []
    model[1].register_forward_hook(lambda module, inputs, output: dropped.append(output == 0))
    step = Step(TrainState(model, config.optim.build(model)), 0.0, plan.autocast)
    for epoch in (1, 2, 1):
        train_epoch(step, batches, plan, epoch, lambda view: None)
    assert 0.4 < dropped[0].float().mean() < 0.6
    assert torch.equal(dropped[0], dropped[2])
    assert not torch.equal(dropped[0], dropped[1])


def test_size_of_evaluated_batches_does_not_change_averaged_weights(configure, tmp_path, monkeypatch):
    config = configure("data=synthetic", "train.epochs=1", "train.average_epochs=1")
    weights = []
    for size in (evaluation.BATCH, 64):
        monkeypatch.setattr(evaluation, "BATCH", size)
        run(config, tmp_path / str(size), Callback())
        weights.append(load_file(tmp_path / str(size) / "weights/averaged_last.safetensors"))
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
