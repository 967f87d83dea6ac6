"""Random changes of whole batches of images, every image with parameters of its own."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

SIDE = 28  # px


def scaled(images: Tensor) -> Tensor:
    """uint8 in 0 … 255 → float in [0, 1]."""
    return images.float().div_(255)


def sampling_maps(rotation: Tensor, zoom: Tensor, shear: Tensor, shift: Tensor) -> Tensor:
    """Matrices (N, 2, 3) that give, for a place in the output, the place in the input it is sampled from.

    The image is sheared (x += shear · y), zoomed, rotated by `rotation` radians clockwise, and shifted by `shift`
    (2, N), right and down, in parts of its side; all about its centre. Coordinates run from -1 to 1 as in
    torch.nn.functional.affine_grid.
    """
    cos, sin = rotation.cos() / zoom, rotation.sin() / zoom
    right, down = 2 * shift
    a, b = cos + shear * sin, sin - shear * cos
    rows = (a, b, -(a * right + b * down), -sin, cos, sin * right - cos * down)
    return torch.stack(rows, 1).view(-1, 2, 3)


def warp(images: Tensor, maps: Tensor) -> Tensor:
    """Images (N, 28, 28) sampled through maps (N, 2, 3): bilinear, zeros outside."""
    # One product with constant rows makes all grids; F.affine_grid multiplies image by image and takes longer.
    grid = (maps.view(-1, 6) @ _grid_rows(maps.device)).view(-1, SIDE, SIDE, 2)
    return F.grid_sample(images.unsqueeze(1), grid, mode="bilinear", padding_mode="zeros", align_corners=False).squeeze(
        1
    )


def _grid_rows(device: torch.device) -> Tensor:
    """(6, 28 · 28 · 2): what each entry of a map adds to every coordinate of its grid."""
    place = (2 * torch.arange(SIDE, device=device) + 1) / SIDE - 1
    y, x = torch.meshgrid(place, place, indexing="ij")
    basis = torch.stack((x, y, torch.ones_like(x)))
    rows = torch.zeros(2, 3, SIDE, SIDE, 2, device=device)
    rows[0, ..., 0] = basis
    rows[1, ..., 1] = basis
    return rows.view(6, -1)


def adjust_brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Images (N, 28, 28) in [0, 1] times factor (N,), clamped."""
    return (images * factor.view(-1, 1, 1)).clamp_(0, 1)


def adjust_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Images (N, 28, 28) in [0, 1] spread by factor (N,) about each image's mean, clamped."""
    return torch.lerp(images.mean((1, 2), keepdim=True), images, factor.view(-1, 1, 1)).clamp_(0, 1)


@dataclass(kw_only=True, slots=True, frozen=True)
class Augmentation:
    """Draws uniformly within ± each strength; the units stand in `AugmentConfig`.

    Brightness comes before contrast and both before the warp; torchvision's ColorJitter shuffles the first two.
    """

    rotation_deg: float
    shift_fraction: float
    scale_fraction: float
    shear: float
    brightness: float
    contrast: float

    def __call__(self, images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
        """Images (N, 28, 28) in [0, 1], all strengths multiplied by `strength`. 0 everywhere gives `images` back."""
        n = len(images)
        draws = torch.rand(7, n, generator=generator, device=images.device).mul_(2).sub_(1).mul_(strength)
        if strength and self.brightness:
            images = adjust_brightness(images, 1 + self.brightness * draws[0])
        if strength and self.contrast:
            images = adjust_contrast(images, 1 + self.contrast * draws[1])
        if strength and (self.rotation_deg or self.shift_fraction or self.scale_fraction or self.shear):
            maps = sampling_maps(
                math.radians(self.rotation_deg) * draws[2],
                1 + self.scale_fraction * draws[3],
                self.shear * draws[4],
                self.shift_fraction * draws[5:7],
            )
            images = warp(images, maps)
        return images
