"""Batch augmentation against torchvision, image by image."""

import math

import pytest
import torch
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from mnist_compact.data.augmentation import SIDE, Augmentation, adjust_brightness, adjust_contrast, sampling_maps, warp


@pytest.fixture
def images():
    """Smooth shapes (6, 28, 28) in [0, 1]: interpolation differs by little where coordinates do by rounding."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(6, 1, 9, 9, generator=generator)
    return torch.nn.functional.interpolate(coarse, SIDE, mode="bicubic", align_corners=False).clamp(0, 1).squeeze(1)


@pytest.mark.parametrize(
    ("degrees", "zoom", "shear_deg", "right", "down"),
    [
        (0, 1, 0, 0, 0),
        (12, 1, 0, 0, 0),
        (-30, 1, 0, 0, 0),
        (0, 1.2, 0, 0, 0),
        (0, 0.8, 0, 0, 0),
        (0, 1, 0, 0.1, 0),
        (0, 1, 0, 0, -0.25),
        (9, 1.1, 0, 0.05, 0.1),
        (0, 1, 8, 0, 0),
    ],
)
def test_the_warp_is_torchvisions_affine(images, degrees, zoom, shear_deg, right, down):
    n = len(images)
    full = torch.full((n,), 1.0)
    maps = sampling_maps(
        math.radians(degrees) * full,
        zoom * full,
        -math.tan(math.radians(shear_deg)) * full,
        torch.stack((right * full, down * full)),
    )
    expected = tv.affine(
        images.unsqueeze(1),
        angle=degrees,
        translate=[right * SIDE, down * SIDE],
        scale=zoom,
        shear=[shear_deg, 0.0],
        interpolation=InterpolationMode.BILINEAR,
        fill=[0.0],
    ).squeeze(1)
    # Where a sample lies partly outside, torchvision blends with its fill in a way of its own.
    inside = warp(torch.ones_like(images), maps) > 0.9999
    assert inside.float().mean() > 0.5
    torch.testing.assert_close(warp(images, maps)[inside], expected[inside], atol=2e-3, rtol=0)


@pytest.mark.parametrize("factor", [0.0, 0.7, 1.0, 1.6])
def test_brightness_and_contrast_are_torchvisions(images, factor):
    factors = torch.full((len(images),), factor)
    torch.testing.assert_close(
        adjust_brightness(images, factors), tv.adjust_brightness(images.unsqueeze(1), factor).squeeze(1)
    )
    torch.testing.assert_close(
        adjust_contrast(images, factors), tv.adjust_contrast(images.unsqueeze(1), factor).squeeze(1)
    )


def build(**strengths):
    off = dict.fromkeys(("rotation_deg", "shift_fraction", "scale_fraction", "shear", "brightness", "contrast"), 0.0)
    return Augmentation(**{**off, **strengths})


def draw(augmentation, images, strength=1.0, seed=0):
    return augmentation(images.clone(), strength, torch.Generator().manual_seed(seed))


ALL_ON = {
    "rotation_deg": 10,
    "shift_fraction": 0.1,
    "scale_fraction": 0.1,
    "shear": 0.2,
    "brightness": 0.2,
    "contrast": 0.2,
}


@pytest.mark.parametrize("one", ALL_ON)
def test_every_image_has_parameters_of_its_own(images, one):
    same = images[:1].expand(5, -1, -1).contiguous()
    changed = draw(build(**{one: ALL_ON[one]}), same)
    assert len({tuple(image.flatten().tolist()) for image in changed}) == 5


def test_off_and_eased_off_leave_images_alone(images):
    assert torch.equal(draw(build(), images), images)
    assert torch.equal(draw(build(**ALL_ON), images, strength=0.0), images)


def test_half_the_strength_is_half_the_parameters(images):
    full, half = build(rotation_deg=5), build(rotation_deg=10)
    torch.testing.assert_close(draw(full, images), draw(half, images, strength=0.5))


def test_parameters_are_uniform_within_their_range():
    """A white image under brightness 0.4 shows the factor itself, below 1."""
    grey = torch.full((20_000, SIDE, SIDE), 0.5)
    factors = draw(build(brightness=0.4), grey)[:, 0, 0] / 0.5
    assert 0.6 <= factors.min() < 0.601
    assert 1.399 < factors.max() <= 1.4 + 1e-6
    assert abs(factors.mean() - 1) < 0.006
    assert abs(factors.std() - 0.8 / 12**0.5) < 0.005


@pytest.mark.parametrize(
    ("ease", "epochs", "strengths"),
    [(0, 4, [1, 1, 1, 1]), (2, 4, [1, 1, 0.5, 0]), (4, 4, [0.75, 0.5, 0.25, 0]), (1, 3, [1, 1, 0])],
)
def test_strengths_ease_off_to_none_in_the_last_epoch(configure, ease, epochs, strengths):
    config = configure(f"augment.ease_off_epochs={ease}", f"train.epochs={epochs}").augment
    assert [config.strength(epoch, epochs) for epoch in range(1, epochs + 1)] == strengths
