import numpy as np
import pytest
import torch

from mnist_compact.data import datasets
from mnist_compact.data.config import HoldoutConfig
from mnist_compact.data.datasets import Batches, Datasets, Split, balanced_part, make_synthetic


@pytest.fixture
def data():
    return make_synthetic(100, 30, seed=0)


def test_synthetic_images_depend_only_on_their_seed(data):
    again, other = make_synthetic(100, 30, seed=0), make_synthetic(100, 30, seed=1)
    assert torch.equal(data.train.images, again.train.images)
    assert not torch.equal(data.train.images, other.train.images)
    assert data.train.images.dtype is torch.uint8
    assert data.train.images.shape == (100, 28, 28)
    assert len(data.evaluation) == 30


def test_statistics_are_of_the_training_part_only(data):
    pixels = data.train.images.double() / 255
    assert data.mean == pytest.approx(pixels.mean().item())
    assert data.std == pytest.approx(pixels.std(correction=0).item())


@pytest.mark.parametrize(("size", "seed"), [(10, 0), (50, 0), (50, 1)])
def test_held_out_part_is_balanced_and_fixed_by_its_seed(size, seed):
    labels = torch.arange(10).repeat_interleave(torch.arange(20, 40, 2))
    held = balanced_part(labels, size, seed)
    assert torch.bincount(labels[held]).tolist() == [size // 10] * 10
    assert len(set(held.tolist())) == size
    assert torch.equal(held, balanced_part(labels, size, seed))
    assert not torch.equal(held, balanced_part(labels, size, seed + 5))


@pytest.fixture
def files(monkeypatch):
    """Training files of 300 images with their number in their first pixels; reading the test files fails."""
    numbers = np.arange(300)
    images = np.zeros((300, 28, 28), np.uint8)
    images[:, 0, 0], images[:, 0, 1] = numbers % 256, numbers // 256
    content = dict(zip(datasets.TRAINING_FILES, (images, numbers % 10), strict=True))
    monkeypatch.setattr(datasets, "obtain", lambda root, names, *_: {name: name for name in names})
    monkeypatch.setattr(datasets, "read_idx", lambda name: content[name])


def numbers_of(split):
    return (split.images[:, 0, 0].int() + 256 * split.images[:, 0, 1].int()).tolist()


@pytest.mark.parametrize(("held_out", "train_images"), [(50, 0), (50, 100), (200, 0), (10, 20)])
def test_held_out_images_are_not_trained_on(configure, files, held_out, train_images):
    data = HoldoutConfig(name="holdout", held_out=held_out, train_images=train_images).load(print)
    trained, held = numbers_of(data.train), numbers_of(data.evaluation)
    assert (data.train.name, data.evaluation.name) == ("train", "holdout")
    assert len(set(held)) == len(held) == held_out
    assert len(set(trained)) == len(trained) == (train_images or 300 - held_out)
    assert not set(trained) & set(held)
    for split, numbers in ((data.train, trained), (data.evaluation, held)):
        assert split.labels.tolist() == [number % 10 for number in numbers]
        assert torch.bincount(split.labels).tolist() == [len(numbers) // 10] * 10
    batches = Batches(data, configure("augment=none").augment.build(), 16, 0)
    pixels = torch.cat([images for images, _ in batches.epoch(1, 1.0)]) * data.std + data.mean
    first = (255 * pixels[:, 0, 0, :2]).round().int()
    assert sorted((first[:, 0] + 256 * first[:, 1]).tolist()) == sorted(trained)


def numbered(count):
    """A training part whose images can be identified by their first pixel."""
    images = torch.zeros(count, 28, 28, dtype=torch.uint8)
    images[:, 0, 0] = torch.arange(count)
    split = Split("train", images, torch.arange(count))
    return Datasets(split, split, 0.0, 1.0)


@pytest.mark.parametrize(("count", "size"), [(250, 16), (32, 32), (33, 32), (7, 2)])
def test_epoch_has_every_image_once_with_its_label(configure, count, size):
    batches = Batches(numbered(count), configure("augment=none").augment.build(), size, seed=3)
    seen = list(batches.epoch(1, 1.0))
    assert len(seen) == len(batches) == -(-count // size)
    assert [len(labels) for _, labels in seen[:-1]] == [size] * (len(seen) - 1)
    labels = torch.cat([labels for _, labels in seen])
    pixels = torch.cat([images for images, _ in seen])[:, 0, 0, 0] * 255
    assert sorted(labels.tolist()) == list(range(count))
    torch.testing.assert_close(pixels, labels.float())


def test_order_and_augmentation_depend_on_seed_and_epoch(configure):
    data = make_synthetic(64, 10, seed=0)
    augmentation = configure("augment=affine").augment.build()

    def epoch(seed, number):
        return torch.cat([images for images, _ in Batches(data, augmentation, 16, seed).epoch(number, 1.0)])

    first = epoch(0, 1)
    torch.manual_seed(99)
    assert torch.equal(first, epoch(0, 1))
    assert not torch.equal(first, epoch(0, 2))
    assert not torch.equal(first, epoch(1, 1))


def test_images_are_normalised(data):
    inputs = data.normalised(data.train.images)
    assert inputs.shape == (100, 1, 28, 28)
    assert inputs.mean().item() == pytest.approx(0, abs=1e-5)
    assert inputs.std(correction=0).item() == pytest.approx(1, abs=1e-5)
