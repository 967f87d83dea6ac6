"""On an NVIDIA GPU: it computes what a CPU computes, a captured step is the plain one, and nothing waits for it."""

from copy import deepcopy
from itertools import pairwise

import pytest
import torch
from torch import nn

from mnist_compact.config.schema import configuration_folder
from mnist_compact.data import augmentation
from mnist_compact.records.record import Status
from mnist_compact.runs.folder_writer import untrained
from mnist_compact.runs.trainer import resume, run
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
def test_network_gives_the_same_logits_as_on_a_cpu(configure, model):
    network = configure(f"model={model}").model.build().eval()
    images = torch.rand(64, 1, 28, 28)
    with torch.inference_mode():
        there = deepcopy(network).to(GPU)(images.to(GPU))
        torch.testing.assert_close(there.cpu(), network(images), rtol=1e-3, atol=1e-4)


def test_published_weights_score_as_on_a_cpu(configure):
    """As many right, but for images on the very edge between two digits."""
    data, network = configure("data=mnist").data.load(print), load("under_8k").network
    here, there = evaluate(network, data), evaluate(deepcopy(network).to(GPU), data.to(GPU))
    assert there.correct == pytest.approx(here.correct, abs=2)
    assert there.loss == pytest.approx(here.loss, rel=1e-3)


def test_an_image_is_changed_as_on_a_cpu(configure, monkeypatch):
    changes = ("augment=affine", "augment.elastic_px=1", "augment.affine_probability=0.5", "augment.brightness=0.2")
    change = configure(*changes).augment.build()
    images = torch.rand(50, 28, 28)
    here = change(images.clone(), 1.0, torch.Generator().manual_seed(1))

    class DrawnOnTheCpu:
        def __init__(self, generator, device):
            self.draw, self.device = drawn(generator, CPU), device

        def uniform(self, *shape):
            return self.draw.uniform(*shape).to(self.device)

        def chosen(self, n, probability):
            return self.draw.chosen(n, probability).to(self.device)

    drawn = augmentation.Draw
    monkeypatch.setattr(augmentation, "Draw", DrawnOnTheCpu)
    there = change(images.to(GPU), 1.0, torch.Generator().manual_seed(1))
    torch.testing.assert_close(there.cpu(), here, rtol=1e-3, atol=1e-4)
    assert not torch.equal(here, images)


@pytest.mark.parametrize(("optim", "apart"), [("sgd", 0.01), ("adamw", 0.05), ("nadam", 0.05), ("muon", 0.1)])
def test_a_captured_step_trains_as_a_plain_one_and_as_a_cpu(configure, optim, apart):
    """The weights end within a small part of the way that they have gone; Muon rounds to bfloat16 on its way."""
    config = configure("model=m3", "model.dropout=0", f"optim={optim}", "optim.lr=0.002", "train.average_epochs=1")
    torch.manual_seed(0)
    first = config.model.build()
    batches = [(torch.randn(n, 1, 28, 28), torch.randint(10, (n,))) for n in (*[32] * 12, 7)]
    ends = []
    for device, make in ((CPU, Step), (GPU, Step), (GPU, CapturedStep)):
        model = deepcopy(first).to(device)
        train_state = TrainState(model, config.optim.build(model), WeightAverage(model, 0.9))
        settings = 0.1, autocast(device, Precision.float32)
        step = Step(train_state, *settings) if make is Step else fastest_step(train_state, 32, *settings)
        assert type(step) is make
        model.train()
        for place, (images, labels) in enumerate(batches):
            for group in train_state.optimizer.param_groups:
                group["lr"] = group["initial_lr"] / (1 + place)
            step(images.to(device), labels.to(device), averaging=place >= 6)
        ends.append((vector(model), vector(train_state.average.module), step.loss_sum.cpu(), int(step.correct)))
        if make is CapturedStep:
            assert step.replays.keys() == {True, False}
    way = (ends[0][0] - vector(first)).norm()
    for one, other in pairwise(ends):
        assert (one[0] - other[0]).norm() < apart * way
        assert (one[1] - other[1]).norm() < apart * way
        torch.testing.assert_close(one[2], other[2], rtol=0.01, atol=0.1)
        assert one[3] == pytest.approx(other[3], abs=4)


def vector(network: nn.Module):
    return torch.cat([each.detach().cpu().flatten() for each in network.parameters()])


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

    def from_the_first_step_to_the_last(view):
        torch.cuda.set_sync_debug_mode("error" if view.step < len(batches) else "default")

    try:
        train_epoch(step, batches, plan, 2, from_the_first_step_to_the_last)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
def test_a_step_that_waited_would_be_noticed():
    """What the test above rests on."""
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

    def cut_off(view):
        if (view.epoch, view.step) == (2, 3):
            raise KeyboardInterrupt

    assert run(config, tmp_path / "cut", recording_callback(cut_off)).status is Status.INTERRUPTED
    gone_on = resume(tmp_path / "cut", recording_callback())
    assert gone_on.status is Status.COMPLETED
    for score in whole.scores:
        again = gone_on.score(score.split, weights=score.weights, at=score.at)
        assert again.accuracy == pytest.approx(score.accuracy, abs=2.0)


def test_an_epoch_of_mnist_in_half_precision_learns(configure, recording_callback, tmp_path):
    recipe = ("data=mnist", "train.batch_size=128", "train.epochs=1", "train.precision=bfloat16", "augment=none")
    record = run(configure("model=m3", *recipe, "machine.device=cuda"), tmp_path, recording_callback())
    assert record.score("test").accuracy > 97.5
