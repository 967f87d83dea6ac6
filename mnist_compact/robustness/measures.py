"""What is measured of a trained network beyond its accuracy. Nothing in this package is used to choose a network.

N is the number of images, C the number of classes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from mnist_compact.data.datasets import Split
from mnist_compact.robustness.corruptions import CORRUPTIONS, corrupted
from mnist_compact.training.evaluation import fitted_temperature, logits_of

LEVELS = (1, 2, 3, 4, 5)
BINS = 15  # of equal width between the confidences 0 and 1, the usual choice (Guo et al. 2017, arXiv 1706.04599)
ANSWERED = (1.0, 0.999, 0.995, 0.99, 0.98, 0.95, 0.9)  # shares of the images in the abstention table
HARDEST = 100


@dataclass(slots=True, frozen=True)
class Bin:
    """The images whose confidence lies in (low, high]."""

    low: float
    high: float
    images: int
    confidence: float  # mean, in [0, 1]; NaN without images
    accuracy: float  # in [0, 1]; NaN without images


@dataclass(kw_only=True, slots=True, frozen=True)
class Robustness:
    """The measurements of one network on one split of N images."""

    split: str
    images: int  # N
    accuracy: float  # on the images as they are, per cent
    corrupted: dict[str, tuple[float, ...]]  # corruption → accuracies at strengths 1 to 5, per cent
    loss: float  # mean log-loss, nats
    calibrated_loss: float  # the same after division of the logits by `temperature`, nats
    temperature: float  # above 1 the network is too confident, below 1 not confident enough
    calibration_error: float  # expected calibration error: mean |confidence - accuracy| over the bins, per cent
    reliability: tuple[Bin, ...]
    abstention: tuple[tuple[float, float], ...]  # (share of the images answered, accuracy on them), per cent
    hardest: Tensor  # indices of the images with the largest log-loss, hardest first
    predicted: Tensor  # the digit given to each of them

    @property
    def mean_corrupted(self) -> float:
        """Mean accuracy over all corruptions and strengths, per cent."""
        every = [accuracy for accuracies in self.corrupted.values() for accuracy in accuracies]
        return sum(every) / len(every)

    def summary(self) -> dict[str, float]:
        """Return the four figures of a model card by name."""
        return {
            "mean_corrupted": round(self.mean_corrupted, 3),
            "calibration_error": round(self.calibration_error, 3),
            "temperature": round(self.temperature, 4),
            "calibrated_loss": round(self.calibrated_loss, 6),
        }


def measure(
    classify: Callable[[Tensor], Tensor], split: Split, announce: Callable[[str], None] = lambda _: None
) -> Robustness:
    """Measure a network on a split and on its corruptions.

    Args:
        classify: Maps uint8 images (n, 28, 28) to logits (n, C).
        split: Images and labels, on the CPU.
        announce: Receives a line for each corruption, since all of them take a minute or more.
    """
    log_probabilities, labels = logits_of(classify, split.images).log_softmax(1), split.labels.long()
    accuracies = {}
    for number, name in enumerate(CORRUPTIONS, start=1):
        announce(f"corruption {number} of {len(CORRUPTIONS)}: {name}")
        accuracies[name] = tuple(_corrupted_accuracy(classify, split, name, level) for level in LEVELS)
    bins, temperature = reliability(log_probabilities, labels), fitted_temperature(log_probabilities, labels)
    losses = F.nll_loss(log_probabilities, labels, reduction="none")
    hardest = losses.argsort(descending=True, stable=True)[:HARDEST]
    return Robustness(
        split=split.name,
        images=len(labels),
        accuracy=_accuracy(log_probabilities, labels),
        corrupted=accuracies,
        loss=losses.mean().item(),
        calibrated_loss=F.cross_entropy(log_probabilities / temperature, labels).item(),
        temperature=temperature,
        calibration_error=calibration_error(bins),
        reliability=bins,
        abstention=abstention(log_probabilities, labels),
        hardest=hardest,
        predicted=log_probabilities[hardest].argmax(1),
    )


def reliability(log_probabilities: Tensor, labels: Tensor, bins: int = BINS) -> tuple[Bin, ...]:
    """Sort images by their confidence into bins of equal width.

    Args:
        log_probabilities: (N, C).
        labels: (N,).
        bins: Number of bins.
    """
    confidence, predicted = log_probabilities.double().exp().max(1)
    correct = (predicted == labels).double()
    number = (confidence * bins).ceil().long().clamp(1, bins) - 1
    made = []
    for index in range(bins):
        chosen = number == index
        made.append(
            Bin(
                index / bins,
                (index + 1) / bins,
                int(chosen.sum()),
                confidence[chosen].mean().item(),
                correct[chosen].mean().item(),
            )
        )
    return tuple(made)


def calibration_error(bins: tuple[Bin, ...]) -> float:
    """Return the expected calibration error, per cent: the mean of |confidence - accuracy| of the bin of each image."""
    images = sum(each.images for each in bins)
    return 100 * sum(each.images * abs(each.confidence - each.accuracy) for each in bins if each.images) / images


def abstention(log_probabilities: Tensor, labels: Tensor) -> tuple[tuple[float, float], ...]:
    """Return the accuracy when only the most confident images are answered.

    Args:
        log_probabilities: (N, C).
        labels: (N,).

    Returns:
        For each share in `ANSWERED`: the share of the images that are answered, and the accuracy on them, in per cent.
    """
    confidence, predicted = log_probabilities.max(1)
    correct = (predicted == labels)[confidence.argsort(descending=True, stable=True)].double()
    counts = [max(1, round(share * len(labels))) for share in ANSWERED]
    return tuple((100 * count / len(labels), 100 * correct[:count].mean().item()) for count in counts)


def _corrupted_accuracy(classify: Callable[[Tensor], Tensor], split: Split, name: str, level: int) -> float:
    return _accuracy(logits_of(classify, corrupted(split.images, name, level)), split.labels)


def _accuracy(logits: Tensor, labels: Tensor) -> float:
    return 100 * (logits.argmax(1) == labels).double().mean().item()
