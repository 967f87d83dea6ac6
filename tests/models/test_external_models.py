"""Networks outside the compact family: an MLP-Mixer as a user would write it, and other modules."""

import dataclasses

import pytest
import torch
from torch import nn

from mnist_compact.cli.run_display import layer_table, totals
from mnist_compact.common.errors import ConfigError
from mnist_compact.config import schema
from mnist_compact.config.conversion import from_record
from mnist_compact.config.schema import to_record
from mnist_compact.models.model_config import ModelConfig
from mnist_compact.models.network import INPUT_SHAPE
from mnist_compact.models.summary import summarize
from mnist_compact.optim.muon import ConvMuon, hidden_matrices
from mnist_compact.optim.optimizers import MuonConfig
from mnist_compact.runs.trainer import check, resume, run
from mnist_compact.training.evaluation import estimate_batchnorm
from mnist_compact.zoo.classifier import load_network


class Mixer(nn.Module):
    """Patches of 7×7 px; one layer mixes the 16 of them, one the features (Tolstikhin et al. 2021)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed = nn.Linear(49, width)
        self.norm = nn.BatchNorm1d(16)
        self.tokens = nn.Linear(16, 16)
        self.features = nn.Linear(width, width)
        self.head = nn.Linear(width, 10)

    def forward(self, images):
        patches = images.unfold(2, 7, 7).unfold(3, 7, 7).flatten(1, 3).flatten(2)  # (N, 16, 49)
        x = self.norm(self.embed(patches))
        x = x + self.tokens(x.transpose(1, 2)).transpose(1, 2).relu()
        x = x + self.features(x).relu()
        return self.head(x.mean(1))


@dataclasses.dataclass(kw_only=True, slots=True)
class MixerConfig(ModelConfig):
    width: int = 8

    def build(self) -> nn.Module:
        return Mixer(self.width)


@pytest.fixture
def mixed(configure, monkeypatch):
    monkeypatch.setitem(schema.GROUPS["model"], "mixer", MixerConfig)

    def made(*overrides):
        return dataclasses.replace(configure(*overrides), model=MixerConfig(name="mixer"))

    return made


@pytest.mark.parametrize("optim", ["sgd", "adamw", "muon"])
def test_mixer_is_trained_recorded_resumed_and_loaded(mixed, recording_callback, tmp_path, optim):
    config = mixed(f"optim={optim}", "train.average_epochs=1")
    assert from_record(to_record(config)) == config
    record = run(config, tmp_path, recording_callback())
    assert (record.status, record.network.receptive_field) == ("completed", None)
    assert record.network.parameters == sum(each.numel() for each in Mixer(8).parameters())
    assert resume(tmp_path, recording_callback(), epochs=3).epochs_done == 3
    digits, _ = load_network(tmp_path).classify(torch.zeros(2, 28, 28))
    assert digits.shape == (2,)


def test_summary_of_a_mixer_leaves_out_unknown_facts():
    model_summary = summarize(Mixer(8), INPUT_SHAPE)
    assert {row.path: row.macs for row in model_summary.rows} == {
        "embed": 16 * 49 * 8,
        "norm": 0,
        "tokens": 8 * 16 * 16,
        "features": 16 * 8 * 8,
        "head": 80,
    }
    assert model_summary.receptive_field is None
    assert {row.receptive_field for row in model_summary.rows} == {None}
    assert sum(row.parameters for row in model_summary.rows) == model_summary.parameters
    assert "receptive field unknown" in totals(model_summary)[0]
    assert "1×1" not in totals(model_summary)[0]
    assert [*layer_table(model_summary).columns[-1].cells] == ["?"] * 5


def test_receptive_field_of_plain_convolutions_is_known():
    features = (nn.Conv2d(1, 4, 3, dilation=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 8, 5, padding="same"))
    pooled = nn.Sequential(*features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
    flat = nn.Sequential(*features, nn.Flatten(), nn.Linear(8 * 12 * 12, 10))
    assert [summarize(network, INPUT_SHAPE).receptive_field for network in (pooled, flat)] == [14, 14]
    assert [row.receptive_field for row in summarize(pooled, INPUT_SHAPE).rows][:5] == [5, 5, 6, 14, 14 + 11 * 2]
    assert [row.padding for row in summarize(pooled, INPUT_SHAPE).rows][3] is None


@pytest.mark.parametrize(
    "layer", [nn.Conv2d(1, 4, (1, 3)), nn.Softmax(2), nn.LayerNorm((1, 28, 28))], ids=lambda each: type(each).__name__
)
def test_receptive_field_is_unknown_for_other_layers(layer):
    network = nn.Sequential(layer, nn.AdaptiveAvgPool2d(7), nn.Flatten(), nn.LazyLinear(10))
    network(torch.zeros(1, *INPUT_SHAPE))
    model_summary = summarize(network, INPUT_SHAPE)
    assert (model_summary.rows[0].receptive_field, model_summary.receptive_field) == (None, None)


class Recurrent(nn.Module):
    """A recurrent network over the rows of the image. Its layers return tuples, and it has a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.zeros(28))
        self.rnn = nn.GRU(28, 6, batch_first=True)
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.head = nn.Linear(6, 10)

    def forward(self, images):
        states, _ = self.rnn(images.squeeze(1) + self.start)
        attended, _ = self.attention(states, states, states)
        return self.head(attended.mean(1))


def test_layers_that_return_tuples_are_described_by_their_first_tensor():
    model_summary = summarize(Recurrent(), INPUT_SHAPE)
    assert [(row.layer, row.out_channels, row.out_height) for row in model_summary.rows] == [
        ("GRU", 28, 6),
        ("MultiheadAttention", 28, 6),
        ("Linear", 10, 1),
        ("Recurrent", 10, 1),
    ]
    assert sum(row.parameters for row in model_summary.rows) == model_summary.parameters
    assert model_summary.receptive_field is None


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (
            nn.Sequential(nn.Flatten(), nn.Linear(784, 12)),
            r"logits \(N, 10\) for N images, got \(1, 12\) for one image",
        ),
        (nn.Sequential(nn.Flatten(1, 2), nn.GRU(28, 10)), r"logits \(N, 10\) for N images, got tuple for one image"),
    ],
)
def test_network_without_logits_is_refused(network, message):
    with pytest.raises(ConfigError, match=message):
        summarize(network, INPUT_SHAPE)


def muon(network):
    return ConvMuon(network, lr=0.1, momentum=0.9, nesterov=True, adamw_lr=0.01, weight_decay=0.0)


def test_muon_without_convolutions_uses_hidden_linear_layers():
    mixer = Mixer(8)
    names = {id(parameter): name for name, parameter in mixer.named_parameters()}
    assert [names[id(each)] for each in hidden_matrices(mixer)] == ["embed.weight", "tokens.weight", "features.weight"]
    assert muon(mixer).parts[0].rule.shapes == [(8, 49), (16, 16), (8, 8)]


def test_muon_without_a_matrix_is_refused(mixed, monkeypatch, tmp_path, recording_callback):
    config = mixed("optim=muon")
    assert isinstance(config.optim, MuonConfig)
    alone = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    monkeypatch.setattr(MixerConfig, "build", lambda self: alone)
    with pytest.raises(ConfigError, match="optim=muon needs a network with convolutions or hidden linear layers"):
        check(config)
    with pytest.raises(ConfigError):
        run(config, tmp_path / "run", recording_callback())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("optim", ["adam", "muon"])
def test_frozen_weights_stay_and_unused_ones_are_named(mixed, monkeypatch, recording_callback, tmp_path, optim):
    def frozen(self):
        mixer = Mixer(8)
        mixer.embed.weight.requires_grad_(False)
        return mixer

    monkeypatch.setattr(MixerConfig, "build", frozen)
    config = mixed(f"optim={optim}", "train.epochs=1")
    record = run(config, tmp_path / "frozen", recording_callback())
    assert record.network.parameters - record.network.trainable_parameters == 8 * 49

    def idle(self):
        mixer = Mixer(8)
        mixer.idle = nn.Linear(3, 2)
        return mixer

    monkeypatch.setattr(MixerConfig, "build", idle)
    with pytest.raises(ConfigError, match=r"weights of shape \(2, 3\), \(2,\) do not contribute to the logits"):
        run(config, tmp_path / "idle", recording_callback())


def test_averaged_weights_have_their_own_batchnorm_statistics():
    network = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.BatchNorm1d(784), nn.BatchNorm1d(784, momentum=0.3))
    unkept = nn.BatchNorm1d(784, track_running_stats=False)
    images = 5 + 2 * torch.randn(64, 1, 28, 28)
    estimate_batchnorm(nn.Sequential(network, unkept), [images])
    torch.testing.assert_close(network[0].running_mean, images.mean((0, 2, 3)))
    normalised = network[0].eval()(images).flatten(1)
    torch.testing.assert_close(network[2].running_mean, normalised.mean(0))
    torch.testing.assert_close(network[2].running_var, normalised.var(0), rtol=1e-4, atol=0)
    assert (network[3].momentum, unkept.running_mean) == (0.3, None)
