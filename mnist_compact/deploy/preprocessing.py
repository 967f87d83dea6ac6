"""From any grey picture of one digit to an image in the form of MNIST.

The steps use only comparisons, sums, products, quotients, sorting and rounding, so that another language can repeat
them. All arithmetic is in float64; round(x) means floor(x + 0.5). A picture p has H rows and W columns of grey levels,
0 (black) … 255 (white).

1. Reduce: if the longer side is above `WORKING_SIDE` = 280 px, scale the picture by 280 / longer side (`box_scaled`);
   each side becomes max(8, round(side · 280 / longer side)).
2. Background: the margin is the frame of max(1, round(min(H, W) / 20)) px along the edges. Fit the surface
   b = a0 + a1·x + a2·y + a3·x² + a4·x·y + a5·y² to the levels of the margin by least squares, where x and y are column
   and row, scaled to -1 … 1. With T the matrix of these six terms at the n fitted pixels and q their levels, a solves
   (TᵀT + 10⁻⁶ · n · I) a = Tᵀq. Fit it again to those pixels of the margin whose distance to the first surface is at
   most 2 + 3 · the median of the distances. Limit b to 0 … 255. The surface follows uneven light.
3. Inversion: the digit is dark if the sum of max(0, b - p)² over all pixels is above the sum of max(0, p - b)².
   Ink is max(0, p - b) for a light digit. For a dark one it is 255 · max(0, b - p) / max(b, 64), because paper and ink
   reflect fixed shares of the light that falls on them.
4. Threshold: round the ink to integers, and let t be the level that separates it best into two classes (Otsu 1979,
   doi:10.1109/TSMC.1979.4310076): the smallest t that maximises n0 · n1 · (m0 - m1)², where n0 and m0 are number and
   mean of the pixels with ink <= t, and n1 and m1 of the others.
5. Levels: `low` is the smaller of t / 2 and the 95th percentile of the margin's ink, which is the noise of the
   background. `high` is the 98th percentile of the ink of all pixels with rounded ink > t. If high < 32, the picture
   shows no digit. Ink becomes v = min(1, max(0, (ink - low) / (high - low))). The q-th percentile of n sorted values is
   the one with index floor(q / 100 · (n - 1)), from 0.
6. Crop: the smallest rectangle that holds all pixels with v >= 1/4 which have at least `NEIGHBOURS` = 3 such pixels
   among their eight neighbours, enlarged by floor(longer side / 40) px on each side that has room.
7. Scale: the crop to 20 px at its longer side and max(1, round(20 · shorter / longer)) px at the other.
8. Centre: place it in 28×28 px, at column round(14.5 - cx + 10⁻⁶) and row round(14.5 - cy + 10⁻⁶), limited to where it
   fits. cx is the sum of (column + 1/2) · v divided by the sum of v, and cy is the same for rows. The small summand
   rounds the halves of symmetric digits upwards whatever the errors of their sums.
9. Brighten: multiply by 255 / the largest level, and round.

`box_scaled` averages over areas: output pixel i of m covers the interval from i · n / m to (i + 1) · n / m of the n
input pixels, and is the mean of these pixels, weighted by the length that the interval covers of each; first for rows,
then for columns.

Steps 7 and 8 are those of MNIST itself: black and white digits were scaled to 20×20 px with their aspect ratio and
centred by their centre of mass in 28×28 px (LeCun, Cortes and Burges, "The MNIST database of handwritten digits").
"""

import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from mnist_compact.common.errors import UserError
from mnist_compact.common.shapes import SIDE

Array: TypeAlias = npt.NDArray[Any]

SMALLEST_SIDE = 8  # px, of a picture
WORKING_SIDE = 280  # px
DARKEST_PAPER = 64  # grey level below which ink is not taken relative to its background
DIGIT_SIDE = 20  # px, of the digit within the image
FAINTEST = 32  # grey levels between digit and background
NEIGHBOURS = 3
RIDGE = 1e-6  # keeps the fit of the background unique
CENTRE = SIDE / 2 + 0.5  # px; the mean centre of mass of the training images is (14.51, 14.50)
TIE = 1e-6  # px


class NoDigitError(UserError):
    """The picture is empty, or its contrast is too low."""


def to_mnist(picture: Array) -> Array:
    """Bring a picture of one digit into the form of MNIST. The steps are those of the module's docstring.

    Args:
        picture: Grey levels (H, W), uint8, of at least 8×8 px: a dark digit on a light background or a light one on a
            dark background.

    Returns:
        An image (28, 28), uint8: a light digit on a black background, 20 px at its longer side, centred by mass.

    Raises:
        NoDigitError: The picture has no digit with enough contrast.
    """
    levels = picture.astype(np.float64)
    if max(levels.shape) > WORKING_SIDE:
        factor = WORKING_SIDE / max(levels.shape)
        levels = box_scaled(levels, *(max(SMALLEST_SIDE, _rounded(side * factor)) for side in levels.shape))
    margin = margin_of(levels.shape)
    ink = ink_of(levels, background(levels, margin))
    threshold = otsu(ink)
    low = min(threshold / 2, _percentile(ink[margin], 95))
    inked = ink[np.floor(ink + 0.5) > threshold]
    high = _percentile(inked, 98) if inked.size else 0.0
    if high < FAINTEST:
        raise NoDigitError(
            f"it shows no digit: the strongest contrast is {high:.0f} of 255 grey levels, "
            f"at least {FAINTEST} are needed"
        )
    return centred(cropped(np.clip((ink - low) / (high - low), 0, 1)))


def margin_of(shape: tuple[int, ...]) -> Array:
    """Return the mask (H, W) of the frame that is taken for background."""
    width = max(1, _rounded(min(shape) / 20))
    mask = np.ones(shape, dtype=bool)
    mask[width:-width, width:-width] = False
    return mask


def background(levels: Array, margin: Array) -> Array:
    """Return the surface (H, W) that fits the levels of the margin."""
    y, x = (np.linspace(-1, 1, side) for side in levels.shape)
    x, y = np.meshgrid(x, y)
    terms = np.stack([np.ones(levels.shape), x, y, x * x, x * y, y * y], axis=-1)
    fitted = margin
    for _ in range(2):
        known = terms[fitted]
        ridge = RIDGE * len(known) * np.eye(known.shape[1])
        surface = terms @ np.linalg.solve(known.T @ known + ridge, known.T @ levels[fitted])
        distance = np.abs(levels - surface)
        fitted = margin & (distance <= 2 + 3 * _percentile(distance[margin], 50))
    return np.asarray(np.clip(surface, 0, 255))


def ink_of(levels: Array, surface: Array) -> Array:
    """Return how much every pixel differs from the background in the direction of the digit, (H, W) in 0 … 255."""
    dark, light = np.maximum(0, surface - levels), np.maximum(0, levels - surface)
    is_dark = (dark**2).sum() > (light**2).sum()
    return np.asarray(255 * dark / np.maximum(surface, DARKEST_PAPER)) if is_dark else light


def otsu(ink: Array) -> int:
    """Return the level that separates the rounded ink best into two classes."""
    counts = np.bincount(np.floor(ink + 0.5).astype(np.int64).ravel(), minlength=256).astype(np.float64)
    below, sums = np.cumsum(counts), np.cumsum(counts * np.arange(256))
    above, rest = below[-1] - below, sums[-1] - sums
    with np.errstate(invalid="ignore"):
        between = below * above * (sums / below - rest / above) ** 2
    return int(np.argmax(np.nan_to_num(between)))


def cropped(values: Array) -> Array:
    """Return the part (h, w) that holds the digit, with a small border."""
    strong = np.pad(values >= 0.25, 1)
    height, width = values.shape
    neighbours = sum(
        strong[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width].astype(int)
        for dy in (-1, 0, 1)
        for dx in (-1, 0, 1)
        if dy or dx
    )
    rows, columns = np.nonzero(strong[1:-1, 1:-1] & (neighbours >= NEIGHBOURS))
    if not len(rows):
        raise NoDigitError("it shows no digit: there are only single points")
    border = max(np.ptp(rows) + 1, np.ptp(columns) + 1) // 40
    top, left = max(0, rows.min() - border), max(0, columns.min() - border)
    return values[top : rows.max() + 1 + border, left : columns.max() + 1 + border]


def centred(values: Array) -> Array:
    """Return the image (28, 28) with the digit (h, w) scaled and centred by its mass, uint8."""
    height, width = values.shape
    longer = max(height, width)
    small = box_scaled(values, *(max(1, _rounded(DIGIT_SIDE * side / longer)) for side in (height, width)))
    mass = small.sum()
    image = np.zeros((SIDE, SIDE))
    starts = [
        min(max(0, _rounded(CENTRE - (small.sum(1 - axis) @ (np.arange(side) + 0.5)) / mass + TIE)), SIDE - side)
        for axis, side in enumerate(small.shape)
    ]
    image[starts[0] : starts[0] + small.shape[0], starts[1] : starts[1] + small.shape[1]] = small
    return np.asarray(np.floor(image * (255 / image.max()) + 0.5), dtype=np.uint8)


def box_scaled(values: Array, height: int, width: int) -> Array:
    """Scale (H, W) to (height, width) by averaging over areas; the result is float64."""
    return np.asarray(_box_weights(values.shape[0], height) @ values @ _box_weights(values.shape[1], width).T)


def _box_weights(size: int, scaled: int) -> Array:
    """Return the weights (scaled, size) of the input pixels in each output pixel."""
    edges = np.arange(scaled + 1) * size / scaled
    pixels = np.arange(size)
    covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.asarray(np.maximum(0, covered) * scaled / size)


def _percentile(values: Array, q: float) -> float:
    ranked = np.sort(values, axis=None)
    return float(ranked[math.floor(q / 100 * (len(ranked) - 1))])


def _rounded(value: float) -> int:
    return math.floor(value + 0.5)
