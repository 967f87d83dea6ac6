"""BatchNorm, ReLU and dropout as one layer, which runs on CPUs with the kernels of `kernels/batch_norm.py`.

On a CPU, a compact network spends most of its time on moving activations and on drawing a random number for each of
them, not on arithmetic. `benchmarks/README.md` has the figures. On other devices and in double precision, torch's own
layers run, and so they do for the evaluation of bfloat16.

N is the number of images, C the number of channels, H and W are the height and width in px.
"""

import math
from enum import Enum
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mnist_compact.models.kernels import batch_norm
from mnist_compact.models.kernels.dropout import drop, drop_guide
from mnist_compact.models.kernels.layout import fits, images_of, rows_of
from mnist_compact.models.kernels.thread_pool import BLOCKS, Array


class ReluPosition(Enum):
    """The position of the ReLU in a `NormDropout`."""

    none = "none"
    before = "before"  # before the norm
    after = "after"  # after the norm and before dropout


Draws = tuple[int, Array, float]


def _draws(p: float) -> Draws:
    """Return what the kernels need for dropout: a seed from torch's global random state, the guide and log(1 - p)."""
    if not p:
        return 0, NO_GUIDE, 0.0
    return int(torch.randint(2**63 - 1, ()).item()), drop_guide(p), math.log1p(-p)


NO_GUIDE = np.empty(0, np.int32)


class _NormDropout(torch.autograd.Function):
    """The layer in training, (N, C, H, W) → (N, C, H, W). It updates the norm's running statistics."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, norm: nn.BatchNorm2d, p: float, relu: ReluPosition
    ) -> Tensor:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        n, channels, height, width = x.shape
        x = x.contiguous(memory_format=torch.channels_last)
        y = torch.empty_like(x)
        # Rows: mean, variance, then the sums and then the products of each block of rows.
        sums = torch.empty(2 + 2 * BLOCKS, channels, dtype=torch.float64)
        mean, row = sums.data_ptr(), 8 * channels
        seed, guide, log_keep = _draws(p)
        known = (
            *(x.data_ptr(), y.data_ptr(), weight.data_ptr()),
            *(mean, mean + row, mean + 2 * row, mean + (2 + BLOCKS) * row),
            *(
                n * height,
                width * channels,
                channels,
                norm.eps,
                relu is ReluPosition.before,
                relu is ReluPosition.after,
            ),
            *(seed, guide.ctypes.data, log_keep),
        )
        running = (norm.running_mean.data_ptr(), norm.running_var.data_ptr(), norm.momentum)
        batch_norm.forward(x.dtype, *known, bias.data_ptr(), *running)
        # The tensors are stored on the context: `save_for_backward` takes longer than the work of the smaller layers.
        # They are stored to keep their memory alive. y itself would keep its own graph alive, so it is detached.
        ctx.known, ctx.kept = known, (x, y.detach(), weight, sums, guide)
        ctx.versions = [tensor._version for tensor in ctx.kept[:3]]
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        if [tensor._version for tensor in ctx.kept[:3]] != ctx.versions:
            raise RuntimeError(
                "the input, output or weight of a NormDropout was changed in place before its backward pass"
            )
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        of_x = torch.empty_like(gradient)  # other code may read the gradient too
        of_weight, of_bias = torch.empty(2, gradient.shape[1], dtype=ctx.kept[2].dtype)
        gradients = (gradient, of_x, of_weight, of_bias)
        batch_norm.backward(gradient.dtype, *ctx.known, *(tensor.data_ptr() for tensor in gradients))
        return of_x, of_weight, of_bias, None, None, None


class NormDropout(nn.Module):
    """BatchNorm2d, an optional ReLU, and dropout of single activations; keeps the shape (N, C, H, W).

    Args:
        channels: Number of channels, C.
        p: Dropout probability, in [0, 1); 0 = off.
        relu: Position of the ReLU.
    """

    def __init__(self, channels: int, p: float = 0.0, relu: ReluPosition = ReluPosition.none) -> None:
        super().__init__()
        self.relu = relu
        self.rectifier = None if relu is ReluPosition.none else nn.ReLU()
        self.norm = nn.BatchNorm2d(channels)
        self.dropout = Dropout(p) if p else None

    def forward(self, x: Tensor) -> Tensor:
        norm = self.norm
        if not norm.training:
            return self._evaluate(x) if fits(x) and not torch.is_grad_enabled() else self._plain(x)
        if not fits(x, torch.bfloat16) or norm.momentum is None:  # None: BatchNorm computes a cumulative mean
            return self._plain(x)
        p = self.dropout.p if self.dropout is not None and self.dropout.training else 0.0
        y: Tensor = _NormDropout.apply(x, norm.weight, norm.bias, norm, p, self.relu)
        assert norm.num_batches_tracked is not None
        norm.num_batches_tracked += 1
        return y

    def _plain(self, x: Tensor) -> Tensor:
        """Compute the layer with torch's own layers."""
        if self.rectifier is not None and self.relu is ReluPosition.before:
            x = self.rectifier(x)
        x = self.norm(x)
        if self.rectifier is not None and self.relu is ReluPosition.after:
            x = self.rectifier(x)
        return x if self.dropout is None else self.dropout(x)

    def _evaluate(self, x: Tensor) -> Tensor:
        """Normalise with the running statistics in one pass."""
        norm, rows = self.norm, rows_of(x)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight.detach() * torch.rsqrt(norm.running_var + norm.eps)
        mean, slope, shift = norm.running_mean.numpy(), scale.numpy(), norm.bias.detach().numpy()
        before, after, out = self.relu is ReluPosition.before, self.relu is ReluPosition.after, np.empty_like(rows)
        batch_norm.affine(rows, out, mean, slope, shift, before, after, 0, len(rows))
        return images_of(out, x.shape)


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float) -> Tensor:
        ctx.p, ctx.draws = p, _draws(p)
        return _dropped(x, p, ctx.draws)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _dropped(gradient, ctx.p, ctx.draws), None


def _dropped(x: Tensor, p: float, draws: Draws) -> Tensor:
    """Return x / (1 - p) with zeros at positions in channels-last order, which are the same in both passes."""
    seed, guide, log_keep = draws
    if x.dim() == 4:
        rows = rows_of(x) / np.float32(1 - p)
        drop(rows, np.uint64(seed), guide, log_keep)
        return images_of(rows, x.shape)
    y = (x / (1 - p)).contiguous()
    drop(y.numpy().reshape(len(y), -1), np.uint64(seed), guide, log_keep)
    return y


class Dropout(nn.Dropout):
    """nn.Dropout that draws random numbers only for the activations that it drops; `p` is in (0, 1)."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not fits(x):
            return F.dropout(x, self.p, self.training)
        y: Tensor = _Dropout.apply(x, self.p)
        return y
