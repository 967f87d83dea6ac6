"""Numerically stable sums per channel over a batch, in compiled loops.

Short runs are summed in the precision of the computations and added up in double precision. The summands are distances
from a value near the channel's mean: E[x²] - E[x]² of the values themselves loses all digits if the spread is much
smaller than the mean (Chan, Golub & LeVeque 1983, Algorithms for Computing the Sample Variance). Matrices are those of
`batch_norm.py`.

All loops are over numbers: expressions over arrays include error messages, which took most of the compile time.
"""

import numpy as np

from mnist_compact.models.kernels.numbers import number, numbers, widened
from mnist_compact.models.kernels.thread_pool import BLOCKS, Array, compiled, rows_of_block

RUN = 32  # rows that are summed before they are added to the double-precision totals


@compiled
def along(rows: Array, by_channel: Array) -> Array:
    """Repeat values per channel (C,) along a row (W·C,), in the precision of the computations."""
    values = numbers(rows.shape[1], rows)
    for j in range(values.size):
        values[j] = by_channel[j % by_channel.size]
    return values


@compiled
def fold(totals: Array, by_channel: Array) -> None:
    """Sum the totals of a row (W·C,) per channel into `by_channel` (C,)."""
    for j in range(by_channel.size):
        by_channel[j] = 0
    for j in range(totals.size):
        by_channel[j % by_channel.size] += totals[j]


@compiled
def over_blocks(by_block: Array, channel: int) -> float:
    """Sum one channel of `by_block` (BLOCKS, C) over the blocks."""
    total = 0.0
    for block in range(BLOCKS):
        total += by_block[block, channel]
    return total


@compiled
def near_mean(rows: Array, channels: int, rectify: bool) -> Array:
    """Estimate the mean per channel (C,) from the first row of every block, in the precision of the computations."""
    totals = np.zeros(rows.shape[1])
    for block in range(BLOCKS):
        first = rows_of_block(block, len(rows))[0]
        for j in range(totals.size):
            value = widened(rows[first, j])
            totals[j] += max(value, number(0, rows)) if rectify else value
    means = np.empty(channels)
    fold(totals, means)
    for channel in range(channels):
        means[channel] = number(means[channel] * channels / (BLOCKS * totals.size), rows)
    return means


@compiled
def add_moments(rows: Array, start: int, end: int, rectify: bool, centre: Array, sums: Array, squares: Array) -> None:
    """Sum the distances of rows `start` to `end` from `centre`, and their squares, into `sums` and `squares` (C,)."""
    width = rows.shape[1]
    middle = along(rows, centre)
    totals, totals_of_squares = np.zeros(width), np.zeros(width)
    run, run_of_squares = numbers(width, rows), numbers(width, rows)
    for first in range(start, end, RUN):
        for j in range(width):
            run[j] = run_of_squares[j] = 0
        for i in range(first, min(first + RUN, end)):
            for j in range(width):
                value = widened(rows[i, j])
                if rectify:
                    value = np.maximum(value, number(0, rows))
                value -= middle[j]
                run[j] += value
                run_of_squares[j] += value * value
        for j in range(width):
            totals[j] += run[j]
            totals_of_squares[j] += run_of_squares[j]
    fold(totals, sums)
    fold(totals_of_squares, squares)


@compiled
def add_gradient(
    gradient: Array,
    rows: Array,
    out: Array,
    start: int,
    end: int,
    relu_before: bool,
    relu_after: bool,
    centre: Array,
    sums: Array,
    products: Array,
) -> None:
    """Sum the gradient, and its products with the distances from `centre`, into `sums` and `products` (C,)."""
    width = rows.shape[1]
    middle = along(rows, centre)
    totals, totals_of_products = np.zeros(width), np.zeros(width)
    run, run_of_products = numbers(width, rows), numbers(width, rows)
    for first in range(start, end, RUN):
        for j in range(width):
            run[j] = run_of_products[j] = 0
        for i in range(first, min(first + RUN, end)):
            for j in range(width):
                g = widened(gradient[i, j])
                if relu_after and widened(out[i, j]) == 0:
                    g = number(0, rows)
                value = widened(rows[i, j])
                if relu_before:
                    value = np.maximum(value, number(0, rows))
                run[j] += g
                run_of_products[j] += g * (value - middle[j])
        for j in range(width):
            totals[j] += run[j]
            totals_of_products[j] += run_of_products[j]
    fold(totals, sums)
    fold(totals_of_products, products)
