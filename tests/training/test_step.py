"""The logic of captured training steps, tested on the CPU, and that no step synchronizes with the device."""

from copy import deepcopy

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mnist_compact.data.datasets import Batches
from mnist_compact.models import norm_dropout
from mnist_compact.training.config import Precision
from mnist_compact.training.device import autocast
from mnist_compact.training.loop import TrainingPlan, train_epoch
from mnist_compact.training.step import WARM_UP, CapturedStep, Step, TrainState, WeightAverage, fastest_step


class FakeGraphCapture:
    """A graph capture for the CPU: a replay does the recorded work again."""

    def __init__(self):
        self.warmed, self.recorded, self.replayed = 0, 0, 0

    def warm_up(self, work):
        self.warmed += 1
        work()

    def capture(self, work):
        self.recorded += 1

        def replay():
            self.replayed += 1
            work()

        return replay


@pytest.fixture
def setting(configure):
    """A training state, its 13 batches (the last one short) and a plan with averaging from the second of two epochs."""
    config = configure("model=m3", "model.dropout=0.1", "augment=affine", "data.train_images=200", "optim.lr=0.01")
    data = config.data.load(print)
    torch.manual_seed(0)
    model = config.model.build()
    train_state = TrainState(model, config.optim.build(model), WeightAverage(model, 0.9))
    plan = TrainingPlan(
        epochs=2,
        schedule=lambda step: 1 / (1 + step),
        strength=lambda epoch: 1.0,
        average_from=2,
        label_smoothing=0.1,
        autocast=autocast(torch.device("cpu"), Precision.float32),
        watch_loss=False,
        seed=0,
    )
    return train_state, Batches(data, config.augment.build(), 16, 0), plan


@pytest.mark.parametrize(("optim", "tolerance"), [("sgd", 1e-3), ("adamw", 1e-2), ("muon", 0.2)])
def test_replayed_step_agrees_with_plain_step(setting, configure, optim, tolerance):
    """Differences come from the learning rate, which is a float32 tensor; Muon also rounds to bfloat16 internally."""
    train_state, batches, plan = setting
    weights = deepcopy(train_state.model.state_dict())
    results = []
    graph_capture = FakeGraphCapture()
    for captured in (False, True):
        model = configure("model=m3", "model.dropout=0.1").model.build()
        model.load_state_dict(weights)
        optimizer = configure(f"optim={optim}", "optim.lr=0.002").optim.build(model)
        fresh = TrainState(model, optimizer, WeightAverage(model, 0.9))
        step = Step(fresh, plan.label_smoothing, plan.autocast)
        if captured:
            step = CapturedStep(step, batches.size, graph_capture)
        for epoch in (1, 2):
            train_epoch(step, batches, plan, epoch, lambda view: None)
        results.append((fresh, step.loss_sum, step.correct))
    (plain, *plain_tally), (replayed, *replayed_tally) = results
    for actual, expected in ((replayed.model, plain.model), (replayed.average.module, plain.average.module)):
        for end, other, start in zip(
            actual.parameters(), expected.parameters(), train_state.model.parameters(), strict=True
        ):
            assert (end - other).norm() < tolerance * (other - start).norm()
    torch.testing.assert_close(replayed_tally[0], plain_tally[0], rtol=1e-2, atol=0)
    assert int(replayed_tally[1]) == pytest.approx(int(plain_tally[1]), abs=3)
    assert {part.steps for each in (plain, replayed) for part in each.optimizer.parts} == {26}
    assert graph_capture.recorded == 2, "with and without averaging"
    assert graph_capture.warmed == 2 * WARM_UP
    # 12 full batches per epoch, without the warm-up and, in the second epoch, the first update of the average
    assert graph_capture.replayed == (12 - WARM_UP) + (12 - WARM_UP - 1)


def test_cpu_uses_the_plain_step(setting):
    train_state, batches, plan = setting
    assert type(fastest_step(train_state, batches.size, 0.0, plan.autocast)) is Step


class NoSynchronization(TorchDispatchMode):
    """Fail on operations that copy a value from the device to Python, because the host would wait for them."""

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        name = str(function)
        assert not any(word in name for word in ("_local_scalar_dense", "nonzero", "is_nonzero", "equal.")), name
        return function(*arguments, **(options or {}))


def test_no_step_synchronizes_with_the_device(monkeypatch, setting):
    monkeypatch.setattr(norm_dropout, "fits", lambda x, *others: False)  # as on a device other than the CPU
    train_state, batches, plan = setting
    step, seen = CapturedStep(Step(train_state, 0.0, plan.autocast), batches.size, FakeGraphCapture()), []
    plan_of_last = deepcopy(plan)

    def record_step(view):
        seen.append(view.step)

    guard = NoSynchronization()
    with guard, pytest.raises(AssertionError, match="_local_scalar_dense"):
        train_epoch(step, batches, plan_of_last, 2, record_step)
    assert len(seen) == len(batches), "only the loss at the end of the epoch is read"
