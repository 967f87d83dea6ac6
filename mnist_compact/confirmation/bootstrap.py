"""The interval of the mean accuracy for new seeds on new images: both are samples, so both are resampled."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mnist_compact.common.statistics import CONFIDENCE

DRAWS = 4_000


def unpacked(bits: Sequence[bytes], total: int) -> NDArray[np.bool_]:
    """Unpack which images each seed classified correctly.

    Args:
        bits: The packed bits of each seed, as in `correct.bits`.
        total: Number of images.

    Returns:
        An array of shape (seeds, images), true where the seed was correct.
    """
    packed = np.array([np.frombuffer(row, dtype=np.uint8) for row in bits])
    return np.unpackbits(packed, axis=1, count=total).astype(bool)


def crossed_interval(correct: NDArray[np.bool_], *, draws: int = DRAWS, seed: int = 0) -> tuple[float, float]:
    """Compute an interval of the mean accuracy over new seeds on new images.

    Rows and columns are resampled with replacement and independently of each other: Owen's pigeonhole bootstrap (2007,
    doi:10.1214/07-AOAS122), which is conservative. Equal arguments give an equal interval.

    Args:
        correct: An array of shape (seeds, images), true where the seed was correct.
        draws: Number of resamples.
        seed: Seed of the resampling.

    Returns:
        The lower and the upper bound of the interval with confidence `CONFIDENCE`, in per cent.
    """
    seeds, images = correct.shape
    wrong = ~correct
    missed = wrong[:, wrong.any(axis=0)].astype(float)  # an image that all seeds classify correctly adds no error
    generator = np.random.default_rng(seed)
    drawn_seeds = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws)
    columns = missed.shape[1]
    chances = [*np.full(columns, 1 / images), max(0.0, 1 - columns / images)]
    drawn_images = generator.multinomial(images, chances, size=draws)[:, :columns]
    accuracies = 100 * (1 - ((drawn_seeds @ missed) * drawn_images).sum(axis=1) / (seeds * images))
    low, high = np.quantile(accuracies, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)
