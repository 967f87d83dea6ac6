"""Loops over activations on a CPU, each pass over memory doing all that can be done in it.

A matrix here is a batch in channels-last order, (N·H, W·C): long rows are what vector units like, and entry j of a row
belongs to channel j % C. Sums go through short runs in the matrix's own precision into double precision, block by block
of rows (see `team.py`). Compiled at the first call, then kept on disk beside this file, or in the user's cache where
that cannot be written.
"""

import math
from typing import Any

import numpy as np

from mnist_compact.model.drops import GUIDE_SIZE, drop_block
from mnist_compact.model.team import (
    BLOCKS,
    Array,
    TeamFunction,
    addresses,
    compiled,
    matrix,
    my_blocks,
    record_at,
    rows_of_block,
    vector,
    wait_for_all,
)

RUN = 32  # rows summed up before they are added to the double-precision totals


@compiled
def affine(
    rows: Array,
    out: Array,
    scale: Array,
    shift: Array,
    relu_before: bool,
    relu_after: bool,
    start: int,
    end: int,
) -> None:
    """out = scale · rows + shift by channel, for rows `start` up to `end`; `out` may be `rows`."""
    width = rows.shape[1]
    a, b = np.empty(width, rows.dtype), np.empty(width, rows.dtype)
    for j in range(width):
        a[j], b[j] = scale[j % scale.size], shift[j % shift.size]
    for i in range(start, end):
        for j in range(width):
            value = rows[i, j]
            if relu_before:
                value = np.maximum(value, rows.dtype.type(0))
            value = value * a[j] + b[j]
            if relu_after:
                value = np.maximum(value, rows.dtype.type(0))
            out[i, j] = value


@compiled
def _add_moments(rows: Array, start: int, end: int, rectify: bool, sums: Array, squares: Array) -> None:
    """Of the rows from `start` to `end`, by channel, into `sums` and `squares` (C,)."""
    width = rows.shape[1]
    totals, totals_of_squares = np.zeros(width), np.zeros(width)
    for first in range(start, end, RUN):
        run, run_of_squares = np.zeros(width, rows.dtype), np.zeros(width, rows.dtype)
        for i in range(first, min(first + RUN, end)):
            for j in range(width):
                value = rows[i, j]
                if rectify:
                    value = np.maximum(value, rows.dtype.type(0))
                run[j] += value
                run_of_squares[j] += value * value
        totals += run
        totals_of_squares += run_of_squares
    sums[:] = totals.reshape(-1, sums.size).sum(0)
    squares[:] = totals_of_squares.reshape(-1, sums.size).sum(0)


@compiled
def _add_gradient(
    gradient: Array,
    rows: Array,
    out: Array,
    start: int,
    end: int,
    relu_before: bool,
    relu_after: bool,
    sums: Array,
    products: Array,
) -> None:
    """Of the gradient and its products with what was normalised, as `_add_moments`."""
    width = rows.shape[1]
    totals, totals_of_products = np.zeros(width), np.zeros(width)
    for first in range(start, end, RUN):
        run, run_of_products = np.zeros(width, rows.dtype), np.zeros(width, rows.dtype)
        for i in range(first, min(first + RUN, end)):
            for j in range(width):
                g = gradient[i, j]
                if relu_after and out[i, j] == 0:
                    g = rows.dtype.type(0)
                value = rows[i, j]
                if relu_before:
                    value = np.maximum(value, rows.dtype.type(0))
                run[j] += g
                run_of_products[j] += g * value
        totals += run
        totals_of_products += run_of_products
    sums[:] = totals.reshape(-1, sums.size).sum(0)
    products[:] = totals_of_products.reshape(-1, sums.size).sum(0)


@compiled
def _gradient_of_rows(
    gradient: Array,
    rows: Array,
    out: Array,
    scale: Array,
    slope: Array,
    constant: Array,
    relu_before: bool,
    relu_after: bool,
    start: int,
    end: int,
) -> None:
    width = rows.shape[1]
    a, b, c = np.empty(width, rows.dtype), np.empty(width, rows.dtype), np.empty(width, rows.dtype)
    for j in range(width):
        a[j], b[j], c[j] = scale[j % scale.size], slope[j % scale.size], constant[j % scale.size]
    for i in range(start, end):
        for j in range(width):
            g = gradient[i, j]
            if relu_after and out[i, j] == 0:
                g = rows.dtype.type(0)
            value = g * a[j] + rows[i, j] * b[j] + c[j]
            if relu_before and rows[i, j] <= 0:
                value = rows.dtype.type(0)
            gradient[i, j] = value


def _forward(at: Any) -> None:
    call = record_at(at)
    height, width, channels = call.height, call.width, call.channels
    rows, out = matrix(call.rows, height, width, call.one), matrix(call.out, height, width, call.one)
    sums, squares = matrix(call.sums, BLOCKS, channels, 1.0), matrix(call.products, BLOCKS, channels, 1.0)
    first, last = my_blocks()
    for block in range(first, last):
        start, end = rows_of_block(block, height)
        _add_moments(rows, start, end, call.relu_before, sums[block], squares[block])
    wait_for_all()
    count = height * width // channels
    mean = sums.sum(0) / count
    variance = np.maximum(squares.sum(0) / count - mean * mean, 0)
    keep = math.exp(call.log_keep)
    scale = vector(call.weight, channels, call.one) / np.sqrt(variance + call.eps) / keep
    shift = vector(call.bias, channels, call.one) / keep - mean * scale
    guide = vector(call.guide, GUIDE_SIZE, np.int32(1))
    for block in range(first, last):
        start, end = rows_of_block(block, height)
        affine(rows, out, scale, shift, call.relu_before, call.relu_after, start, end)
        if call.log_keep != 0:
            drop_block(out, block, call.seed, guide, call.log_keep)
    if first == 0 and last > 0:  # with more threads than blocks some have none, and begin at 0 too
        vector(call.mean, channels, 1.0)[:] = mean
        vector(call.variance, channels, 1.0)[:] = variance
        running_mean = vector(call.running_mean, channels, call.one)
        running_variance = vector(call.running_variance, channels, call.one)
        running_mean += call.momentum * (mean - running_mean)
        running_variance += call.momentum * (variance * (count / max(count - 1, 1)) - running_variance)


def _backward(at: Any) -> None:
    call = record_at(at)
    height, width, channels = call.height, call.width, call.channels
    rows, out = matrix(call.rows, height, width, call.one), matrix(call.out, height, width, call.one)
    gradient = matrix(call.gradient, height, width, call.one)
    sums_by_block = matrix(call.sums, BLOCKS, channels, 1.0)
    products_by_block = matrix(call.products, BLOCKS, channels, 1.0)
    guide = vector(call.guide, GUIDE_SIZE, np.int32(1))
    first, last = my_blocks()
    for block in range(first, last):
        start, end = rows_of_block(block, height)
        if call.log_keep != 0 and not call.relu_after:  # else a zero in `out` says it
            drop_block(gradient, block, call.seed, guide, call.log_keep)
        _add_gradient(
            gradient,
            rows,
            out,
            start,
            end,
            call.relu_before,
            call.relu_after,
            sums_by_block[block],
            products_by_block[block],
        )
    wait_for_all()
    sums, products = sums_by_block.sum(0), products_by_block.sum(0)
    count = height * width // channels
    keep = math.exp(call.log_keep)
    mean = vector(call.mean, channels, 1.0)
    inverse = 1 / np.sqrt(vector(call.variance, channels, 1.0) + call.eps)
    normal = (products - sums * mean) * inverse  # Σ gradient · normalised rows
    scale = vector(call.weight, channels, call.one) * inverse / keep
    slope = -scale * inverse * normal / count
    constant = -(slope * mean + scale * sums / count)
    for block in range(first, last):
        start, end = rows_of_block(block, height)
        _gradient_of_rows(gradient, rows, out, scale, slope, constant, call.relu_before, call.relu_after, start, end)
    if first == 0 and last > 0:
        vector(call.of_weight, channels, call.one)[:] = normal / keep
        vector(call.of_bias, channels, call.one)[:] = sums / keep


_NORM = [
    *addresses("rows", "out", "weight", "mean", "variance", "sums", "products"),
    *[("height", np.int64), ("width", np.int64), ("channels", np.int64), ("eps", np.float64)],
    *[("relu_before", np.bool_), ("relu_after", np.bool_)],
    *[("seed", np.uint64), *addresses("guide"), ("log_keep", np.float64)],
]
# BatchNorm with the batch's statistics, rectified where told, then dropout (none for log_keep = 0). Fills out, mean and
# variance (C,), the latter in double precision, and moves the running ones towards them.
forward = TeamFunction(
    _forward, [*_NORM, *addresses("bias", "running_mean", "running_variance"), ("momentum", np.float64)]
)
# Turns the gradient of forward's out in place into that of its rows; fills those of weight and bias (C,).
backward = TeamFunction(_backward, [*_NORM, *addresses("gradient", "of_weight", "of_bias")])
