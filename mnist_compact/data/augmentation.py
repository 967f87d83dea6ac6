"""Random changes of whole batches of images, every image with parameters of its own."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mnist_compact.common.shapes import SIDE
from mnist_compact.data.augment_settings import AugmentSettings


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


def displacements(nodes: Tensor) -> Tensor:
    """Smooth fields (N, 28, 28, 2) px from the vectors (N, k, k, 2), right and down, of k × k nodes from edge to edge.

    A uniform cubic B-spline, whose nodes on the edge go on outside: nothing moves further than the nodes do.
    """
    n, k = nodes.shape[:2]
    spline = _spline_rows(k, nodes.device)
    lines = spline @ nodes.view(n, k, 2 * k)  # (N, 28, 2 k)
    # Right and down stay side by side, (2 k, 56): a grid's layout, which to reorder takes longer than this product.
    both = torch.kron(spline.T.contiguous(), torch.eye(2, device=nodes.device))
    return (lines.view(-1, 2 * k) @ both).view(n, SIDE, SIDE, 2)


def _spline_rows(k: int, device: torch.device) -> Tensor:
    """(28, k): what each of k nodes adds at every pixel of a line."""
    place = torch.linspace(0, k - 1, SIDE, device=device).view(-1, 1)
    distance = (place - torch.arange(-1, k + 1, device=device)).abs()
    near, far = 2 / 3 - distance**2 + distance**3 / 2, (2 - distance).clamp(min=0) ** 3 / 6
    rows = torch.where(distance < 1, near, far)
    rows[:, 1] += rows[:, 0]
    rows[:, -2] += rows[:, -1]
    return rows[:, 1:-1]


def warp(images: Tensor, maps: Tensor, nodes: Tensor | None = None) -> Tensor:
    """Images (N, 28, 28) sampled through maps (N, 2, 3) and beside it by what `displacements` makes of `nodes`.

    Bilinear, zeros outside.
    """
    # One product with constant rows makes all grids; F.affine_grid multiplies image by image and takes longer.
    grid = (maps.view(-1, 6) @ _grid_rows(maps.device)).view(-1, SIDE, SIDE, 2)
    if nodes is not None:
        grid = grid.add_(displacements(nodes), alpha=2 / SIDE)
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


@dataclass(slots=True, frozen=True)
class Augmentation:
    """Draws uniformly within ± each of the strengths.

    Brightness comes before contrast and both before the warp, which is one sampling, affine and elastic together;
    torchvision's ColorJitter shuffles the first two.
    """

    settings: AugmentSettings

    def __call__(self, images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
        """Images (N, 28, 28) in [0, 1], all strengths multiplied by `strength`. 0 everywhere gives `images` back."""
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
            bent = draw.chosen(n, given.elastic_probability)
            nodes = draw.uniform(n, given.elastic_nodes, given.elastic_nodes, 2) * bent.view(-1, 1, 1, 1)
            nodes *= strength * given.elastic_px
            affected = bent if affected is None else affected | bent
        return images if affected is None else self._warped(images, affected, affine, nodes)

    def _reaches_all(self) -> bool:
        """Whether no image escapes the warp."""
        given = self.settings
        affine = given.rotation_deg or given.shift_fraction or given.scale_fraction or given.shear
        return bool((affine and given.affine_probability == 1) or (given.elastic_px and given.elastic_probability == 1))

    def _warped(self, images: Tensor, affected: Tensor, draws: Tensor, nodes: Tensor | None) -> Tensor:
        """The others stay as they are, to the bit, and on a CPU cost nothing."""
        given = self.settings
        maps = sampling_maps(
            math.radians(given.rotation_deg) * draws[0],
            1 + given.scale_fraction * draws[1],
            given.shear * draws[2],
            given.shift_fraction * draws[3:5],
        )
        if self._reaches_all():
            return warp(images, maps, nodes)
        if affected.device.type != "cpu":  # which are affected, the host would have to wait for
            return torch.where(affected.view(-1, 1, 1), warp(images, maps, nodes), images)
        which = affected.nonzero().squeeze(1)
        nodes = None if nodes is None else nodes.index_select(0, which)
        warped = warp(images.index_select(0, which), maps.index_select(0, which), nodes)
        return images.index_copy(0, which, warped)


@dataclass(slots=True, frozen=True)
class Draw:
    """Random numbers of a batch. A probability of 1 draws none, so that it leaves the others what they are."""

    generator: torch.Generator
    device: torch.device

    def uniform(self, *shape: int) -> Tensor:
        """In [-1, 1)."""
        return torch.rand(*shape, generator=self.generator, device=self.device).mul_(2).sub_(1)

    def chosen(self, n: int, probability: float) -> Tensor:
        """(n,): true with this probability."""
        if probability == 1:
            return torch.ones(n, dtype=torch.bool, device=self.device)
        return torch.rand(n, generator=self.generator, device=self.device) < probability
