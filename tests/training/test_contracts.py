"""Requirements on every optimizer and every schedule. The options are discovered in conf/."""

import dataclasses
import itertools

import pytest
import torch
import torch.nn.functional as F

from mnist_compact.common.errors import ConfigError
from mnist_compact.config.schema import configuration_folder
from mnist_compact.data.datasets import Batches
from mnist_compact.training.device import autocast
from mnist_compact.training.loop import TrainingPlan, fit
from mnist_compact.training.step import TrainState


def options(group):
    return sorted(path.stem for path in (configuration_folder() / group).glob("*.yaml"))


@pytest.mark.parametrize("model", options("model"))
@pytest.mark.parametrize("optim", options("optim"))
def test_optimizer_moves_every_weight_against_its_gradient(configure, optim, model):
    settings = configure(f"optim={optim}", "optim.weight_decay=0", "optim.lr=0.01").optim
    torch.manual_seed(0)
    network = configure(f"model={model}").model.build()
    optimizer = settings.build(network)
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    images, labels = torch.randn(64, 1, 28, 28), torch.arange(64) % 10
    F.cross_entropy(network(images), labels).backward()
    gradients = {name: parameter.grad.clone() for name, parameter in network.named_parameters()}
    optimizer.step()
    for name, parameter in network.named_parameters():
        nonzero = gradients[name] != 0
        assert nonzero.any(), name
        moved = parameter.detach() - before[name]
        assert (moved != 0)[nonzero].float().mean() > 0.9, name  # the smallest updates may be rounded to zero
        assert (moved * gradients[name]).sum() < 0, name


def schedules(configure, option):
    """The option with its defaults, and with each of its numbers at several allowed values."""
    config = configure(f"scheduler={option}").scheduler
    yield config
    for field, value in itertools.product(dataclasses.fields(config), (0.0, 0.5, 0.999, 1.0, 3.0)):
        if "float" in str(field.type):
            try:
                yield dataclasses.replace(config, **{field.name: value})
            except ConfigError:
                continue


@pytest.mark.parametrize("option", options("scheduler"))
@pytest.mark.parametrize(("steps_per_epoch", "epochs"), [(1, 1), (1, 2), (20, 1), (20, 15)])
def test_schedule_stays_between_0_and_1(configure, option, steps_per_epoch, epochs):
    for config in schedules(configure, option):
        schedule = config.build(steps_per_epoch=steps_per_epoch, epochs=epochs)
        assert all(0 <= schedule(step) <= 1 for step in range(steps_per_epoch * epochs)), config


class RecordingOptimizer:
    """Record the learning rates that an optimizer has at each step."""

    def __init__(self, optimizer):
        self.optimizer, self.rates = optimizer, []
        self.param_groups, self.zero_grad = optimizer.param_groups, optimizer.zero_grad

    def step(self):
        self.rates.append([group["lr"] for group in self.param_groups])
        self.optimizer.step()


@pytest.mark.parametrize("option", options("scheduler"))
@pytest.mark.parametrize("epochs", [1, 2, 15])
def test_schedule_reaches_its_peak(configure, option, epochs):
    schedule = configure(f"scheduler={option}").scheduler.build(steps_per_epoch=20, epochs=epochs)
    assert max(schedule(step) for step in range(20 * epochs)) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("scheduler", options("scheduler"))
@pytest.mark.parametrize("optim", options("optim"))
def test_schedule_sets_learning_rate_of_every_group_at_each_step(configure, optim, scheduler):
    config = dataclasses.replace(
        configure("model=m3", "train.epochs=3", "data.train_images=40"),
        optim=configure(f"optim={optim}").optim,
        scheduler=configure(f"scheduler={scheduler}").scheduler,
    )
    batches = Batches(config.data.load(print), config.augment.build(), 20, 0)
    model = config.model.build()
    optimizer = RecordingOptimizer(config.optim.build(model))
    peaks = [group["lr"] for group in optimizer.param_groups]
    schedule = config.scheduler.build(steps_per_epoch=len(batches), epochs=3)
    plan = TrainingPlan(
        epochs=3,
        schedule=schedule,
        strength=lambda epoch: 1.0,
        average_from=4,
        label_smoothing=0.0,
        autocast=autocast(torch.device("cpu"), config.train.precision),
        watch_loss=True,
        seed=0,
    )
    reported = []
    results = list(
        fit(
            TrainState(model, optimizer),
            batches,
            plan,
            first_epoch=1,
            on_step=lambda view: reported.append(view.learning_rate),
        )
    )
    steps = range(3 * len(batches))
    assert optimizer.rates == [[pytest.approx(peak * schedule(step)) for peak in peaks] for step in steps]
    assert reported == [pytest.approx(peaks[0] * schedule(step)) for step in steps]
    assert [result.learning_rate for result in results] == reported[len(batches) - 1 :: len(batches)]
