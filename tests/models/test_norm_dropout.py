"""The compiled layers agree with plain torch."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from mnist_compact.models import norm_dropout
from mnist_compact.models.blocks import Residual
from mnist_compact.models.kernels import batch_norm, dropout
from mnist_compact.models.norm_dropout import Dropout, NormDropout, ReluPosition

SHAPES = [(16, 8, 26, 26), (32, 10, 2, 2), (9, 14, 5, 7), (8, 3, 1, 1)]
FORMATS = [torch.channels_last, torch.contiguous_format]


def drop_positions(size, p, seed, rows=100):
    """Positions that the kernels drop in a matrix of `rows` rows, counted in channels-last order."""
    kept = np.ones((rows, size // rows), np.float32)
    dropout.drop(kept, np.uint64(seed), dropout.drop_guide(p), math.log1p(-p))
    return torch.from_numpy((kept.reshape(-1) == 0).nonzero()[0])


def seed_drawn_after(seed):
    torch.manual_seed(seed)
    return torch.randint(2**63 - 1, ()).item()


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("relu", ReluPosition)
@pytest.mark.parametrize("p", [0.0, 0.05, 0.5])
@pytest.mark.parametrize("shape", SHAPES)
def test_norm_dropout_agrees_with_batchnorm_relu_and_dropout(monkeypatch, shape, p, relu, memory_format):
    monkeypatch.setattr(norm_dropout, "fits", lambda x, *others: True)  # in double precision, for tight bounds
    torch.manual_seed(0)
    x = (2 * torch.randn(shape) + 1).double().contiguous(memory_format=memory_format)
    gradient = torch.randn(shape).double().contiguous(memory_format=memory_format)
    ours, plain = NormDropout(shape[1], p, relu).double(), nn.BatchNorm2d(shape[1]).double()
    for norm in (ours.norm, plain):
        nn.init.uniform_(norm.weight, generator=torch.Generator().manual_seed(1))
        nn.init.uniform_(norm.bias, generator=torch.Generator().manual_seed(2))
    inputs = [x.clone().requires_grad_(), x.clone().requires_grad_()]

    keep = torch.ones(x.numel()).double()
    if p:
        keep[drop_positions(x.numel(), p, seed_drawn_after(5), rows=shape[0] * shape[2])] = 0
    torch.manual_seed(5)
    y = ours(inputs[0])
    n, c, h, w = shape
    expected = plain(inputs[1].relu() if relu is ReluPosition.before else inputs[1])
    if relu is ReluPosition.after:
        expected = expected.relu()
    expected = expected * keep.view(n, h, w, c).permute(0, 3, 1, 2) / (1 - p)
    torch.testing.assert_close(y, expected)

    y.backward(gradient.clone(memory_format=memory_format))
    expected.backward(gradient)
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad)
    for actual, theirs in zip(ours.norm.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(actual.grad, theirs.grad)
    for name, buffer in plain.named_buffers():
        torch.testing.assert_close(ours.norm.get_buffer(name), buffer)


@pytest.mark.parametrize("relu", ReluPosition)
@pytest.mark.parametrize("p", [0.0, 0.3])
def test_bfloat16_differs_from_float32_by_rounding_only(p, relu):
    """The layer computes in float32, so outputs and gradients have the errors of one rounding to 8 significant bits."""
    results = {}
    for dtype in (torch.bfloat16, torch.float32):
        torch.manual_seed(0)
        layer = NormDropout(8, p, relu)
        x = torch.randn(16, 8, 9, 9).bfloat16().to(dtype).to(memory_format=torch.channels_last).requires_grad_()
        y = layer(x)
        y.backward(torch.randn(y.shape).bfloat16().to(dtype))
        assert y.dtype == x.grad.dtype == dtype
        results[dtype] = [y, x.grad, *(each.grad for each in layer.parameters()), *layer.buffers()]
    (y, of_x, *rest), (expected_y, expected_of_x, *expected_rest) = results.values()
    torch.testing.assert_close(y.float(), expected_y, rtol=2**-8, atol=1e-6)
    torch.testing.assert_close(of_x.float(), expected_of_x, rtol=2**-7, atol=2**-7)  # without dropout, one rounding
    torch.testing.assert_close(rest, expected_rest, rtol=1e-5, atol=1e-5)


def test_bfloat16_is_rounded_like_torch_rounds():
    """Random bits include infinities, NaN and denormal numbers; one half of a last place is rounded to even."""
    bits = np.random.default_rng(0).integers(2**32, size=100_000, dtype=np.uint32)
    bits[::3] = (bits[::3] & 0xFFFF0000) | 0x8000
    bits[1::9] |= 0x7F800000
    rows = bits.view(np.float32).reshape(1000, 100)
    zeros, ones, out = np.zeros(100), np.ones(100), np.empty(rows.shape, np.uint16)
    batch_norm.affine(rows, out, zeros, ones, zeros, False, False, 0, len(rows))
    expected, found = torch.from_numpy(rows).bfloat16(), torch.from_numpy(out).view(torch.bfloat16)
    assert torch.equal(found.isnan(), expected.isnan())
    assert torch.equal(found.nan_to_num(), expected.nan_to_num())


@pytest.mark.parametrize("relu", ReluPosition)
def test_evaluation_agrees_with_batchnorm_and_relu(relu):
    layer = NormDropout(4, 0.5, relu)
    layer(torch.randn(8, 4, 6, 6))
    layer.eval()
    x = torch.randn(3, 4, 6, 6)
    expected = layer.norm(x.relu() if relu is ReluPosition.before else x)
    expected = expected.relu() if relu is ReluPosition.after else expected
    torch.testing.assert_close(layer(x.clone()), expected)  # with gradients enabled, torch's own layers are used
    with torch.inference_mode():
        torch.testing.assert_close(layer(x.clone()), expected)


@pytest.mark.parametrize("relu", [ReluPosition.before, ReluPosition.after])
def test_nan_is_kept(relu):
    """ReLU must not replace the NaN of a diverged network by 0."""
    x = torch.randn(4, 3, 5, 5)
    x[0, 1, 2, 2] = torch.nan
    assert NormDropout(3, 0.0, relu)(x)[:, 1].isnan().any()


@pytest.mark.parametrize("shape", [*SHAPES, (64, 30)])
def test_dropout_scales_values_and_gradients_equally(shape):
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
    size, times = 100_000, 60
    kept = torch.zeros(times, size, dtype=torch.bool)
    for seed, row in enumerate(kept):
        row[drop_positions(size, p, seed)] = True
    total = size * times
    assert abs(kept.float().mean() - p) < 5 * math.sqrt(p * (1 - p) / total)
    pairs = (kept[:, 1:] & kept[:, :-1]).float().mean()
    assert abs(pairs - p * p) < 5 * math.sqrt(3 * p * p / total)
    # All positions are alike: the counts over 60 draws have the variance of a binomial distribution.
    variance = kept.sum(0).float().var()
    assert abs(variance / (times * p * (1 - p)) - 1) < 0.15
    assert abs(kept[:, -100:].float().mean() - p) < 6 * math.sqrt(p * (1 - p) / (100 * times))


@pytest.mark.parametrize("p", [0.001, 0.05, 0.5])
def test_drop_guide_does_not_change_the_draws(p):
    by_logarithms = np.ones((100, 2000), np.float32)
    undecided = np.full_like(dropout.drop_guide(p), -1)
    dropout.drop(by_logarithms, np.uint64(9), undecided, math.log1p(-p))
    positions = torch.from_numpy((by_logarithms.reshape(-1) == 0).nonzero()[0])
    assert torch.equal(drop_positions(200_000, p, 9), positions)


@pytest.mark.parametrize("threads", [2, 3, 5, 17, 40])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("relu", ReluPosition)
def test_results_do_not_depend_on_the_number_of_threads(relu, dtype, threads):
    def everything(threads):
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        layer, x = NormDropout(6, 0.1, relu), torch.randn(11, 6, 9, 9).to(dtype).requires_grad_()
        y = layer(x)
        y.backward(torch.randn(y.shape).to(dtype))
        return [y, x.grad, *(p.grad for p in layer.parameters()), *layer.buffers()]

    for one, several in zip(everything(1), everything(threads), strict=True):
        assert torch.equal(one, several)


def test_drop_guide_decides_almost_all_draws():
    assert (dropout.drop_guide(0.05) >= 0).mean() > 0.95


def against_torch(mean, spread, relu):
    """Results of a training step on activations of this mean and spread: the package in float32, torch in float64."""
    torch.manual_seed(0)
    x = (mean + spread * torch.randn(32, 4, 9, 9)).to(memory_format=torch.channels_last)
    gradient = torch.randn(x.shape)
    ours, plain = NormDropout(4, 0.0, relu), nn.BatchNorm2d(4).double()
    inputs = [x.clone().requires_grad_(), x.double().requires_grad_()]
    y = ours(inputs[0])
    expected = plain(inputs[1].relu() if relu is ReluPosition.before else inputs[1])
    expected = expected.relu() if relu is ReluPosition.after else expected
    y.backward(gradient)
    expected.backward(gradient.double())
    of_x = [tensor.grad for tensor in inputs]
    deviation = torch.sqrt(plain.running_var + plain.eps)  # of_x is in parts of it
    return {
        "y": (y, expected),
        "of x": (of_x[0] * deviation.view(-1, 1, 1), of_x[1] * deviation.view(-1, 1, 1)),
        **{name: (p.grad, plain.get_parameter(name).grad) for name, p in ours.norm.named_parameters()},
        **{name: (buffer, plain.get_buffer(name)) for name, buffer in ours.norm.named_buffers()},
    }


@pytest.mark.parametrize("relu", [ReluPosition.none, ReluPosition.before])
@pytest.mark.parametrize(
    ("mean", "spread"), [(0, 1), (0, 1e-4), (3, 0.5), (100, 0.05), (1e4, 1), (-100, 0.05), (-2, 1e3), (1e3, 1e3)]
)
def test_moments_are_accurate_for_any_mean_and_spread(mean, spread, relu):
    for name, (found, expected) in against_torch(mean, spread, relu).items():
        torch.testing.assert_close(found.double(), expected.double(), rtol=3e-5, atol=3e-5, msg=lambda m, n=name: n + m)


def test_evaluation_is_accurate_for_any_mean_and_spread():
    layer = NormDropout(4).eval()
    layer.norm.running_mean.fill_(100)
    layer.norm.running_var.fill_(0.05**2)
    x = 100 + 0.05 * torch.randn(8, 4, 9, 9)
    with torch.inference_mode():
        found = layer(x)
    expected = (x.double() - 100) / math.sqrt(float(layer.norm.running_var[0]) + layer.norm.eps)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


READERS = {
    "added to its input": lambda x, y: (y + x).square(),  # an addition passes the same gradient to both inputs
    "added to itself": lambda x, y: (y + y).square(),
    "read by several": lambda x, y: (y + x + y.tanh()) * y,
}


@pytest.mark.parametrize("readers", READERS.values(), ids=READERS)
@pytest.mark.parametrize("relu", ReluPosition)
@pytest.mark.parametrize("p", [0.0, 0.5])
def test_gradients_with_other_uses_of_input_and_output(monkeypatch, p, relu, readers):
    monkeypatch.setattr(norm_dropout, "fits", lambda x, *others: True)
    torch.manual_seed(0)
    x = torch.randn(8, 4, 6, 6).double().to(memory_format=torch.channels_last)
    layer, plain = NormDropout(4, p, relu).double(), nn.BatchNorm2d(4).double()
    keep = torch.ones(x.numel()).double()
    if p:
        keep[drop_positions(x.numel(), p, seed_drawn_after(5), rows=48)] = 0
    keep = keep.view(8, 6, 6, 4).permute(0, 3, 1, 2) / (1 - p)

    def by_torch(x):
        y = plain(x.relu() if relu is ReluPosition.before else x)
        return (y.relu() if relu is ReluPosition.after else y) * keep

    gradients = []
    for between in (layer, by_torch):
        given = x.clone().requires_grad_()
        twice = 1 * given
        torch.manual_seed(5)
        readers(twice, between(twice)).sum().backward()
        gradients.append(given.grad)
    torch.testing.assert_close(*gradients)
    for actual, theirs in zip(layer.norm.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(actual.grad, theirs.grad)


def test_incoming_gradient_is_not_changed():
    layer, x = NormDropout(4, 0.5), torch.randn(8, 4, 6, 6).requires_grad_()
    gradient = torch.randn(8, 4, 6, 6).to(memory_format=torch.channels_last)
    before = gradient.clone()
    layer(x).backward(gradient)
    assert torch.equal(gradient, before)


def test_evaluation_does_not_change_its_input():
    x = torch.randn(8, 4, 6, 6).to(memory_format=torch.channels_last)
    before = x.clone()
    with torch.inference_mode():
        NormDropout(4, 0.5, ReluPosition.after).eval()(x)
    assert torch.equal(x, before)


def test_in_place_change_of_saved_tensors_is_refused():
    """Torch's own layers refuse it too."""
    y = NormDropout(4, 0.5)(torch.randn(8, 4, 6, 6).requires_grad_())
    with pytest.raises(RuntimeError, match="changed in place"):
        y.relu_().sum().backward()


def test_dropout_of_the_body_does_not_change_residual_gradients():
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


@pytest.mark.parametrize("p", [1e-20, 5e-324])
def test_extremely_rare_dropout_drops_nothing(p):
    guide = dropout.drop_guide(p)
    assert ((guide == -1) | (guide == dropout.LONGEST_GAP)).all()
    rows = np.ones((64, 4), np.float32)
    dropout.drop(rows, np.uint64(3), guide, math.log1p(-p))
    assert (rows == 1).all()
