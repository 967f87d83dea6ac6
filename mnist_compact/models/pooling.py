"""Max-pooling by compiled loops on CPUs. torch's own stores an eight-byte index for every maximum, which is slow.

Pooling takes half of the time that a compact network spends outside its convolutions and norms
(`benchmarks/README.md`).
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mnist_compact.models.kernels.layout import fits
from mnist_compact.models.kernels.numbers import narrowed, widened
from mnist_compact.models.kernels.thread_pool import (
    BLOCKS,
    Array,
    ThreadPoolFunction,
    addresses,
    compiled,
    matrix,
    my_blocks,
    record_at,
)


class MaxPool(nn.MaxPool2d):
    """Max-pooling of 2×2 windows: (N, C, H, W) → (N, C, H // 2, W // 2). An odd last row or column is dropped."""

    def __init__(self) -> None:
        super().__init__(2)

    def forward(self, x: Tensor) -> Tensor:
        if not fits(x, torch.bfloat16):
            return super().forward(x)  # type: ignore[no-any-return]
        y: Tensor = _MaxPool.apply(x)
        return y


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        n, channels, height, width = x.shape
        x = x.contiguous(memory_format=torch.channels_last)
        shape = (n, channels, height // 2, width // 2)
        y = torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last)
        place = torch.empty(shape, dtype=torch.uint8)
        ctx.known, ctx.place, ctx.shape = (place.data_ptr(), n, height, width, channels), place, x.shape
        pool(x.dtype, x.data_ptr(), y.data_ptr(), *ctx.known)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        of_x = torch.empty(ctx.shape, dtype=gradient.dtype, memory_format=torch.channels_last)
        unpool(gradient.dtype, of_x.data_ptr(), gradient.data_ptr(), *ctx.known)
        return of_x


@compiled
def _pool_row(top: Array, low: Array, out: Array, place: Array, channels: int) -> None:
    """Pool two rows. As in torch, the first of equal values is chosen, and NaN always wins."""
    for pair in range(out.size // channels):
        left, right, at = 2 * pair * channels, (2 * pair + 1) * channels, pair * channels
        for c in range(channels):
            largest, which = widened(top[left + c]), np.uint8(0)
            value = widened(top[right + c])
            if value > largest or value != value:
                largest, which = value, np.uint8(1)
            value = widened(low[left + c])
            if value > largest or value != value:
                largest, which = value, np.uint8(2)
            value = widened(low[right + c])
            if value > largest or value != value:
                largest, which = value, np.uint8(3)
            out[at + c] = narrowed(largest, out)
            place[at + c] = which


@compiled
def _unpool_row(gradient: Array, which: Array, top: Array, low: Array, channels: int) -> None:
    """Copy each gradient to the position of its maximum, by products with 0 and 1: branches would not be vectorised."""
    number = gradient.dtype.type
    for pair in range(gradient.size // channels):
        left, right, at = 2 * pair * channels, (2 * pair + 1) * channels, pair * channels
        for c in range(channels):
            top[left + c] = gradient[at + c] * number(which[at + c] == 0)
        for c in range(channels):
            top[right + c] = gradient[at + c] * number(which[at + c] == 1)
        for c in range(channels):
            low[left + c] = gradient[at + c] * number(which[at + c] == 2)
        for c in range(channels):
            low[right + c] = gradient[at + c] * number(which[at + c] == 3)


def _pool(at: Any) -> None:
    call = record_at(at)
    half_height, half_row = call.height // 2, call.width // 2 * call.channels
    rows = matrix(call.rows, call.images * call.height, call.width * call.channels, call.stored)
    out = matrix(call.out, call.images * half_height, half_row, call.stored)
    place = matrix(call.place, call.images * half_height, half_row, np.uint8(1))
    first, last = my_blocks()
    for i in range(len(out) * first // BLOCKS, len(out) * last // BLOCKS):
        above = i // half_height * call.height + i % half_height * 2
        _pool_row(rows[above], rows[above + 1], out[i], place[i], call.channels)


def _unpool(at: Any) -> None:
    call = record_at(at)
    half_height, half_row = call.height // 2, call.width // 2 * call.channels
    rows = matrix(call.rows, call.images * call.height, call.width * call.channels, call.stored)
    gradient = matrix(call.out, call.images * half_height, half_row, call.stored)
    place = matrix(call.place, call.images * half_height, half_row, np.uint8(1))
    first, last = my_blocks()
    for i in range(len(gradient) * first // BLOCKS, len(gradient) * last // BLOCKS):
        above = i // half_height * call.height + i % half_height * 2
        _unpool_row(gradient[i], place[i], rows[above], rows[above + 1], call.channels)
        rows[above : above + 2, 2 * half_row :] = 0  # an odd last column
        if i % half_height == half_height - 1:
            rows[above + 2 : (i // half_height + 1) * call.height] = 0  # an odd last row


_POOLING = [
    *addresses("rows", "out", "place"),
    *[("images", np.int64), ("height", np.int64), ("width", np.int64), ("channels", np.int64)],
]
pool, unpool = ThreadPoolFunction(_pool, _POOLING), ThreadPoolFunction(_unpool, _POOLING)
