"""The numbers in the matrices of the kernels: float32, float64, and bfloat16, which Numba does not know.

A matrix of bfloat16 is one of uint16 here: a bfloat16 has the first 16 of the 32 bits of a float32. The kernels compute
with its numbers in float32. Each function of this module stands for machine code that depends on its argument's type.
"""

from typing import Any

import numpy as np
from numba import types

from mnist_compact.models.kernels.thread_pool import Array, compiled_for

BFLOAT16 = types.uint16


def widened(value: Any) -> Any:
    """Return a number of a matrix in the precision of the computations."""
    raise NotImplementedError


def narrowed(value: Any, rows: Array) -> Any:
    """Return a number as it is written into `rows`: a bfloat16 is rounded to the nearest, ties to even."""
    raise NotImplementedError


def number(value: Any, rows: Array) -> Any:
    """Return `value` in the precision of the computations with `rows`."""
    raise NotImplementedError


def numbers(size: int, rows: Array) -> Array:
    """Return an uninitialised vector (size,) in the precision of the computations with `rows`."""
    raise NotImplementedError


@compiled_for(widened)
def _widened(value: Any) -> Any:
    if value == BFLOAT16:
        return lambda value: np.uint32(np.uint32(value) << np.uint32(16)).view(np.float32)
    return lambda value: value


@compiled_for(narrowed)
def _narrowed(value: Any, rows: Any) -> Any:
    def rounded(value: Any, rows: Array) -> Any:
        bits = np.float32(value).view(np.uint32)
        tie = (bits >> np.uint32(16)) & np.uint32(1)
        nearest = np.uint16(np.uint32(bits + np.uint32(0x7FFF) + tie) >> np.uint32(16))
        return nearest if value == value else np.uint16(0x7FC0)  # rounding could turn a NaN into a number

    return rounded if rows.dtype == BFLOAT16 else lambda value, rows: value


@compiled_for(number)
def _number(value: Any, rows: Any) -> Any:
    if rows.dtype == BFLOAT16:
        return lambda value, rows: np.float32(value)
    return lambda value, rows: rows.dtype.type(value)


@compiled_for(numbers)
def _numbers(size: Any, rows: Any) -> Any:
    if rows.dtype == BFLOAT16:
        return lambda size, rows: np.empty(size, np.float32)
    return lambda size, rows: np.empty(size, rows.dtype)
