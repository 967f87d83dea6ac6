"""The interval for new images: against the exact variance of the resampling, and by its coverage."""

import numpy as np
import pytest
from seeds_by_hand import SPLIT, scored, write_seed

from mnist_compact.config.composition import compose
from mnist_compact.confirmation.bootstrap import crossed_interval, unpacked
from mnist_compact.confirmation.confirmation import Confirmation
from mnist_compact.confirmation.results import SeedResults


def drawn(generator, seeds, images, hard=0.02):
    """Images that are mostly easy, and seeds that differ a little."""
    difficulty = np.where(generator.random(images) < hard, generator.normal(0.3, 1.0, images), -9.0)
    skill = generator.normal(0, 0.3, (seeds, 1))
    return generator.random((seeds, images)) > 1 / (1 + np.exp(skill - difficulty))


def test_width_agrees_with_owens_variance():
    """Σaᵢ²/n² + Σbⱼ²/m² + Σrᵢⱼ²/(nm)² of rows, columns and the rest, exact for crossed multinomial weights."""
    correct = drawn(np.random.default_rng(3), 20, 10_000)
    n, m = correct.shape
    mean = correct.mean()
    rows, columns = correct.mean(1) - mean, correct.mean(0) - mean
    rest = correct - mean - rows[:, None] - columns
    sd = 100 * np.sqrt((rows**2).sum() / n**2 + (columns**2).sum() / m**2 + (rest**2).sum() / (n * m) ** 2)
    low, high = crossed_interval(correct, draws=10_000)
    assert high - low == pytest.approx(2 * 1.96 * sd, rel=0.03)
    assert (low + high) / 2 == pytest.approx(100 * mean, abs=0.1 * sd)


def test_coverage_for_new_seeds_on_new_images():
    generator = np.random.default_rng(0)
    truth = 100 * drawn(generator, 400, 40_000).mean()
    found = [crossed_interval(drawn(generator, 20, 2_000), draws=400) for _ in range(120)]
    assert 0.90 <= np.mean([low <= truth <= high for low, high in found]) <= 0.99


def test_interval_is_repeatable_and_empty_without_errors():
    correct = drawn(np.random.default_rng(5), 5, 1_000)
    assert crossed_interval(correct) == crossed_interval(correct.copy())
    assert crossed_interval(np.ones((5, 40), dtype=bool)) == (100.0, 100.0)


def test_unpacked_reverses_packing():
    right = np.random.default_rng(2).random((3, 43)) < 0.9
    assert (unpacked([np.packbits(row).tobytes() for row in right], 43) == right).all()


@pytest.fixture
def gathered(tmp_path):
    """SeedResults of three seeds; `changed` may alter the bits of the last."""

    def made(changed=lambda right: right, lost=()):
        Confirmation.of("probe", "a test", compose(), SPLIT, set()).write(tmp_path)
        right = drawn(np.random.default_rng(7), 3, 1_000)
        for seed, row in enumerate(right, 1000):
            kept = None if seed in lost else changed(row.copy()) if seed == 1002 else row
            write_seed(tmp_path, seed, scored(100 * row.mean(), total=1_000), right=kept)
        return right, SeedResults.gather(tmp_path, [1000, 1001, 1002])

    return made


def test_results_have_the_interval_if_every_seed_has_bits(gathered):
    right, found = gathered()
    assert found.on_new_digits() == crossed_interval(right)
    low, high = found.on_new_digits()
    note = f"new seeds on new images: 95 % interval {low:.3f} to {high:.3f} (seeds and images resampled)"
    note += found.summary().caution
    assert found.notes() == [note]
    assert note in found._repr_html_()


def test_results_without_bits_have_no_interval(gathered):
    _, found = gathered(lost=(1001,))
    assert found.on_new_digits() is None
    assert found.notes() == []


@pytest.mark.parametrize("changed", [lambda right: right[:-8], lambda right: ~right], ids=["cut", "of others"])
def test_seed_with_contradicting_bits_is_excluded(gathered, changed):
    _, found = gathered(changed)
    assert [result.seed for result in found.seeds] == [1000, 1001]
    assert found.on_new_digits() is None
    (note,) = found.notes()
    assert note.startswith("seed 1002 does not count: ")
    assert "contradicts itself: correct.bits marks " in note
