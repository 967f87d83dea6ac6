"""Pictures are brought into the form of MNIST as the module's docstring describes."""

import numpy as np
import pytest
from drawn import enlarged, photographed

from mnist_compact.deploy.preprocessing import NoDigitError, background, box_scaled, ink_of, margin_of, otsu, to_mnist


@pytest.fixture
def digit():
    """A seven in the form of MNIST: 20 px high, centred by its mass."""
    image = np.zeros((28, 28), np.uint8)
    image[4:7, 7:21] = 255
    for row in range(7, 24):
        column = 19 - (row - 7) // 2
        image[row, column - 2 : column + 1] = 255
    return to_mnist(image)


def similarity(found, expected):
    """The correlation of two images, at the best shift by up to one pixel."""
    shifted = [np.roll(found, (down, right), (0, 1)) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    return max(np.corrcoef(each.ravel(), expected.ravel())[0, 1] for each in shifted)


def test_image_in_the_form_of_mnist_stays_as_it_is(digit):
    np.testing.assert_array_equal(to_mnist(digit), digit)


def test_result_is_20_px_long_and_centred_by_its_mass(digit):
    rows, columns = (np.flatnonzero(digit.any(axis)) for axis in (1, 0))
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == 20
    for axis in (0, 1):
        centre = digit.sum(1 - axis) @ (np.arange(28) + 0.5) / digit.sum()
        assert abs(centre - 14.5) <= 0.5
    assert digit.max() == 255


@pytest.mark.parametrize("shape", [(280, 280), (300, 500), (997, 331), (40, 90)])
@pytest.mark.parametrize("dark", [True, False])
def test_size_place_and_polarity_do_not_matter(digit, shape, dark):
    picture = np.zeros(shape, np.uint8)
    side = min(shape) * 4 // 5
    picture[3 : 3 + side, 5 : 5 + side] = enlarged(digit, side)
    found = to_mnist(255 - picture if dark else picture)
    assert similarity(found, digit) > 0.85


def test_uneven_light_and_noise_are_removed(digit):
    generator = np.random.default_rng(0)
    for _ in range(5):
        assert similarity(to_mnist(photographed(digit, generator)), digit) > 0.75


@pytest.mark.parametrize("paper", [0, 21, 128, 234, 255])
def test_thin_digit_on_even_paper_is_found(paper):
    """The background differs from its surface by rounding errors only, at more pixels than the digit has."""
    picture = np.full((40, 90), paper, np.uint8)
    picture[10:31, 20:22] = 255 if paper < 100 else 0
    found = to_mnist(picture)
    assert found.max() == 255
    assert (found > 127).sum() == 40  # 20×2 px


def test_single_points_are_not_part_of_the_digit(digit):
    picture = enlarged(digit).copy()
    clean = to_mnist(picture)
    picture[20, 20] = picture[250, 270] = 255
    np.testing.assert_array_equal(to_mnist(picture), clean)


@pytest.mark.parametrize("level", [0, 100, 255])
def test_empty_picture_is_refused(level):
    with pytest.raises(NoDigitError, match="shows no digit: the strongest contrast is 0"):
        to_mnist(np.full((40, 60), level, np.uint8))


def test_faint_picture_and_single_points_are_refused():
    faint = np.full((40, 60), 100, np.uint8)
    faint[10:30, 20:25] += 15
    with pytest.raises(NoDigitError, match="at least 32 are needed"):
        to_mnist(faint)
    points = np.zeros((40, 60), np.uint8)
    points[10, 10] = points[30, 40] = 255
    with pytest.raises(NoDigitError, match="only single points"):
        to_mnist(points)


@pytest.mark.parametrize("shape", [(8, 8), (8, 3000), (2000, 8)])
def test_extreme_shapes_are_brought_into_form(shape):
    picture = np.zeros(shape, np.uint8)
    picture[2:-2, 2:-2] = 255
    found = to_mnist(picture)
    assert found.shape == (28, 28)
    assert found.max() == 255


def test_box_scaling_averages_over_areas():
    np.testing.assert_allclose(box_scaled(np.array([[0.0, 3.0, 6.0]]), 1, 2), [[1.0, 5.0]])
    values = np.random.default_rng(1).random((6, 9))
    np.testing.assert_allclose(box_scaled(values, 2, 3), values.reshape(2, 3, 3, 3).mean((1, 3)))
    np.testing.assert_allclose(box_scaled(values, 13, 4).mean(), values.mean())
    np.testing.assert_allclose(box_scaled(values, 12, 18), np.kron(values, np.ones((2, 2))))


def test_background_follows_a_quadratic_surface():
    y, x = np.meshgrid(np.linspace(-1, 1, 30), np.linspace(-1, 1, 40), indexing="ij")
    surface = 150 + 20 * x - 30 * y + 10 * x * x + 5 * x * y - 15 * y * y
    levels = surface.copy()
    levels[:2, 10:16] = 0  # ink that reaches the edge
    np.testing.assert_allclose(background(levels, margin_of(levels.shape)), surface, atol=0.1)


def test_dark_ink_is_relative_to_the_background_and_light_ink_is_not():
    ground = np.array([[200.0, 100.0], [32.0, 255.0]])
    np.testing.assert_allclose(ink_of(ground / 4, ground), 255 * 0.75 * np.array([[1, 1], [0.5, 1]]))
    light = np.array([[255.0, 255.0], [254.0, 100.0]])
    np.testing.assert_allclose(ink_of(light, np.full((2, 2), 155.0)), [[100, 100], [99, 0]])


def test_otsu_agrees_with_the_definition():
    ink = np.random.default_rng(2).choice([3, 5, 9, 120, 130, 255], 200, p=[0.3, 0.2, 0.2, 0.1, 0.1, 0.1]).astype(float)

    def between(t):
        low, high = ink[ink <= t], ink[ink > t]
        return len(low) * len(high) * (low.mean() - high.mean()) ** 2 if len(low) and len(high) else 0

    scores = [between(t) for t in range(256)]
    assert otsu(ink) == int(np.argmax(scores))
