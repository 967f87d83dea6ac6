"""The integer arithmetic of `c/network_int8.c`, in torch: the same results, bit by bit."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mnist_compact.common.errors import ConfigError
from mnist_compact.models.blocks import ACTIVATIONS
from mnist_compact.models.layers import Activation

FRACTION = 16  # fractional bits of the numbers that an activation takes and returns
ONE = 1 << FRACTION
OFFSET_ONE = 256  # one step of a map, in the units of offsets
INT32 = 2**29  # limit of scaled numbers, biases and offsets: three of them can be added in 32 bits
MANTISSA = 15  # bits of a multiplier
STEP = 13  # the table has a node for every 2^13 / 2^16 = 1/8 …
NODES = 64  # … up to 8
LEAK = (20972, 21)  # 0.01, as a multiplier


def multiplier(values: npt.NDArray[np.float64]) -> Tensor:
    """Write numbers as m · 2^-s with |m| < 2^15 and 0 <= s <= 62, (n,) → int64 (n, 2).

    Raises:
        ConfigError: A number is 2^15 or larger.
    """
    mantissas, exponents = np.frexp(values)
    m, s = np.round(mantissas * 2**MANTISSA).astype(np.int64), MANTISSA - exponents.astype(np.int64)
    full = np.abs(m) == 2**MANTISSA
    m, s = np.where(full, m // 2, m), np.where(full, s - 1, s)
    m, s = np.where(s > 62, 0, m), np.where((s > 62) | (m == 0), 0, s)
    if (s < 0).any():
        raise ConfigError([f"the network cannot be quantised: a factor of {np.abs(values).max():.3g} is too large"])
    return torch.from_numpy(np.stack([m, s], 1))


def scaled(values: Tensor, by: Tensor) -> Tensor:
    """Return values · m · 2^-s, rounded half away from zero and limited.

    Args:
        values: (N, C, H, W).
        by: Pairs (m, s) as `multiplier` returns them, (1, 2) or (C, 2).
    """
    m, s = (each.view(-1, 1, 1) for each in by.unbind(1))
    product = values * m
    half = torch.where(s > 0, 1 << (s - 1).clamp(min=0), 0)
    return (product.sign() * ((product.abs() + half) >> s)).clamp(-INT32, INT32)


def to_int8(values: Tensor) -> Tensor:
    """Convert units of offsets to a map: divide by 256, round half away from zero, and limit to -128 … 127."""
    return (values.sign() * ((values.abs() + OFFSET_ONE // 2) >> 8)).clamp(-128, 127)


def tail_table(activation: Activation) -> list[int]:
    """Return max(x, 0) - activation(x) at |x| = 0, 1/8, …, 8 as fixed-point numbers; it is 0 from there on.

    For silu, gelu and hardswish this difference is the same at x and -x, positive, and vanishes far from 0.
    """
    x = torch.arange(NODES + 1, dtype=torch.float64) / 8
    return [round(value) for value in (-ACTIVATIONS[activation]()(-x) * ONE).abs().tolist()]


def activated(activation: Activation, values: Tensor) -> Tensor:
    """Return the activation of fixed-point numbers."""
    positive = values.clamp(min=0)
    if activation is Activation.relu:
        return positive
    if activation is Activation.leaky_relu:
        return positive + scaled(values.clamp(max=0), torch.tensor([LEAK]))
    table, size = torch.tensor(tail_table(activation)), values.abs()
    node, part = (size >> STEP).clamp(max=NODES - 1), size & (2**STEP - 1)
    tail = (table[node] * (2**STEP - part) + table[node + 1] * part + 2 ** (STEP - 1)) >> STEP
    return positive - torch.where(size >= NODES << STEP, 0, tail)
