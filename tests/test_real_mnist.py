"""Tests with the real images, which are fetched on first use."""

import pytest
import torch

from mnist_compact.data.config import HoldoutConfig, MnistConfig
from mnist_compact.runs.trainer import run

pytestmark = pytest.mark.mnist

# Three layers with a small first feature map, which need far fewer operations than m3.
SMALL = (
    "model=compact",
    "model.layers.conv1.stride=2",
    *(f"model.layers.conv{number}.enabled=false" for number in (4, 5, 6)),
    "model.order=[conv1,conv2,conv3]",
)


def test_mnist_has_its_published_counts():
    data = MnistConfig(name="mnist").load(print)
    assert (len(data.train), len(data.evaluation), data.evaluation.name) == (60_000, 10_000, "test")
    assert data.train.labels.bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert data.mean == pytest.approx(0.1307, abs=5e-5)
    assert data.std == pytest.approx(0.3081, abs=5e-5)


def test_holdout_reads_no_test_image(tmp_path):
    """The folder has only the training files, and no file can be fetched."""
    from mnist_compact.data.files import TRAINING_FILES, obtain

    for name, path in obtain(None, TRAINING_FILES).items():
        (tmp_path / name).write_bytes(path.read_bytes())
    data = HoldoutConfig(name="holdout").load(print, str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(TRAINING_FILES)
    assert (len(data.train), len(data.evaluation), data.evaluation.name) == (50_000, 10_000, "holdout")
    assert data.evaluation.labels.bincount().tolist() == [1_000] * 10
    whole = MnistConfig(name="mnist").load(print)
    assert data.train.images.long().sum() + data.evaluation.images.long().sum() == whole.train.images.long().sum()


def test_part_of_the_remaining_images_can_be_trained_on():
    whole, part = (HoldoutConfig(name="holdout", train_images=count).load(print) for count in (0, 6_000))
    assert torch.equal(part.evaluation.images, whole.evaluation.images)
    assert part.train.labels.bincount().tolist() == [600] * 10
    others = {image.numpy().tobytes() for image in whole.train.images}
    assert {image.numpy().tobytes() for image in part.train.images} <= others


@pytest.mark.parametrize(
    ("model", "accuracy"), [(SMALL, 95), pytest.param(("model=m3",), 97.5, marks=pytest.mark.slow)], ids=["small", "m3"]
)
def test_one_epoch_learns(model, accuracy, configure, recording_callback, tmp_path):
    overrides = ("data=mnist", "train.batch_size=128", "train.epochs=1", "augment=none")
    record = run(configure(*model, *overrides), tmp_path, recording_callback())
    assert record.score("test").accuracy > accuracy
    assert record.score("test").total == 10_000
