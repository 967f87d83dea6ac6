"""Dropout that draws only what it drops, in compiled loops."""

import math
from functools import cache

import numpy as np

from mnist_compact.models.kernels.thread_pool import BLOCKS, Array, compiled, rows_of_block

GUIDE_BITS = 12  # a guide of 16 KB stays in the nearest cache
GUIDE_SIZE = 1 << GUIDE_BITS
LONGEST_GAP = 2.0**31 - 1  # more than a block has: a rare dropout's gaps may be beyond every integer


@cache
def drop_guide(p: float) -> Array:
    """For the leading bits of a random number u in (0, 1): floor(log u / log(1 - p)), or -1 where the rest decides.

    That many activations are kept before the next is dropped: the gaps of a Bernoulli process are geometric (Devroye
    1986, Non-Uniform Random Variate Generation, X.2; guide tables, III.2.4). Exact, and rarely needs a logarithm.
    """
    entries, step = np.arange(GUIDE_SIZE, dtype=np.uint64), np.uint64(1 << (64 - GUIDE_BITS))
    # In whole arrays NumPy's logarithm may differ from the kernel's in the last bit: one by one it is the same.
    longest = np.array([_gap_of(random, math.log1p(-p)) for random in entries * step])
    shortest = np.array([_gap_of(random, math.log1p(-p)) for random in entries * step + (step - np.uint64(1))])
    return np.where(longest == shortest, longest, -1).astype(np.int32)


@compiled
def _gap_of(random: np.uint64, log_keep: float) -> int:
    return int(min(math.log((np.float64(random >> np.uint64(11)) + 0.5) * 2.0**-53) / log_keep, LONGEST_GAP))


@compiled
def _random(state: np.uint64) -> np.uint64:
    """SplitMix64 (Steele, Lea & Flood 2014): 64 random bits for a state that the caller moves on by `STRIDE`."""
    z = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


STRIDE = np.uint64(0x9E3779B97F4A7C15)


@compiled
def drop_block(rows: Array, block: int, seed: np.uint64, guide: Array, log_keep: float) -> None:
    """Write zeros at places drawn independently within a block; the same `seed` draws the same places."""
    start, end = rows_of_block(block, rows.shape[0])
    flat = rows[start:end].reshape(-1)
    state = _random(seed + np.uint64(block + 1) * STRIDE) + STRIDE  # a stream of its own for each block
    position = _gap_of(_random(state), log_keep)
    while position < flat.size:
        flat[position] = 0
        state += STRIDE
        random = _random(state)
        gap = guide[random >> np.uint64(64 - GUIDE_BITS)]
        position += 1 + (gap if gap >= 0 else _gap_of(random, log_keep))


@compiled
def drop(rows: Array, seed: np.uint64, guide: Array, log_keep: float) -> None:
    """`drop_block` for all blocks."""
    for block in range(BLOCKS):
        drop_block(rows, block, seed, guide, log_keep)
