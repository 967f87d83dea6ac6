"""What seeds and images say of new seeds on new images: both are samples, so both are resampled, crossed."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mnist_compact.common.statistics import CONFIDENCE

DRAWS = 4_000


def unpacked(bits: Sequence[bytes], total: int) -> NDArray[np.bool_]:
    """(seeds, images), true where right, from each seed's packed bits."""
    packed = np.array([np.frombuffer(row, dtype=np.uint8) for row in bits])
    return np.unpackbits(packed, axis=1, count=total).astype(bool)


def crossed_interval(correct: NDArray[np.bool_], *, draws: int = DRAWS, seed: int = 0) -> tuple[float, float]:
    """The mean accuracy's interval in per cent, from which images (columns) each seed (row) got right.

    Percentiles of the mean over rows and columns drawn anew with replacement, each independently: Owen's pigeonhole
    bootstrap (2007, doi:10.1214/07-AOAS122), which errs to the wide side. Equal bits give an equal interval.
    """
    seeds, images = correct.shape
    wrong = ~correct
    missed = wrong[:, wrong.any(axis=0)].astype(float)  # what all get right adds no error, however often drawn
    generator = np.random.default_rng(seed)
    drawn_seeds = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws)
    columns = missed.shape[1]
    chances = [*np.full(columns, 1 / images), max(0.0, 1 - columns / images)]
    drawn_images = generator.multinomial(images, chances, size=draws)[:, :columns]
    accuracies = 100 * (1 - ((drawn_seeds @ missed) * drawn_images).sum(axis=1) / (seeds * images))
    low, high = np.quantile(accuracies, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)
