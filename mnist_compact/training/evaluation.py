"""Scoring a network on a split, and BatchNorm statistics that belong to its weights."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnist_compact.data.datasets import Datasets, Split

BATCH = 500  # images: activations of a few MB stay in the processor's cache


@dataclass(slots=True, frozen=True)
class Evaluation:
    """One pass over a split: mean cross-entropy in nats, and (N,) predictions with their probabilities."""

    loss: float
    correct: int
    predicted: Tensor
    confidence: Tensor

    @property
    def total(self) -> int:
        return len(self.predicted)

    @property
    def accuracy(self) -> float:
        """In per cent."""
        return 100 * self.correct / self.total


def evaluate(model: nn.Module, data: Datasets) -> Evaluation:
    """Score on the evaluation part. In float32, whatever the training's precision. Leaves the model in eval mode."""
    model.eval()
    return score(lambda images: model(data.normalised(images)), data.evaluation)


@torch.inference_mode()
def score(classify: Callable[[Tensor], Tensor], split: Split) -> Evaluation:
    """Score what makes logits (N, 10) of uint8 images (N, 28, 28)."""
    log_probabilities = torch.cat([classify(part).log_softmax(1) for part in split.images.split(BATCH)])
    confidence, predicted = log_probabilities.exp().max(1)
    return Evaluation(
        loss=F.nll_loss(log_probabilities, split.labels).item(),
        correct=int((predicted == split.labels).sum()),
        predicted=predicted.cpu(),
        confidence=confidence.cpu(),
    )


@torch.no_grad()
def estimate_batchnorm(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set every BatchNorm's running statistics to the mean over `batches` of the batch statistics under these weights.

    Only the BatchNorms run in training mode: what they see is what they will normalise in evaluation, so dropout stays
    off and the images are not augmented.
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
