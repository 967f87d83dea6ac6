"""BatchNorm, ReLU and dropout on a CPU in as few passes over the activations as possible.

A matrix in this module is a batch in channels-last order, (N·H, W·C): long rows suit vector units, and entry j of a row
belongs to channel j % C. The threads share the work in blocks of rows (see `thread_pool.py`). Functions are compiled at
the first call and then cached on disk beside this file, or in the user's cache folder if this folder is read-only.
"""

import math
from typing import Any

import numpy as np

from mnist_compact.models.kernels.dropout import GUIDE_SIZE, drop_block
from mnist_compact.models.kernels.moments import add_gradient, add_moments, along, near_mean, over_blocks
from mnist_compact.models.kernels.numbers import narrowed, number, widened
from mnist_compact.models.kernels.thread_pool import (
    BLOCKS,
    Array,
    ThreadPoolFunction,
    addresses,
    compiled,
    matrix,
    my_blocks,
    record_at,
    rows_of_block,
    vector,
    wait_for_all,
)


@compiled
def affine(
    rows: Array,
    out: Array,
    centre: Array,
    scale: Array,
    shift: Array,
    relu_before: bool,
    relu_after: bool,
    start: int,
    end: int,
) -> None:
    """Compute out = scale · (rows - centre) + shift per channel, for rows `start` to `end`; `out` may be `rows`."""
    middle, a, b = along(rows, centre), along(rows, scale), along(rows, shift)
    for i in range(start, end):
        for j in range(rows.shape[1]):
            value = widened(rows[i, j])
            if relu_before:
                value = np.maximum(value, number(0, rows))
            value = (value - middle[j]) * a[j] + b[j]
            if relu_after:
                value = np.maximum(value, number(0, rows))
            out[i, j] = narrowed(value, out)


@compiled
def _gradient_of_rows(
    gradient: Array,
    rows: Array,
    out: Array,
    of_rows: Array,
    centre: Array,
    scale: Array,
    slope: Array,
    constant: Array,
    relu_before: bool,
    relu_after: bool,
    start: int,
    end: int,
) -> None:
    """Compute the gradient of the rows `start` to `end` into `of_rows`, which may be `gradient`."""
    middle, a, b, c = along(rows, centre), along(rows, scale), along(rows, slope), along(rows, constant)
    for i in range(start, end):
        for j in range(rows.shape[1]):
            g = widened(gradient[i, j])
            if relu_after and widened(out[i, j]) == 0:
                g = number(0, rows)
            value = g * a[j] + (widened(rows[i, j]) - middle[j]) * b[j] + c[j]
            if relu_before and widened(rows[i, j]) <= 0:
                value = number(0, rows)
            of_rows[i, j] = narrowed(value, of_rows)


def _forward(at: Any) -> None:
    call = record_at(at)
    height, width, channels = call.height, call.width, call.channels
    rows, out = matrix(call.rows, height, width, call.stored), matrix(call.out, height, width, call.stored)
    sums, squares = matrix(call.sums, BLOCKS, channels, 1.0), matrix(call.products, BLOCKS, channels, 1.0)
    near = near_mean(rows, channels, call.relu_before)
    first, last = my_blocks()
    for block in range(first, last):
        start, end = rows_of_block(block, height)
        add_moments(rows, start, end, call.relu_before, near, sums[block], squares[block])
    wait_for_all()
    count, keep = height * width // channels, math.exp(call.log_keep)
    mean, variance = np.empty(channels), np.empty(channels)
    centre, scale, shift = np.empty(channels), np.empty(channels), np.empty(channels)
    weight, bias = vector(call.weight, channels, call.number), vector(call.bias, channels, call.number)
    for c in range(channels):
        distance, square = over_blocks(sums, c) / count, over_blocks(squares, c) / count
        mean[c] = near[c] + distance
        variance[c] = np.maximum(square - distance * distance, 0)
        centre[c] = number(mean[c], rows)
        scale[c] = weight[c] / np.sqrt(variance[c] + call.eps) / keep
        shift[c] = bias[c] / keep - (mean[c] - centre[c]) * scale[c]
    guide = vector(call.guide, GUIDE_SIZE, np.int32(1))
    for block in range(first, last):
        start, end = rows_of_block(block, height)
        affine(rows, out, centre, scale, shift, call.relu_before, call.relu_after, start, end)
        if call.log_keep != 0:
            drop_block(out, block, call.seed, guide, call.log_keep)
    if first == 0 and last > 0:  # with more threads than blocks, threads without a block also start at 0
        of_mean, of_variance = vector(call.mean, channels, 1.0), vector(call.variance, channels, 1.0)
        running_mean = vector(call.running_mean, channels, call.number)
        running_variance = vector(call.running_variance, channels, call.number)
        for c in range(channels):
            of_mean[c], of_variance[c] = mean[c], variance[c]
            running_mean[c] += call.momentum * (mean[c] - running_mean[c])
            unbiased = variance[c] * (count / max(count - 1, 1))
            running_variance[c] += call.momentum * (unbiased - running_variance[c])


def _backward(at: Any) -> None:
    call = record_at(at)
    height, width, channels = call.height, call.width, call.channels
    rows, out = matrix(call.rows, height, width, call.stored), matrix(call.out, height, width, call.stored)
    of_rows = matrix(call.of_rows, height, width, call.stored)
    sums_by_block = matrix(call.sums, BLOCKS, channels, 1.0)
    products_by_block = matrix(call.products, BLOCKS, channels, 1.0)
    mean, variance = vector(call.mean, channels, 1.0), vector(call.variance, channels, 1.0)
    centre = np.empty(channels)
    for c in range(channels):
        centre[c] = number(mean[c], rows)
    guide = vector(call.guide, GUIDE_SIZE, np.int32(1))
    draws = call.log_keep != 0 and not call.relu_after  # otherwise nothing was dropped, or a zero in `out` marks it
    given = matrix(call.gradient, height, width, call.stored)
    gradient = of_rows if draws else given
    first, last = my_blocks()
    for block in range(first, last):
        start, end = rows_of_block(block, height)
        if draws:
            for i in range(start, end):
                for j in range(width):
                    of_rows[i, j] = given[i, j]
            drop_block(of_rows, block, call.seed, guide, call.log_keep)
        add_gradient(
            gradient,
            rows,
            out,
            start,
            end,
            call.relu_before,
            call.relu_after,
            centre,
            sums_by_block[block],
            products_by_block[block],
        )
    wait_for_all()
    count, keep = height * width // channels, math.exp(call.log_keep)
    scale, slope, constant = np.empty(channels), np.empty(channels), np.empty(channels)
    sums, normal = np.empty(channels), np.empty(channels)
    weight = vector(call.weight, channels, call.number)
    for c in range(channels):
        sums[c], product = over_blocks(sums_by_block, c), over_blocks(products_by_block, c)
        inverse = 1 / np.sqrt(variance[c] + call.eps)
        normal[c] = (product - sums[c] * (mean[c] - centre[c])) * inverse  # Σ gradient · normalised rows
        scale[c] = weight[c] * inverse / keep
        slope[c] = -scale[c] * inverse * normal[c] / count
        constant[c] = -(slope[c] * (mean[c] - centre[c]) + scale[c] * sums[c] / count)
    for block in range(first, last):
        start, end = rows_of_block(block, height)
        _gradient_of_rows(
            *(gradient, rows, out, of_rows),
            *(centre, scale, slope, constant),
            *(call.relu_before, call.relu_after, start, end),
        )
    if first == 0 and last > 0:
        of_weight, of_bias = vector(call.of_weight, channels, call.number), vector(call.of_bias, channels, call.number)
        for c in range(channels):
            of_weight[c], of_bias[c] = normal[c] / keep, sums[c] / keep


_NORM = [
    *addresses("rows", "out", "weight", "mean", "variance", "sums", "products"),
    *[("height", np.int64), ("width", np.int64), ("channels", np.int64), ("eps", np.float64)],
    *[("relu_before", np.bool_), ("relu_after", np.bool_)],
    *[("seed", np.uint64), *addresses("guide"), ("log_keep", np.float64)],
]
# BatchNorm with the batch's statistics, a ReLU before or after it if requested, then dropout (none if log_keep = 0).
# Fills out, mean (C,) and variance (C,) in double precision, and updates the running statistics.
forward = ThreadPoolFunction(
    _forward, [*_NORM, *addresses("bias", "running_mean", "running_variance"), ("momentum", np.float64)]
)
# Computes the gradients of rows, weight (C,) and bias (C,) from the gradient of forward's `out`.
backward = ThreadPoolFunction(_backward, [*_NORM, *addresses("gradient", "of_rows", "of_weight", "of_bias")])
