"""Batch augmentation against torchvision and scipy, image by image."""

import math
import re

import numpy as np
import pytest
import torch
from scipy import ndimage
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from mnist_compact.common.errors import ConfigError
from mnist_compact.data.augmentation import SIDE, adjust_brightness, adjust_contrast, displacements, sampling_maps, warp
from mnist_compact.data.config import AugmentConfig


@pytest.fixture
def images():
    """Smooth shapes (6, 28, 28) in [0, 1], so that rounding of coordinates has little effect."""
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
def test_affine_warp_agrees_with_torchvision(images, degrees, zoom, shear_deg, right, down):
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
    # Samples partly outside the image are excluded, because torchvision blends its fill value differently.
    inside = warp(torch.ones_like(images), maps) > 0.9999
    assert inside.float().mean() > 0.5
    torch.testing.assert_close(warp(images, maps)[inside], expected[inside], atol=2e-3, rtol=0)


@pytest.mark.parametrize("factor", [0.0, 0.7, 1.0, 1.6])
def test_brightness_and_contrast_agree_with_torchvision(images, factor):
    factors = torch.full((len(images),), factor)
    torch.testing.assert_close(
        adjust_brightness(images, factors), tv.adjust_brightness(images.unsqueeze(1), factor).squeeze(1)
    )
    torch.testing.assert_close(
        adjust_contrast(images, factors), tv.adjust_contrast(images.unsqueeze(1), factor).squeeze(1)
    )


def build(**strengths):
    return AugmentConfig(name="mine", **strengths).build()


def draw(augmentation, images, strength=1.0, seed=0):
    return augmentation(images.clone(), strength, torch.Generator().manual_seed(seed))


ALL_ON = {
    "rotation_deg": 10,
    "shift_fraction": 0.1,
    "scale_fraction": 0.1,
    "shear": 0.2,
    "brightness": 0.2,
    "contrast": 0.2,
    "elastic_px": 0.5,
}


@pytest.mark.parametrize("one", ALL_ON)
def test_every_image_has_its_own_parameters(images, one):
    same = images[:1].expand(5, -1, -1).contiguous()
    changed = draw(build(**{one: ALL_ON[one]}), same)
    assert len({tuple(image.flatten().tolist()) for image in changed}) == 5


def test_disabled_and_eased_off_augmentation_changes_nothing(images):
    assert torch.equal(draw(build(), images), images)
    assert torch.equal(draw(build(**ALL_ON), images, strength=0.0), images)


def test_half_strength_halves_the_parameters(images):
    full, half = build(rotation_deg=5), build(rotation_deg=10)
    torch.testing.assert_close(draw(full, images), draw(half, images, strength=0.5))


def test_parameters_are_uniform_within_their_range():
    """The values of a white image show the brightness factor if it is below 1."""
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
def test_strength_eases_off_to_zero_in_the_last_epoch(configure, ease, epochs, strengths):
    config = configure(f"augment.ease_off_epochs={ease}", f"train.epochs={epochs}").augment
    assert [config.strength(epoch, epochs) for epoch in range(1, epochs + 1)] == strengths


@pytest.mark.parametrize("nodes", [2, 5, 8])
def test_elastic_field_agrees_with_scipy_spline(nodes):
    vectors = torch.rand(3, nodes, nodes, 2, generator=torch.Generator().manual_seed(0)) - 0.5
    places = np.stack(np.meshgrid(*[np.linspace(0, nodes - 1, SIDE)] * 2, indexing="ij"))
    for field, image in zip(displacements(vectors), vectors.numpy(), strict=True):
        for axis in range(2):
            # Without its prefilter scipy uses the values as B-spline coefficients, as the package does.
            expected = ndimage.map_coordinates(image[..., axis], places, order=3, mode="nearest", prefilter=False)
            np.testing.assert_allclose(field[..., axis], expected, atol=1e-5)


def test_elastic_warp_agrees_with_scipy(images):
    nodes = 4 * torch.rand(len(images), 6, 6, 2, generator=torch.Generator().manual_seed(0)) - 2
    still = torch.eye(2, 3).expand(len(images), -1, -1)
    places, fields = np.mgrid[:SIDE, :SIDE], displacements(nodes).permute(0, 3, 1, 2)
    for ours, image, (right, down) in zip(warp(images, still, nodes), images, fields, strict=True):
        at = places + np.stack((down, right))
        expected = ndimage.map_coordinates(image.numpy(), at, order=1, mode="grid-constant")
        np.testing.assert_allclose(ours, expected, atol=1e-4)


def test_elastic_displacement_is_limited_by_the_strength():
    """The image is a ramp whose value is its column, so its values show the displacement."""
    ramp = (torch.arange(SIDE) / 100).expand(200, SIDE, SIDE).contiguous()
    for strength in (1, 0.5):
        bent = draw(build(elastic_px=0.5, elastic_nodes=6), ramp, strength) - ramp
        furthest = bent[:, 2:-2, 2:-2].abs().max() * 100
        assert 0.35 * strength < furthest <= 0.5 * strength + 1e-3


GROUPS = {
    "affine_probability": ("rotation_deg", "shift_fraction", "scale_fraction", "shear"),
    "jitter_probability": ("brightness", "contrast"),
    "elastic_probability": ("elastic_px",),
}


@pytest.mark.parametrize("probability", GROUPS)
def test_probability_gives_the_number_of_changed_images(images, probability):
    strengths = {one: ALL_ON[one] for one in GROUPS[probability]}
    many = images[:1].expand(2_000, -1, -1).contiguous()
    changed = (draw(build(**strengths, **{probability: 0.3}), many) != many).flatten(1).any(1)
    assert changed.float().mean() == pytest.approx(0.3, abs=0.04)
    assert torch.equal(draw(build(**strengths, **{probability: 0.0}), images), images)


def test_changes_are_chosen_independently(images):
    """If each of two changes applies to half of the images, a quarter has both and a quarter has none."""
    many = images[:1].expand(2_000, -1, -1).contiguous()
    half = build(brightness=0.4, jitter_probability=0.5, rotation_deg=20, affine_probability=0.5)
    assert (draw(half, many) == many).flatten(1).all(1).float().mean() == pytest.approx(0.25, abs=0.04)


def test_affine_and_elastic_changes_are_chosen_independently(images):
    """If each of the two applies to half of the images, a quarter has both and a quarter has none."""
    many = images[:1].expand(1_000, -1, -1).contiguous()
    half = build(rotation_deg=20, affine_probability=0.5, elastic_px=2, elastic_probability=0.5)
    assert (draw(half, many) == many).flatten(1).all(1).float().mean() == pytest.approx(0.25, abs=0.05)


def test_images_have_only_their_chosen_changes(images):
    """If one change is never chosen, the images equal those with the other change alone."""
    never_affine = {"affine_probability": 0.0, "elastic_px": 2}
    bent = draw(build(rotation_deg=20, **never_affine), images)
    assert torch.equal(bent, draw(build(shift_fraction=0.2, **never_affine), images))
    assert not torch.equal(bent, images)
    turned = draw(build(rotation_deg=20, elastic_px=2, elastic_probability=0.0), images)
    assert torch.equal(turned, draw(build(rotation_deg=20), images))


def test_unused_augmentations_do_not_change_the_draws(images):
    """Runs of versions without probabilities and elastic distortion made seven draws per image in this order."""
    strengths = {**ALL_ON, "elastic_px": 0.0}
    before, now = (torch.Generator().manual_seed(3) for _ in range(2))
    changed = build(**strengths)(images.clone(), 0.7, now)
    draws = torch.rand(7, len(images), generator=before).mul_(2).sub_(1).mul_(0.7)
    expected = adjust_contrast(adjust_brightness(images, 1 + 0.2 * draws[0]), 1 + 0.2 * draws[1])
    maps = sampling_maps(math.radians(10) * draws[2], 1 + 0.1 * draws[3], 0.2 * draws[4], 0.1 * draws[5:7])
    assert torch.equal(changed, warp(expected, maps))
    assert torch.equal(now.get_state(), before.get_state())


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("augment.affine_probability=1.1", "must be in [0, 1], got 1.1"),
        ("augment.jitter_probability=-0.1", "must be in [0, 1], got -0.1"),
        ("augment.elastic_probability=2", "must be in [0, 1], got 2.0"),
        ("augment.elastic_px=-1", "must be in [0, 14], got -1.0"),
        ("augment.elastic_nodes=1", "must be in [2, 28], got 1"),
    ],
)
def test_value_out_of_range_is_named(configure, override, message):
    key = override.partition("=")[0]
    with pytest.raises(ConfigError, match=re.escape(f"{key} {message}")):
        configure(override)
