"""The training loop, held to one written with torch's own layers, loss and optimizer."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mnist_compact.data.datasets import Batches
from mnist_compact.training.config import Precision
from mnist_compact.training.device import autocast, prepare, prepared
from mnist_compact.training.loop import TrainingPlan, train_epoch
from mnist_compact.training.step import Step, TrainState

RATES = [1.0, 0.5, 0.25]
LAYERS = ("model.order=[conv1,conv2]", "model.layers.conv1.width=4", "model.layers.conv2.width=5")


def plain_twin(ours):
    """conv, norm, ReLU, twice, a pool, a linear head: of torch alone, with the same weights."""
    twin = nn.Sequential(
        *[nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU()],
        *[nn.Conv2d(4, 5, 3, bias=False), nn.BatchNorm2d(5), nn.ReLU(), nn.MaxPool2d(2)],
        *[nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 10)],
    )
    with torch.no_grad():
        for mine, theirs in zip(twin.parameters(), ours.parameters(), strict=True):
            mine.copy_(theirs.reshape(mine.shape))
    return twin


def test_two_epochs_are_those_of_a_loop_of_torch_alone(configure):
    unused = [f"model.layers.conv{number}.enabled=false" for number in range(3, 7)]
    data_of = ("data.train_images=200", "augment=none", "optim=sgd", "optim.lr=0.1")
    config = configure("model=compact", *LAYERS, *unused, *data_of)
    data = config.data.load(print)
    batches = Batches(data, config.augment.build(), 64, 0)  # three whole ones and one of 8
    torch.manual_seed(0)
    model = config.model.build()
    twin = plain_twin(model)
    plan = TrainingPlan(
        epochs=2,
        schedule=lambda step: RATES[step % 3],
        strength=lambda epoch: 1.0,
        average_from=3,
        label_smoothing=0.1,
        autocast=autocast(torch.device("cpu"), Precision.float32),
        watch_loss=True,
        seed=0,
    )
    step = Step(TrainState(model, config.optim.build(model)), plan.label_smoothing, plan.autocast)
    theirs = torch.optim.SGD(
        twin.parameters(),
        lr=0.1,
        momentum=config.optim.momentum,
        nesterov=config.optim.nesterov,
        weight_decay=config.optim.weight_decay,
    )
    taken = 0
    for epoch in (1, 2):
        train_epoch(step, batches, plan, epoch, lambda view: None)
        loss_sum, correct = 0.0, 0
        for images, labels in batches.epoch(epoch, 1.0):
            theirs.param_groups[0]["lr"] = 0.1 * RATES[taken % 3]
            taken += 1
            logits = twin(images)
            loss = F.cross_entropy(logits, labels, label_smoothing=0.1)
            theirs.zero_grad()
            loss.backward()
            theirs.step()
            loss_sum += loss.item() * len(labels)
            correct += int((logits.argmax(1) == labels).sum())
        assert step.loss_sum.item() == pytest.approx(loss_sum, rel=1e-4)
        assert int(step.correct) == pytest.approx(correct, abs=1)
    assert taken == 8
    for ours, plain in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours.reshape(plain.shape), plain, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("asked", "used"), [(0, 1), (2, 2)])
def test_without_a_number_torch_keeps_its_own_and_has_it_back(asked, used):
    torch.set_num_threads(1)  # no more than any machine has
    with prepared(asked, torch.device("cpu")):
        assert torch.get_num_threads() == used
    assert torch.get_num_threads() == 1


def test_a_gpu_is_the_current_one_and_repeats_itself(monkeypatch):
    chosen = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    prepare(torch.get_num_threads(), torch.device("cpu"))
    assert (chosen, torch.backends.cudnn.deterministic) == ([], False)
    prepare(torch.get_num_threads(), torch.device("cuda:1"))
    assert chosen == [torch.device("cuda:1")]
    assert (torch.backends.cudnn.deterministic, torch.backends.cudnn.allow_tf32) == (True, False)
