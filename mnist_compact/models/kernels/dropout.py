"""Dropout in compiled loops that draw random numbers only for the activations that are dropped."""

import math
from functools import cache

import numpy as np

from mnist_compact.models.kernels.thread_pool import BLOCKS, Array, compiled, rows_of_block

GUIDE_BITS = 12  # a guide of 16 KB fits into the first-level cache
GUIDE_SIZE = 1 << GUIDE_BITS
LONGEST_GAP = 2.0**31 - 1  # longer than any block: for tiny p a gap may exceed every integer


@cache
def drop_guide(p: float) -> Array:
    """Return the guide table for dropout with probability `p`.

    The gaps of a Bernoulli process are geometric: floor(log u / log(1 - p)) activations are kept before the next one is
    dropped, for a random number u in (0, 1) (Devroye 1986, Non-Uniform Random Variate Generation, X.2; guide tables,
    III.2.4). The table contains this gap for the leading bits of u, or -1 if the other bits matter. The result is
    exact, and a logarithm is rarely needed.
    """
    entries, step = np.arange(GUIDE_SIZE, dtype=np.uint64), np.uint64(1 << (64 - GUIDE_BITS))
    # NumPy's logarithm of whole arrays may differ from the kernel's in the last bit; number by number it is equal.
    longest = np.array([_gap_of(random, math.log1p(-p)) for random in entries * step])
    shortest = np.array([_gap_of(random, math.log1p(-p)) for random in entries * step + (step - np.uint64(1))])
    return np.where(longest == shortest, longest, -1).astype(np.int32)


@compiled
def _gap_of(random: np.uint64, log_keep: float) -> int:
    return int(min(math.log((np.float64(random >> np.uint64(11)) + 0.5) * 2.0**-53) / log_keep, LONGEST_GAP))


@compiled
def _random(state: np.uint64) -> np.uint64:
    """Return 64 random bits for a state that the caller advances by `STRIDE`: SplitMix64 (Steele, Lea & Flood 2014)."""
    z = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


STRIDE = np.uint64(0x9E3779B97F4A7C15)


@compiled
def drop_block(rows: Array, block: int, seed: np.uint64, guide: Array, log_keep: float) -> None:
    """Write zeros at independently drawn positions of a block. The same `seed` gives the same positions."""
    start, end = rows_of_block(block, rows.shape[0])
    flat = rows[start:end].reshape(-1)
    state = _random(seed + np.uint64(block + 1) * STRIDE) + STRIDE  # each block has a random stream of its own
    position = _gap_of(_random(state), log_keep)
    while position < flat.size:
        flat[position] = 0
        state += STRIDE
        random = _random(state)
        gap = guide[random >> np.uint64(64 - GUIDE_BITS)]
        position += 1 + (gap if gap >= 0 else _gap_of(random, log_keep))


@compiled
def drop(rows: Array, seed: np.uint64, guide: Array, log_keep: float) -> None:
    """Apply `drop_block` to all blocks."""
    for block in range(BLOCKS):
        drop_block(rows, block, seed, guide, log_keep)
