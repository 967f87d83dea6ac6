"""Corruptions of digit images in five strengths.

The choice of corruptions follows MNIST-C (Mu and Gilmer 2019, arXiv 1906.02337). The images are computed here and are
not those of MNIST-C, so that the accuracies cannot be compared with figures on it. Random choices, such as the
direction of a shift, depend only on the corruption and on its strength: every network sees the same images.

N is the number of images. Images are (N, 28, 28) in [0, 1], light digits on a dark background.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mnist_compact.common.shapes import SIDE
from mnist_compact.data.augmentation import adjust_contrast, sampling_maps, scaled, warp

ELASTIC_NODES = 7  # per side of the grid whose nodes move independently
BLUR_RADIUS = 8  # px: beyond it the kernel of the strongest blur is below 1e-4 of its centre

Corrupt = Callable[[Tensor, float, torch.Generator], Tensor]


@dataclass(slots=True, frozen=True)
class Corruption:
    """A corruption in five strengths.

    Attributes:
        apply: Maps images (N, 28, 28), a strength and a source of random numbers to corrupted images (N, 28, 28), which
            may exceed [0, 1].
        strengths: From the weakest to the strongest.
        meaning: What a strength measures, with its unit.
    """

    apply: Corrupt
    strengths: tuple[float, float, float, float, float]
    meaning: str


def corrupted(images: Tensor, name: str, level: int) -> Tensor:
    """Return corrupted copies of images.

    Args:
        images: uint8 images (N, 28, 28).
        name: A key of `CORRUPTIONS`.
        level: The strength, from 1 to 5.

    Returns:
        uint8 images (N, 28, 28): values are cut off at 0 and 255 and rounded, as in an image file. Equal arguments give
        equal images.
    """
    corruption = CORRUPTIONS[name]
    generator = torch.Generator().manual_seed(100 * list(CORRUPTIONS).index(name) + level)
    values = corruption.apply(scaled(images), corruption.strengths[level - 1], generator)
    return values.clamp_(0, 1).mul_(255).round_().to(torch.uint8)


def _noise(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    return images + strength * torch.randn(images.shape, generator=generator)


def _blur(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    distance = torch.arange(-BLUR_RADIUS, BLUR_RADIUS + 1.0)
    kernel = torch.exp(-(distance**2) / (2 * strength**2))
    kernel /= kernel.sum()
    rows = F.conv2d(images.unsqueeze(1), kernel.view(1, 1, 1, -1), padding=(0, BLUR_RADIUS))
    return F.conv2d(rows, kernel.view(1, 1, -1, 1), padding=(BLUR_RADIUS, 0)).squeeze(1)


def _contrast(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    return adjust_contrast(images, torch.full((len(images),), 1 - strength))


def _shift(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    angle = 2 * math.pi * torch.rand(len(images), generator=generator)
    return _moved(images, shift=torch.stack((angle.cos(), angle.sin())) * (strength / SIDE))


def _rotation(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    return _moved(images, rotation=math.radians(strength) * _signs(len(images), generator))


def _scale(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    return _moved(images, zoom=(1 + strength) ** _signs(len(images), generator))


def _shear(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    return _moved(images, shear=strength * _signs(len(images), generator))


def _elastic(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    angle = 2 * math.pi * torch.rand(len(images), ELASTIC_NODES, ELASTIC_NODES, generator=generator)
    return _moved(images, nodes=strength * torch.stack((angle.cos(), angle.sin()), -1))


def _thickness(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Mix an image with its grey-scale dilation, or erosion, by one pixel."""
    thicker = F.max_pool2d(images.unsqueeze(1), 3, stride=1, padding=1).squeeze(1)
    thinner = -F.max_pool2d(-images.unsqueeze(1), 3, stride=1, padding=1).squeeze(1)
    sign = _signs(len(images), generator).view(-1, 1, 1)
    return torch.lerp(images, torch.where(sign > 0, thicker, thinner), strength)


def _occlusion(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Set a square at a random place in the central 20×20 px, where the digit is, to black."""
    side = int(strength)
    corner = 4 + torch.randint(0, 21 - side, (2, len(images), 1), generator=generator)
    position = torch.arange(SIDE)
    rows, columns = ((position >= start) & (position < start + side) for start in corner)
    return images.masked_fill(rows.unsqueeze(2) & columns.unsqueeze(1), 0)


def _moved(
    images: Tensor,
    *,
    rotation: Tensor | None = None,
    zoom: Tensor | None = None,
    shear: Tensor | None = None,
    shift: Tensor | None = None,
    nodes: Tensor | None = None,
) -> Tensor:
    n = len(images)
    zeros = torch.zeros(n)
    maps = sampling_maps(
        zeros if rotation is None else rotation,
        torch.ones(n) if zoom is None else zoom,
        zeros if shear is None else shear,
        torch.zeros(2, n) if shift is None else shift,
    )
    return warp(images, maps, nodes)


def _signs(n: int, generator: torch.Generator) -> Tensor:
    return 2.0 * torch.randint(0, 2, (n,), generator=generator) - 1


CORRUPTIONS: dict[str, Corruption] = {
    "noise": Corruption(_noise, (0.1, 0.2, 0.3, 0.4, 0.5), "standard deviation of Gaussian noise, white = 1"),
    "blur": Corruption(_blur, (0.5, 1.0, 1.5, 2.0, 2.5), "standard deviation of a Gaussian blur, px"),
    "contrast": Corruption(_contrast, (0.4, 0.6, 0.7, 0.8, 0.9), "share of the contrast that is lost"),
    "shift": Corruption(_shift, (1.0, 2.0, 3.0, 4.0, 5.0), "shift in a random direction, px"),
    "rotation": Corruption(_rotation, (10.0, 20.0, 30.0, 40.0, 50.0), "rotation to either side, degrees"),
    "scale": Corruption(_scale, (0.1, 0.2, 0.3, 0.4, 0.5), "enlargement, or reduction by the same factor"),
    "shear": Corruption(_shear, (0.2, 0.4, 0.6, 0.8, 1.0), "tangent of the shear angle, to either side"),
    "elastic": Corruption(_elastic, (0.5, 1.0, 1.5, 2.0, 2.5), "displacement of each node of a 7×7 grid, px"),
    "stroke thickness": Corruption(
        _thickness, (0.2, 0.4, 0.6, 0.8, 1.0), "thickening or thinning by so many px on each side"
    ),
    "occlusion": Corruption(_occlusion, (4.0, 6.0, 8.0, 10.0, 12.0), "side of a black square, px"),
}
