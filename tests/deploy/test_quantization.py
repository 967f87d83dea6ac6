"""Quantised networks: the C program computes what the quantisation foresees, close to the network."""

import shutil

import numpy as np
import pytest
import torch
from family import MEMBERS, images, mnist, optimization_of, small
from torch import nn

from mnist_compact.deploy.c_export import write_int8
from mnist_compact.deploy.c_int8 import int8_source
from mnist_compact.deploy.compiler import compiled, logits_by
from mnist_compact.deploy.fixed_point import INT32, ONE, activated, multiplier, scaled, to_int8
from mnist_compact.deploy.folding import fold
from mnist_compact.deploy.quantization import quantise
from mnist_compact.deploy.steps import steps_of
from mnist_compact.models.blocks import ACTIVATIONS
from mnist_compact.models.layers import Activation
from mnist_compact.zoo.registry import load

needs_compiler = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


@needs_compiler
@pytest.mark.parametrize("name", [*MEMBERS])
def test_c_program_computes_the_quantised_network_bit_by_bit(name):
    member, shown = MEMBERS[name](), images(48)
    quantised = quantise(steps_of(fold(member)), shown[:32])
    source = int8_source(quantised, "a test")
    expected = quantised.logits(shown[28:])
    with compiled(source.files, optimization_of(name)) as made:
        assert torch.equal(logits_by(made.program, shown[28:]).long(), expected)
    with torch.no_grad():
        logits = member(shown[28:])
    assert float((expected / ONE - logits).square().mean().sqrt()) < 0.1 * float(logits.std())


@pytest.mark.parametrize("value", [1e-30, 1e-9, 0.003, 0.5, 0.99999, 1.0, 7.3, 32_000.0, -0.25, 0.0])
def test_multiplier_is_close_to_its_value(value):
    ((m, s),) = multiplier(np.array([value])).tolist()
    assert abs(m) < 2**15
    assert 0 <= s <= 62
    assert m * 2.0**-s == pytest.approx(value, rel=2**-14, abs=2**-47)


def test_scaling_rounds_half_away_from_zero():
    half = torch.tensor([[1, 1]])
    values = torch.tensor([5, -5, 4, -4, 1, -1]).view(1, 1, 1, -1)
    assert scaled(values, half).flatten().tolist() == [3, -3, 2, -2, 1, -1]
    assert scaled(torch.full((1, 1, 1, 1), 2**40), torch.tensor([[1, 0]])).item() == INT32
    assert to_int8(torch.tensor([127, 128, -128, -127, 99_999, -99_999])).tolist() == [0, 1, -1, 0, 127, -128]


@pytest.mark.parametrize("activation", Activation)
def test_activation_of_fixed_point_numbers_is_close(activation):
    values = torch.arange(-12 * ONE, 12 * ONE, 997).view(1, 1, 1, -1)
    expected = ACTIVATIONS[activation]()(values.double() / ONE)
    torch.testing.assert_close(activated(activation, values).double() / ONE, expected, rtol=1e-3, atol=3e-3)


def test_export_that_loses_accuracy_is_not_written(tmp_path, monkeypatch):
    from mnist_compact.common.errors import ExecutionError
    from mnist_compact.data.datasets import Datasets, Split
    from mnist_compact.deploy import c_export

    classifier, shown = small(), images(40)
    labels = classifier.classify(shown)[0]
    data = Datasets(Split("train", shown, labels), Split("synthetic", shown, labels), 0.13, 0.31)
    monkeypatch.setattr(c_export, "fold", lambda _: fold(small(layers="residual")))
    with pytest.raises(ExecutionError, match=r"quantisation costs .* points of accuracy on 40 images"):
        write_int8(classifier, "a test", data, tmp_path / "made")
    assert not [*tmp_path.iterdir()]


def test_weights_of_zero_and_large_biases_are_quantised():
    classifier, shown = small(), images(32)
    first = next(module for module in classifier.network.modules() if isinstance(module, nn.BatchNorm2d))
    with torch.no_grad():
        first.weight[0], first.bias[0] = 0, 3
        first.weight[1], first.bias[1] = 1e-9, 3
    expected = classifier.classify(shown)[0]
    found = quantise(steps_of(fold(classifier)), shown).logits(shown).argmax(1)
    assert int((found == expected).sum()) >= 30


@pytest.mark.mnist
@needs_compiler
@pytest.mark.parametrize(("images", "lost_points"), [(1_000, 0.1), pytest.param(10_000, 0.05, marks=pytest.mark.slow)])
def test_under_8k_in_int8_loses_hardly_any_accuracy(tmp_path, images, lost_points):
    """One image of 1,000 is a tenth of a point."""
    done = write_int8(load("under_8k"), "under_8k", mnist(images), tmp_path)
    assert done.agreement.images == images
    assert done.agreement.lost_points <= lost_points
    assert done.source.data_bytes <= 12_000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["main.c", "network.c", "network.h"]
