"""BatchNorm and dropout in few passes over memory, for CPUs.

On a CPU a compact network's time goes into moving activations, not into arithmetic, and into drawing a random number
for every one of them. Here BatchNorm reads its input as long rows in channels-last order, dropout draws only the
positions it drops, its scale rides on BatchNorm's affine map, and zeros are written in place. `benchmarks/README.md`
has the figures. On other devices and in other precisions torch's own kernels run.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def drop_positions(size: int, p: float) -> Tensor:
    """Ascending positions in [0, size), each there independently with probability `p` in (0, 1).

    The gaps between drops of a Bernoulli process are geometric, so about size · p numbers are drawn and not size
    (Devroye 1986, Non-Uniform Random Variate Generation, X.2). From torch's global random state.
    """
    expected = size * p
    draws = int(expected + 6 * math.sqrt(expected) + 12)
    # log of 1 - u, which lies in (0, 1]; log1p of -u has no vectorised kernel and takes three times as long.
    gaps = torch.rand(draws).neg_().add_(1).log_().mul_(1 / math.log1p(-p))
    positions = gaps.to(torch.int64).add_(1).cumsum(0).sub_(1)
    reached = int(positions[-1]) + 1
    if reached < size:  # about once in a billion calls the draws do not reach the end
        return torch.cat((positions, drop_positions(size - reached, p) + reached))
    return positions[: torch.searchsorted(positions, size)]


def _rows(images: Tensor) -> Tensor:
    """(N, C, H, W) as a matrix (N·H, W·C); no copy for channels-last. Long rows are what vector units like."""
    n, channels, height, width = images.shape
    return images.permute(0, 2, 3, 1).reshape(n * height, width * channels).contiguous()


def _images(rows: Tensor, shape: torch.Size) -> Tensor:
    n, channels, height, width = shape
    return rows.view(n, height, width, channels).permute(0, 3, 1, 2)


def _channel_sums(first: Tensor, second: Tensor, channels: int) -> tuple[Tensor, Tensor]:
    sums = torch.stack((first.sum(0), second.sum(0))).view(2, -1, channels).sum(1)
    return sums[0], sums[1]


class _NormDropout(torch.autograd.Function):
    """y = dropout(norm(x)): (N, C, H, W) → the same, with the batch mean and variance (C,) besides."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, p: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        width, keep, rows = x.shape[3], 1 - p, _rows(x)
        count = x.numel() // x.shape[1]
        squares = rows * rows
        mean, moment = (total / count for total in _channel_sums(rows, squares, x.shape[1]))
        variance = torch.addcmul(moment, mean, mean, value=-1).clamp_(min=0)
        inverse = (variance + eps).rsqrt_()
        scale = weight * inverse / keep
        shift = torch.addcmul(bias / keep, mean, scale, value=-1)
        out = torch.addcmul(shift.repeat(width), rows, scale.repeat(width), out=squares)
        dropped = None
        if p:
            dropped = drop_positions(out.numel(), p)
            out.view(-1).index_fill_(0, dropped, 0)
        ctx.save_for_backward(rows, mean, inverse, scale, dropped)
        ctx.shape, ctx.keep = x.shape, keep
        ctx.mark_non_differentiable(mean, variance)
        return _images(out, x.shape), mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        rows, mean, inverse, scale, dropped = ctx.saved_tensors
        width, count, g = ctx.shape[3], rows.numel() // ctx.shape[1], _rows(gradient)
        if dropped is not None:
            # In place: in a chain of layers this gradient has no other reader, and `Residual` sees to its own.
            g.view(-1).index_fill_(0, dropped, 0)
        products = g * rows
        sum_g, sum_gx = _channel_sums(g, products, ctx.shape[1])
        sum_gn = torch.addcmul(sum_gx, sum_g, mean, value=-1) * inverse  # Σ g · normalised x
        slope = scale * inverse * sum_gn / -count
        constant = -(slope * mean + sum_g * scale / count)
        dx = torch.addcmul(constant.repeat(width), rows, slope.repeat(width), out=products)
        dx.addcmul_(g, scale.repeat(width))
        return _images(dx, ctx.shape), sum_gn / ctx.keep, sum_g / ctx.keep, None, None


def fits(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype is torch.float32


class NormDropout(nn.Module):
    """BatchNorm2d, then dropout of single activations with probability `p`; 0 = off. Keeps the shape (N, C, H, W)."""

    def __init__(self, channels: int, p: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.dropout = Dropout(p) if p else None

    def forward(self, x: Tensor) -> Tensor:
        norm = self.norm
        if not norm.training or norm.momentum is None or not fits(x):  # None: a cumulative mean is being taken
            y: Tensor = norm(x)
            return y if self.dropout is None else self.dropout(y)
        p = self.dropout.p if self.dropout is not None and self.dropout.training else 0.0
        y, mean, variance = _NormDropout.apply(x, norm.weight, norm.bias, norm.eps, p)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert norm.num_batches_tracked is not None
        with torch.no_grad():
            count = x.numel() // x.shape[1]
            norm.running_mean.lerp_(mean, norm.momentum)
            norm.running_var.lerp_(variance * (count / max(count - 1, 1)), norm.momentum)
            norm.num_batches_tracked.add_(1)
        return y


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float) -> Tensor:
        ctx.keep = 1 - p
        y = x / ctx.keep
        ctx.dropped = drop_positions(y.numel(), p)
        return _zeroed(y, ctx.dropped)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _zeroed(gradient / ctx.keep, ctx.dropped), None


def _zeroed(x: Tensor, positions: Tensor) -> Tensor:
    """`x` with zeros written at `positions`, counted in channels-last order, so that both passes count alike."""
    flat = x.permute(0, 2, 3, 1).reshape(-1) if x.dim() == 4 else x.reshape(-1)
    flat.index_fill_(0, positions, 0)
    if x.dim() == 4:
        return _images(flat, x.shape)
    return flat.view(x.shape)


class Dropout(nn.Dropout):
    """nn.Dropout that draws only what it drops. `p` in (0, 1)."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not fits(x):
            return F.dropout(x, self.p, self.training)
        y: Tensor = _Dropout.apply(x, self.p)
        return y
