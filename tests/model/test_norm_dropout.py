"""The fast layers against plain torch."""

import math

import pytest
import torch
from torch import nn

from mnist_compact.model import norm_dropout
from mnist_compact.model.blocks import Residual
from mnist_compact.model.norm_dropout import Dropout, NormDropout, drop_positions

SHAPES = [(16, 8, 26, 26), (32, 10, 2, 2), (9, 14, 5, 7), (8, 3, 1, 1)]
FORMATS = [torch.channels_last, torch.contiguous_format]


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("p", [0.0, 0.05, 0.5])
@pytest.mark.parametrize("shape", SHAPES)
def test_norm_dropout_is_batchnorm_then_dropout(monkeypatch, shape, p, memory_format):
    monkeypatch.setattr(norm_dropout, "fits", lambda x: True)  # in double precision, for tight bounds
    torch.manual_seed(0)
    x = (2 * torch.randn(shape) + 1).double().contiguous(memory_format=memory_format)
    gradient = torch.randn(shape).double().contiguous(memory_format=memory_format)
    ours, plain = NormDropout(shape[1], p).double(), nn.BatchNorm2d(shape[1]).double()
    for norm in (ours.norm, plain):
        nn.init.uniform_(norm.weight, generator=torch.Generator().manual_seed(1))
        nn.init.uniform_(norm.bias, generator=torch.Generator().manual_seed(2))
    inputs = [x.clone().requires_grad_(), x.clone().requires_grad_()]

    torch.manual_seed(5)
    y = ours(inputs[0])
    torch.manual_seed(5)
    keep = torch.ones(x.numel()).double()
    if p:
        keep[drop_positions(x.numel(), p)] = 0
    n, c, h, w = shape
    expected = plain(inputs[1]) * keep.view(n, h, w, c).permute(0, 3, 1, 2) / (1 - p)
    torch.testing.assert_close(y, expected)

    y.backward(gradient.clone(memory_format=memory_format))
    expected.backward(gradient)
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad)
    for mine, theirs in zip(ours.norm.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad)
    for name, buffer in plain.named_buffers():
        torch.testing.assert_close(ours.norm.get_buffer(name), buffer)


def test_evaluation_is_plain_batchnorm():
    layer = NormDropout(4, 0.5)
    layer(torch.randn(8, 4, 6, 6))
    layer.eval()
    x = torch.randn(3, 4, 6, 6)
    assert torch.equal(layer(x), layer.norm(x))


@pytest.mark.parametrize("shape", [*SHAPES, (64, 30)])
def test_dropout_zeroes_and_scales_and_sends_back_the_same(shape):
    torch.manual_seed(0)
    x = (1 + torch.rand(shape)).requires_grad_()
    y = Dropout(0.3)(x)
    kept = y != 0
    torch.testing.assert_close(y[kept], x[kept] / 0.7)
    y.backward(torch.ones_like(y))
    torch.testing.assert_close(x.grad, kept / 0.7)


def test_dropout_is_off_in_evaluation():
    x = torch.randn(4, 3, 5, 5)
    assert torch.equal(Dropout(0.9).eval()(x), x)


@pytest.mark.parametrize("p", [0.001, 0.05, 0.3, 0.9])
def test_positions_are_independent_bernoulli_draws(p):
    """Rate, pairs of neighbours, and spread of the count, each within 5 standard errors."""
    torch.manual_seed(3)
    size, times = 100_000, 60
    kept = torch.zeros(times, size, dtype=torch.bool)
    for row in kept:
        positions = drop_positions(size, p)
        assert positions[0] >= 0
        assert positions[-1] < size
        assert (positions.diff() > 0).all()
        row[positions] = True
    total = size * times
    assert abs(kept.float().mean() - p) < 5 * math.sqrt(p * (1 - p) / total)
    pairs = (kept[:, 1:] & kept[:, :-1]).float().mean()
    assert abs(pairs - p * p) < 5 * math.sqrt(3 * p * p / total)
    # Every place alike: the counts over 60 draws have a binomial's variance.
    variance = kept.sum(0).float().var()
    assert abs(variance / (times * p * (1 - p)) - 1) < 0.15
    assert abs(kept[:, -100:].float().mean() - p) < 6 * math.sqrt(p * (1 - p) / (100 * times))


def test_positions_reach_the_end_when_the_first_draws_do_not(monkeypatch):
    draws, real = [], torch.rand

    def short_first(n):
        draws.append(n)
        return real(n) * 1e-3 if len(draws) == 1 else real(n)  # small draws are short gaps

    monkeypatch.setattr(norm_dropout.torch, "rand", short_first)
    positions = drop_positions(10_000, 0.01)
    assert len(draws) > 1
    assert positions[-1] > 5_000
    assert (positions.diff() > 0).all()


def test_residual_gradients_are_not_spoilt_by_dropout_in_place():
    torch.manual_seed(0)
    block = Residual(nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), NormDropout(4, 0.5)), 4, 4)
    x = torch.randn(8, 4, 6, 6, requires_grad=True)
    torch.manual_seed(1)
    y = block.body(x)
    y.backward(torch.ones_like(y))
    body_gradient, x.grad = x.grad, None
    torch.manual_seed(1)
    y = block(x)
    y.backward(torch.ones_like(y))
    torch.testing.assert_close(x.grad, body_gradient + 1)
