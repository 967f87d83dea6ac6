"""Augmentation of whole batches, with independent random parameters for every image.

N is the number of images. Images are 28×28 px.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mnist_compact.common.shapes import SIDE
from mnist_compact.data.augment_settings import AugmentSettings


def scaled(images: Tensor) -> Tensor:
    """Convert uint8 pixels in [0, 255] to float32 in [0, 1]."""
    return images.float().div_(255)


def sampling_maps(rotation: Tensor, zoom: Tensor, shear: Tensor, shift: Tensor) -> Tensor:
    """Return affine maps from output coordinates to input coordinates, as torch.nn.functional.affine_grid takes them.

    The image is sheared (x += shear · y), zoomed, rotated and shifted, in this order, all about its centre.
    Coordinates run from -1 to 1.

    Args:
        rotation: Clockwise rotation in radians, (N,).
        zoom: Zoom factor, (N,).
        shear: Tangent of the shear angle, (N,).
        shift: Shift to the right and down, as a fraction of the image's side, (2, N).

    Returns:
        The maps, (N, 2, 3).
    """
    cos, sin = rotation.cos() / zoom, rotation.sin() / zoom
    right, down = 2 * shift
    a, b = cos + shear * sin, sin - shear * cos
    rows = (a, b, -(a * right + b * down), -sin, cos, sin * right - cos * down)
    return torch.stack(rows, 1).view(-1, 2, 3)


def displacements(nodes: Tensor) -> Tensor:
    """Interpolate the displacements of k × k nodes by a uniform cubic B-spline.

    The nodes reach from edge to edge. The nodes on the edge are repeated outside the image. No pixel moves farther than
    the node that moves farthest.

    Args:
        nodes: Displacement of each node in px, to the right and down, (N, k, k, 2).

    Returns:
        Displacement of each pixel in px, (N, 28, 28, 2).
    """
    n, k = nodes.shape[:2]
    spline = _spline_rows(k, nodes.device)
    lines = spline @ nodes.view(n, k, 2 * k)  # (N, 28, 2 k)
    # A grid stores right and down side by side, (2 k, 56). Reordering it would take longer than this product.
    both = torch.kron(spline.T.contiguous(), torch.eye(2, device=nodes.device))
    return (lines.view(-1, 2 * k) @ both).view(n, SIDE, SIDE, 2)


def _spline_rows(k: int, device: torch.device) -> Tensor:
    """Return the spline's weight of each of k nodes at every pixel of a line, (28, k)."""
    position = torch.linspace(0, k - 1, SIDE, device=device).view(-1, 1)
    distance = (position - torch.arange(-1, k + 1, device=device)).abs()
    near, far = 2 / 3 - distance**2 + distance**3 / 2, (2 - distance).clamp(min=0) ** 3 / 6
    rows = torch.where(distance < 1, near, far)
    rows[:, 1] += rows[:, 0]
    rows[:, -2] += rows[:, -1]
    return rows[:, 1:-1]


def warp(images: Tensor, maps: Tensor, nodes: Tensor | None = None) -> Tensor:
    """Sample images through affine maps and an elastic field, bilinearly, with zeros outside the image.

    Args:
        images: (N, 28, 28).
        maps: Affine maps as `sampling_maps` returns them, (N, 2, 3).
        nodes: Displacements in px as `displacements` takes them, (N, k, k, 2); None for no elastic distortion.

    Returns:
        The warped images, (N, 28, 28).
    """
    # One product with constant rows makes all grids. F.affine_grid multiplies image by image and takes longer.
    grid = (maps.view(-1, 6) @ _grid_rows(maps.device)).view(-1, SIDE, SIDE, 2)
    if nodes is not None:
        grid = grid.add_(displacements(nodes), alpha=2 / SIDE)
    return F.grid_sample(images.unsqueeze(1), grid, mode="bilinear", padding_mode="zeros", align_corners=False).squeeze(
        1
    )


def _grid_rows(device: torch.device) -> Tensor:
    """Return the contribution of each entry of a map to every coordinate of its grid, (6, 28 · 28 · 2)."""
    centres = (2 * torch.arange(SIDE, device=device) + 1) / SIDE - 1
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    basis = torch.stack((x, y, torch.ones_like(x)))
    rows = torch.zeros(2, 3, SIDE, SIDE, 2, device=device)
    rows[0, ..., 0] = basis
    rows[1, ..., 1] = basis
    return rows.view(6, -1)


def adjust_brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply images (N, 28, 28) in [0, 1] by `factor` (N,) and clamp them to [0, 1]."""
    return (images * factor.view(-1, 1, 1)).clamp_(0, 1)


def adjust_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Scale images (N, 28, 28) in [0, 1] by `factor` (N,) about each image's mean and clamp them to [0, 1]."""
    return torch.lerp(images.mean((1, 2), keepdim=True), images, factor.view(-1, 1, 1)).clamp_(0, 1)


@dataclass(slots=True, frozen=True)
class Augmentation:
    """Augments batches with the strengths of `settings`.

    The order is brightness, contrast, warp. The warp samples once for affine and elastic changes together.
    torchvision's ColorJitter shuffles brightness and contrast.
    """

    settings: AugmentSettings

    def __call__(self, images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
        """Augment a batch.

        Args:
            images: (N, 28, 28), in [0, 1].
            strength: Factor of all strengths, in [0, 1].
            generator: Source of the random numbers, on the device of `images`.

        Returns:
            The augmented images, (N, 28, 28). If all strengths are 0, this is `images` itself.
        """
        given, n, draw = self.settings, len(images), Draw(generator, images.device)
        draws = draw.uniform(7, n) * strength
        jitter, affine = draws[:2], draws[2:]
        if not strength:
            return images
        if given.brightness or given.contrast:
            jitter = jitter * draw.chosen(n, given.jitter_probability)
        if given.brightness:
            images = adjust_brightness(images, 1 + given.brightness * jitter[0])
        if given.contrast:
            images = adjust_contrast(images, 1 + given.contrast * jitter[1])
        affected: Tensor | None = None
        nodes: Tensor | None = None
        if given.rotation_deg or given.shift_fraction or given.scale_fraction or given.shear:
            affected = draw.chosen(n, given.affine_probability)
            affine = affine * affected
        if given.elastic_px:
            distorted = draw.chosen(n, given.elastic_probability)
            nodes = draw.uniform(n, given.elastic_nodes, given.elastic_nodes, 2) * distorted.view(-1, 1, 1, 1)
            nodes *= strength * given.elastic_px
            affected = distorted if affected is None else affected | distorted
        return images if affected is None else self._warped(images, affected, affine, nodes)

    def _reaches_all(self) -> bool:
        """Return whether every image is warped."""
        given = self.settings
        affine = given.rotation_deg or given.shift_fraction or given.scale_fraction or given.shear
        return bool((affine and given.affine_probability == 1) or (given.elastic_px and given.elastic_probability == 1))

    def _warped(self, images: Tensor, affected: Tensor, draws: Tensor, nodes: Tensor | None) -> Tensor:
        """Warp the affected images. All other images keep their bits, and on a CPU they are not sampled at all."""
        given = self.settings
        maps = sampling_maps(
            math.radians(given.rotation_deg) * draws[0],
            1 + given.scale_fraction * draws[1],
            given.shear * draws[2],
            given.shift_fraction * draws[3:5],
        )
        if self._reaches_all():
            return warp(images, maps, nodes)
        if affected.device.type != "cpu":  # selecting the affected images would make the host wait for the device
            return torch.where(affected.view(-1, 1, 1), warp(images, maps, nodes), images)
        which = affected.nonzero().squeeze(1)
        nodes = None if nodes is None else nodes.index_select(0, which)
        warped = warp(images.index_select(0, which), maps.index_select(0, which), nodes)
        return images.index_copy(0, which, warped)


@dataclass(slots=True, frozen=True)
class Draw:
    """Random numbers of a batch. A probability of 1 draws no number, so it does not change the numbers that follow."""

    generator: torch.Generator
    device: torch.device

    def uniform(self, *shape: int) -> Tensor:
        """Draw numbers in [-1, 1)."""
        return torch.rand(*shape, generator=self.generator, device=self.device).mul_(2).sub_(1)

    def chosen(self, n: int, probability: float) -> Tensor:
        """Draw a mask (n,) whose entries are true with this probability."""
        if probability == 1:
            return torch.ones(n, dtype=torch.bool, device=self.device)
        return torch.rand(n, generator=self.generator, device=self.device) < probability
