"""The compiled max pooling agrees with torch."""

import pytest
import torch
import torch.nn.functional as F

from mnist_compact.models import pooling
from mnist_compact.models.pooling import MaxPool


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("shape", [(4, 8, 24, 24), (3, 10, 5, 7), (2, 3, 2, 2), (1, 1, 28, 28), (5, 33, 6, 9)])
def test_max_pool_agrees_with_torch_forwards_and_backwards(shape, memory_format, dtype, threads):
    torch.set_num_threads(threads)
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(-2, 3, shape, generator=generator).to(dtype).relu()  # with many equal values in a window
    ours = x.clone(memory_format=memory_format).requires_grad_()
    reference_input = x.clone().requires_grad_()
    y, expected = MaxPool()(ours), F.max_pool2d(reference_input, 2)
    assert torch.equal(y, expected)
    gradient = torch.randn(expected.shape, generator=generator).to(dtype)
    y.backward(gradient.contiguous(memory_format=memory_format))
    expected.backward(gradient)
    assert torch.equal(ours.grad, reference_input.grad)


def test_expanded_gradient_is_accepted():
    """A mean over the image passes such a gradient: a tensor whose entries share their memory."""
    x = torch.randn(2, 3, 4, 4, requires_grad=True)
    MaxPool()(x).mean().backward()
    assert x.grad.count_nonzero() == 2 * 3 * 4
    torch.testing.assert_close(x.grad.sum(), torch.tensor(1.0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_nan_is_kept(dtype):
    for place in range(4):
        x = torch.ones(1, 2, 2, 2, dtype=dtype)
        x[0, 1, place // 2, place % 2] = torch.nan
        assert MaxPool()(x).flatten().isnan().tolist() == [False, True]


def test_other_devices_and_precisions_use_torch(monkeypatch):
    monkeypatch.setattr(pooling, "pool", None)
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    assert torch.equal(MaxPool()(x), F.max_pool2d(x, 2))
