"""On an NVIDIA GPU: results agree with the CPU, a captured step agrees with a plain one, and no step waits for it."""

from copy import deepcopy
from itertools import pairwise

import pytest
import torch
from torch import nn

from mnist_compact.config.schema import configuration_folder
from mnist_compact.data import augmentation
from mnist_compact.records.record import Status
from mnist_compact.runs.trainer import resume, run, untrained
from mnist_compact.training.config import Precision
from mnist_compact.training.device import autocast, prepare
from mnist_compact.training.evaluation import evaluate
from mnist_compact.training.loop import TrainingPlan, train_epoch
from mnist_compact.training.step import CapturedStep, Step, TrainState, WeightAverage, fastest_step
from mnist_compact.zoo.registry import load

pytestmark = pytest.mark.gpu
CPU, GPU = torch.device("cpu"), torch.device("cuda:0")
NETWORKS = sorted(path.stem for path in (configuration_folder() / "model").glob("*.yaml"))


@pytest.fixture(autouse=True)
def _prepared():
    prepare(1, GPU)


@pytest.mark.parametrize("model", NETWORKS)
def test_logits_agree_with_the_cpu(configure, model):
    network = configure(f"model={model}").model.build().eval()
    images = torch.rand(64, 1, 28, 28)
    with torch.inference_mode():
        on_gpu = deepcopy(network).to(GPU)(images.to(GPU))
        torch.testing.assert_close(on_gpu.cpu(), network(images), rtol=1e-3, atol=1e-4)


def test_score_of_published_weights_agrees_with_the_cpu(configure):
    """The counts may differ by images whose two largest logits are almost equal."""
    data, network = configure("data=mnist").data.load(print), load("under_8k").network
    on_cpu, on_gpu = evaluate(network, data), evaluate(deepcopy(network).to(GPU), data.to(GPU))
    assert on_gpu.correct == pytest.approx(on_cpu.correct, abs=2)
    assert on_gpu.loss == pytest.approx(on_cpu.loss, rel=1e-3)


def test_augmentation_agrees_with_the_cpu(configure, monkeypatch):
    changes = ("augment=affine", "augment.elastic_px=1", "augment.affine_probability=0.5", "augment.brightness=0.2")
    change = configure(*changes).augment.build()
    images = torch.rand(50, 28, 28)
    on_cpu = change(images.clone(), 1.0, torch.Generator().manual_seed(1))

    class DrawnOnTheCpu:
        def __init__(self, generator, device):
            self.draw, self.device = draw_class(generator, CPU), device

        def uniform(self, *shape):
            return self.draw.uniform(*shape).to(self.device)

        def chosen(self, n, probability):
            return self.draw.chosen(n, probability).to(self.device)

    draw_class = augmentation.Draw
    monkeypatch.setattr(augmentation, "Draw", DrawnOnTheCpu)
    on_gpu = change(images.to(GPU), 1.0, torch.Generator().manual_seed(1))
    torch.testing.assert_close(on_gpu.cpu(), on_cpu, rtol=1e-3, atol=1e-4)
    assert not torch.equal(on_cpu, images)


@pytest.mark.parametrize(("optim", "tolerance"), [("sgd", 0.01), ("adamw", 0.05), ("nadam", 0.05), ("muon", 0.1)])
def test_captured_step_agrees_with_plain_step_and_the_cpu(configure, optim, tolerance):
    """The difference is a small part of the distance from the initial weights. Muon rounds to bfloat16 internally."""
    config = configure("model=m3", "model.dropout=0", f"optim={optim}", "optim.lr=0.002", "train.average_epochs=1")
    torch.manual_seed(0)
    initial = config.model.build()
    batches = [(torch.randn(n, 1, 28, 28), torch.randint(10, (n,))) for n in (*[32] * 12, 7)]
    ends = []
    for device, step_class in ((CPU, Step), (GPU, Step), (GPU, CapturedStep)):
        model = deepcopy(initial).to(device)
        train_state = TrainState(model, config.optim.build(model), WeightAverage(model, 0.9))
        settings = 0.1, autocast(device, Precision.float32)
        step = Step(train_state, *settings) if step_class is Step else fastest_step(train_state, 32, *settings)
        assert type(step) is step_class
        model.train()
        for number, (images, labels) in enumerate(batches):
            for group in train_state.optimizer.param_groups:
                group["lr"] = group["initial_lr"] / (1 + number)
            step(images.to(device), labels.to(device), averaging=number >= 6)
        ends.append((vector(model), vector(train_state.average.module), step.loss_sum.cpu(), int(step.correct)))
        if step_class is CapturedStep:
            assert step.replays.keys() == {True, False}
    distance = (ends[0][0] - vector(initial)).norm()
    for one, other in pairwise(ends):
        assert (one[0] - other[0]).norm() < tolerance * distance
        assert (one[1] - other[1]).norm() < tolerance * distance
        torch.testing.assert_close(one[2], other[2], rtol=0.01, atol=0.1)
        assert one[3] == pytest.approx(other[3], abs=4)


def vector(network: nn.Module):
    return torch.cat([parameter.detach().cpu().flatten() for parameter in network.parameters()])


@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
@pytest.mark.parametrize("optim", ["sgd", "muon"])
def test_no_step_waits_for_the_gpu(configure, optim):
    config = configure("model=m3", "augment=affine", f"optim={optim}", "data.train_images=400", "model.dropout=0.1")
    data = config.data.load(print).to(GPU)
    train_state, _, batches = untrained(config, data)
    plan = TrainingPlan(
        epochs=2,
        schedule=lambda step: 1.0,
        strength=lambda epoch: 1.0,
        average_from=3,
        label_smoothing=0.0,
        autocast=autocast(GPU, Precision.float32),
        watch_loss=False,
        seed=0,
    )
    step = fastest_step(train_state, batches.size, plan.label_smoothing, plan.autocast)
    train_epoch(step, batches, plan, 1, lambda view: None)

    def forbid_synchronization_within_the_epoch(view):
        torch.cuda.set_sync_debug_mode("error" if view.step < len(batches) else "default")

    try:
        train_epoch(step, batches, plan, 2, forbid_synchronization_within_the_epoch)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
def test_synchronization_is_detected():
    """The test above relies on this."""
    loss = torch.ones(1, device=GPU)
    torch.cuda.set_sync_debug_mode("error")
    try:
        with pytest.raises(RuntimeError, match="synchroniz"):
            loss.item()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize(("optim", "device"), [("adam", "cuda"), ("muon", "auto")])
def test_interrupted_run_continues_and_records_its_machines(configure, recording_callback, tmp_path, optim, device):
    recipe = ("model=m3", "augment=affine", f"optim={optim}", "data.train_images=4000", "train.average_epochs=1")
    config = configure(*recipe, f"machine.device={device}", "scheduler=onecycle", "data.evaluation_images=500")
    whole = run(config, tmp_path / "whole", recording_callback())
    assert whole.environment["device"] == torch.cuda.get_device_name(GPU)

    def interrupt(view):
        if (view.epoch, view.step) == (2, 3):
            raise KeyboardInterrupt

    assert run(config, tmp_path / "cut", recording_callback(interrupt)).status is Status.INTERRUPTED
    resumed = resume(tmp_path / "cut", recording_callback())
    assert resumed.status is Status.COMPLETED
    for score in whole.scores:
        other = resumed.score(score.split, weights=score.weights, at=score.at)
        assert other.accuracy == pytest.approx(score.accuracy, abs=2.0)


def test_one_bfloat16_epoch_of_mnist_learns(configure, recording_callback, tmp_path):
    recipe = ("data=mnist", "train.batch_size=128", "train.epochs=1", "train.precision=bfloat16", "augment=none")
    record = run(configure("model=m3", *recipe, "machine.device=cuda"), tmp_path, recording_callback())
    assert record.score("test").accuracy > 97.5
