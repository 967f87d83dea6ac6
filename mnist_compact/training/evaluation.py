"""Evaluation of a network on a split, and estimation of the BatchNorm statistics of given weights."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnist_compact.data.datasets import Datasets, Split

BATCH = 250  # images per batch: activations of a few MB fit into the processor's cache
COLDEST, HOTTEST = 0.05, 20.0  # range of the fitted temperature


@dataclass(slots=True, frozen=True)
class Evaluation:
    """The result of one pass over a split of N images."""

    loss: float  # mean cross-entropy, nats
    calibrated_loss: float  # the same after division of the logits by their `fitted_temperature`, nats
    correct: int  # correctly classified images
    predicted: Tensor  # predicted labels, (N,)
    confidence: Tensor  # their probabilities, (N,)

    @property
    def total(self) -> int:
        """Number of images, N."""
        return len(self.predicted)

    @property
    def accuracy(self) -> float:
        """Accuracy in per cent."""
        return 100 * self.correct / self.total


def evaluate(model: nn.Module, data: Datasets) -> Evaluation:
    """Evaluate a network on the evaluation split, always in float32. The model is left in eval mode."""
    model.eval()
    return score(lambda images: model(data.normalised(images)), data.evaluation)


@torch.inference_mode()
def logits_of(classify: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Compute the logits (N, 10) of all images, a batch at a time.

    Args:
        classify: Maps uint8 images (n, 28, 28) to logits (n, 10).
        images: uint8 images, (N, 28, 28).
    """
    return torch.cat([classify(part) for part in images.split(BATCH)])


@torch.inference_mode()
def score(classify: Callable[[Tensor], Tensor], split: Split) -> Evaluation:
    """Evaluate a function on a split.

    Args:
        classify: Maps uint8 images (n, 28, 28) to logits (n, 10).
        split: The images and labels.
    """
    log_probabilities = logits_of(classify, split.images).log_softmax(1)
    confidence, predicted = log_probabilities.exp().max(1)
    temperature = fitted_temperature(log_probabilities, split.labels)
    return Evaluation(
        loss=F.nll_loss(log_probabilities, split.labels).item(),
        calibrated_loss=F.cross_entropy(log_probabilities / temperature, split.labels).item(),
        correct=int((predicted == split.labels).sum()),
        predicted=predicted.cpu(),
        confidence=confidence.cpu(),
    )


@torch.inference_mode()
def fitted_temperature(log_probabilities: Tensor, labels: Tensor) -> float:
    """Find the temperature T that minimises the log-loss of softmax(logits / T) on these images.

    A single number that is fitted to thousands of images cannot overfit to any of them. The log-loss is convex in 1/T
    (Guo et al. 2017, arXiv 1706.04599), so Newton's method finds the minimum in a few steps; a step that would leave
    the range in which the minimum must lie is replaced by a bisection.

    Args:
        log_probabilities: Logits or their log-softmax, (N, C).
        labels: (N,).

    Returns:
        The temperature, between `COLDEST` and `HOTTEST`.
    """
    logits = log_probabilities.cpu().double()  # many small steps, for which a GPU would have to be waited for
    of_label = logits.gather(1, labels.cpu().long().unsqueeze(1)).mean()
    low, high, inverse = 1 / HOTTEST, 1 / COLDEST, 1.0
    while high - low > 1e-7 * high:
        probabilities = (inverse * logits).softmax(1)
        mean = (probabilities * logits).sum(1)
        slope = (mean.mean() - of_label).item()
        curvature = ((probabilities * logits.square()).sum(1) - mean.square()).mean().item()
        low, high = (low, inverse) if slope > 0 else (inverse, high)
        newton = inverse - slope / curvature if curvature > 0 else math.inf
        following = newton if low < newton < high else (low + high) / 2
        if abs(following - inverse) <= 1e-7 * inverse:
            break
        inverse = following
    return 1 / inverse


@torch.no_grad()
def estimate_batchnorm(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set every BatchNorm's running statistics to the mean of the batch statistics of the current weights.

    Only the BatchNorms run in training mode. Dropout is off, so that the inputs are those that will be normalised in
    evaluation.

    Args:
        model: The network; it is left in eval mode.
        batches: Network inputs (n, 1, 28, 28) without augmentation.
    """
    norms = [
        module
        for module in model.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None
    ]
    if not norms:
        return
    model.eval()
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train()
        norm.reset_running_stats()
        norm.momentum = None  # cumulative mean
    for images in batches:
        model(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
