"""The training loop agrees with one written with PyTorch's own layers, loss and optimizer."""

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


def test_two_epochs_agree_with_plain_pytorch_loop(configure):
    unused = [f"model.layers.conv{number}.enabled=false" for number in range(3, 7)]
    data_of = ("data.train_images=200", "augment=none", "optim=sgd", "optim.lr=0.1")
    config = configure("model=compact", *LAYERS, *unused, *data_of)
    data = config.data.load(print)
    batches = Batches(data, config.augment.build(), 64, 0)  # three full batches and one of 8 images
    torch.manual_seed(0)
    model = config.model.build()
    reference = plain_network(model)
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
    optimizer = torch.optim.SGD(
        reference.parameters(),
        lr=0.1,
        momentum=config.optim.momentum,
        nesterov=config.optim.nesterov,
        weight_decay=config.optim.weight_decay,
    )
    steps = 0
    for epoch in (1, 2):
        train_epoch(step, batches, plan, epoch, lambda view: None)
        loss_sum, correct = 0.0, 0
        for images, labels in batches.epoch(epoch, 1.0):
            optimizer.param_groups[0]["lr"] = 0.1 * RATES[steps % 3]
            steps += 1
            logits = reference(images)
            loss = F.cross_entropy(logits, labels, label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss_sum += loss.item() * len(labels)
            correct += int((logits.argmax(1) == labels).sum())
        assert step.loss_sum.item() == pytest.approx(loss_sum, rel=1e-4)
        assert int(step.correct) == pytest.approx(correct, abs=1)
    assert steps == 8
    for actual, expected in zip(model.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(actual.reshape(expected.shape), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("requested", "used"), [(0, 1), (2, 2)])
def test_thread_count_is_set_and_restored(requested, used):
    torch.set_num_threads(1)  # available on every machine
    with prepared(requested, torch.device("cpu")):
        assert torch.get_num_threads() == used
    assert torch.get_num_threads() == 1


def test_prepare_selects_gpu_and_deterministic_kernels(monkeypatch):
    chosen = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    prepare(torch.get_num_threads(), torch.device("cpu"))
    assert (chosen, torch.backends.cudnn.deterministic) == ([], False)
    prepare(torch.get_num_threads(), torch.device("cuda:1"))
    assert chosen == [torch.device("cuda:1")]
    assert (torch.backends.cudnn.deterministic, torch.backends.cudnn.allow_tf32) == (True, False)
