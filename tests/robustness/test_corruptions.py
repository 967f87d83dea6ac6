"""Each corruption changes the images as documented and by the documented strength."""

import math

import pytest
import torch

from mnist_compact.robustness.corruptions import CORRUPTIONS, corrupted


def bar(rows=slice(6, 22), columns=slice(12, 16), n=64):
    """Images of a white vertical bar on black."""
    images = torch.zeros(n, 28, 28, dtype=torch.uint8)
    images[:, rows, columns] = 255
    return images


def centre(images):
    """The centre of mass of each image, (N, 2): row and column in px."""
    weights = images.double()
    position = torch.arange(28.0, dtype=torch.float64)
    mass = weights.sum((1, 2))
    rows = (weights.sum(2) * position).sum(1) / mass
    columns = (weights.sum(1) * position).sum(1) / mass
    return torch.stack((rows, columns), 1)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_corruption_is_repeatable_and_does_not_change_its_input(name):
    images = bar()
    first, second = corrupted(images, name, 3), corrupted(images, name, 3)
    assert first.dtype == torch.uint8
    assert first.shape == images.shape
    assert torch.equal(first, second)
    assert not torch.equal(first, images)
    assert torch.equal(images, bar())


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_higher_level_changes_more(name):
    images = bar(n=256)
    changes = [
        (corrupted(images, name, level).float() - images.float()).square().mean().item() for level in range(1, 6)
    ]
    assert changes == sorted(changes)


def test_noise_has_its_standard_deviation():
    grey = torch.full((64, 28, 28), 128, dtype=torch.uint8)
    assert corrupted(grey, "noise", 1).float().div(255).std().item() == pytest.approx(0.1, rel=0.02)


def test_blur_has_its_standard_deviation():
    point = torch.zeros(1, 28, 28, dtype=torch.uint8)
    point[0, 14, 14] = 255
    spread = corrupted(point, "blur", 3)[0].double().sum(0)
    position = torch.arange(28.0, dtype=torch.float64) - 14
    variance = ((spread * position**2).sum() / spread.sum()).item()
    assert math.sqrt(variance) == pytest.approx(1.5, rel=0.1)


def test_contrast_keeps_the_documented_share_of_the_range():
    images = corrupted(bar(), "contrast", 5)
    assert int(images.max()) - int(images.min()) == pytest.approx(0.1 * 255, abs=1)


def test_shift_moves_the_centre_by_its_pixels():
    moved = centre(corrupted(bar(), "shift", 4)) - centre(bar())
    assert moved.norm(dim=1) == pytest.approx(torch.full((64,), 4.0), abs=0.1)
    assert moved[:, 0].min() < -1 < 1 < moved[:, 0].max()


def test_rotation_turns_the_bar_in_both_directions():
    images = corrupted(bar(n=64), "rotation", 5).double()
    position = torch.arange(28.0, dtype=torch.float64) - 13.5
    mass = images.sum((1, 2))
    mixed = (images * position.view(-1, 1) * position).sum((1, 2)) / mass
    upright = (images * (position.view(-1, 1) ** 2 - position**2)).sum((1, 2)) / mass
    angles = torch.atan2(2 * mixed, upright).rad2deg() / 2
    assert angles.abs() == pytest.approx(torch.full((64,), 50.0), abs=1.5)
    assert angles.min() < 0 < angles.max()


def test_scale_changes_the_area_by_the_square_of_its_factor():
    areas = corrupted(bar(slice(10, 18), slice(10, 18)), "scale", 5).double().sum((1, 2)) / (255 * 64)
    assert sorted(set(areas.sqrt().mul(10).round().int().tolist())) == [7, 15]  # tenths of the side


def test_elastic_displacement_varies_and_is_limited():
    dot = bar(slice(13, 15), slice(13, 15))
    moved = (centre(corrupted(dot, "elastic", 3)) - centre(dot)).norm(dim=1)
    assert 0.3 < moved.mean() < moved.max() < 1.6


def test_shear_moves_rows_in_proportion_to_their_height():
    images = corrupted(bar(), "shear", 5).double()
    position = torch.arange(28.0, dtype=torch.float64)
    middles = (images * position).sum(2) / images.sum(2)
    slopes = (middles[:, 18] - middles[:, 9]) / 9
    assert slopes.abs() == pytest.approx(torch.ones(64), abs=0.05)
    assert slopes.min() < 0 < slopes.max()


def test_thickness_changes_strokes_by_a_pixel_on_each_side():
    areas = corrupted(bar(), "stroke thickness", 5).double().sum((1, 2)) / 255
    assert set(areas.tolist()) == {18 * 6, 14 * 2}


def test_occlusion_blackens_a_square_within_the_digit():
    images = torch.full((64, 28, 28), 255, dtype=torch.uint8)
    black = corrupted(images, "occlusion", 2) == 0
    assert black.sum((1, 2)).tolist() == [36] * 64
    assert not black[:, :4].any()
    assert not black[:, 24:].any()
