"""The measurements against definitions computed image by image, and against simulated answers."""

import math

import pytest
import torch

from mnist_compact.data.datasets import Split
from mnist_compact.robustness.corruptions import CORRUPTIONS
from mnist_compact.robustness.measures import (
    ANSWERED,
    HARDEST,
    abstention,
    calibration_error,
    measure,
    reliability,
)


@pytest.fixture
def logits():
    return 3 * torch.randn(2000, 10, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def labels(logits):
    """Labels that are drawn from the probabilities of the logits, so that the logits are calibrated."""
    return torch.multinomial(logits.softmax(1), 1, generator=torch.Generator().manual_seed(2)).view(-1)


def test_reliability_counts_each_image_in_the_bin_of_its_confidence(logits, labels):
    bins = reliability(logits.log_softmax(1), labels)
    assert sum(each.images for each in bins) == len(labels)
    confidence, predicted = logits.double().softmax(1).max(1)
    for each in bins:
        inside = [n for n, value in enumerate(confidence.tolist()) if each.low < value <= each.high]
        assert each.images == len(inside)
        if inside:
            assert each.confidence == pytest.approx(sum(confidence[n].item() for n in inside) / len(inside), abs=1e-6)
            assert each.accuracy == pytest.approx(sum(int(predicted[n] == labels[n]) for n in inside) / len(inside))


def test_certain_answer_is_in_the_last_bin():
    bins = reliability(torch.tensor([[0.0, -1000.0]]), torch.tensor([0]))
    assert [each.images for each in bins] == [0] * (len(bins) - 1) + [1]


def test_calibration_error_detects_overconfident_answers(logits, labels):
    calibrated = calibration_error(reliability(logits.log_softmax(1), labels))
    overconfident = calibration_error(reliability((5 * logits).log_softmax(1), labels))
    assert calibrated < 3 < 10 < overconfident


def test_calibration_error_of_one_bin():
    even = torch.full((4, 2), math.log(0.5))
    even[:, 0] += 1e-6  # the first class is the answer
    assert calibration_error(reliability(even, torch.tensor([0, 0, 0, 1]))) == pytest.approx(25, abs=0.01)


def test_abstention_answers_the_most_confident_images_first():
    confidences = torch.linspace(0.6, 0.99, 1000)
    log_probabilities = torch.stack((confidences, 1 - confidences), 1).log()
    labels = torch.zeros(1000, dtype=torch.int64)
    labels[:20] = 1  # the 20 least confident answers are wrong
    shares = dict(abstention(log_probabilities, labels))
    assert shares[100.0] == pytest.approx(98)
    assert shares[99.0] == pytest.approx(100 * 980 / 990)
    assert shares[98.0] == 100
    assert len(shares) == len(ANSWERED)


def test_measurements_of_a_classifier_of_one_pixel():
    """A classifier that reads the label from one pixel, so corruptions of other pixels do not change its answers."""
    labels = torch.arange(10).repeat(20)
    images = torch.zeros(200, 28, 28, dtype=torch.uint8)
    images[:, 0, 0] = (25 * labels).to(torch.uint8)
    images[7, 0, 0] = 250  # one wrong image, labelled 7

    def classify(batch):
        level = batch[:, 0, 0].float() / 25
        return -((level.view(-1, 1) - torch.arange(10.0)) ** 2)

    lines = []
    measured = measure(classify, Split("test", images, labels.to(torch.uint8)), lines.append)
    assert measured.accuracy == pytest.approx(99.5)
    assert measured.corrupted["occlusion"] == pytest.approx([99.5] * 5)
    assert max(measured.corrupted["shift"]) < 60
    assert measured.hardest[0] == 7
    assert measured.predicted[0] == 9
    assert len(measured.hardest) == HARDEST
    assert set(measured.corrupted) == set(CORRUPTIONS)
    assert len(lines) == len(CORRUPTIONS)
    assert measured.calibrated_loss <= measured.loss
