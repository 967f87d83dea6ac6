"""Comparison of an exported network with the one that it came from."""

from dataclasses import dataclass

from torch import Tensor

from mnist_compact.common.errors import EXIT_FAILED, ExecutionError
from mnist_compact.data.augmentation import scaled
from mnist_compact.training.evaluation import logits_of
from mnist_compact.zoo.classifier import Classifier


@dataclass(slots=True, frozen=True)
class Agreement:
    """How far an exported network agrees with its original.

    Attributes:
        images: Number of images.
        different: Number of images with another prediction.
        correct: Number of images that the exported network classifies correctly.
        original_correct: The same for the original.
        largest_difference: Largest absolute difference of a logit.
    """

    images: int
    different: int
    correct: int
    original_correct: int
    largest_difference: float

    @property
    def lost_points(self) -> float:
        """Accuracy that the export loses, in percentage points; negative if it gains."""
        return 100 * (self.original_correct - self.correct) / self.images


def as_input(images: Tensor) -> Tensor:
    """Convert uint8 images (N, 28, 28) to the input of an exported network: floats (N, 1, 28, 28) in [0, 1]."""
    return scaled(images).unsqueeze(1)


def compared(original: Classifier, logits: Tensor, images: Tensor, labels: Tensor) -> Agreement:
    """Compare the logits of an exported network with those of the original.

    Args:
        original: The network that was exported.
        logits: Logits of the exported one, (N, 10).
        images: uint8, (N, 28, 28).
        labels: (N,).
    """
    original_logits = logits_of(original, images)
    predictions, original_predictions = logits.argmax(1), original_logits.argmax(1)
    return Agreement(
        images=len(images),
        different=int((predictions != original_predictions).sum()),
        correct=int((predictions == labels).sum()),
        original_correct=int((original_predictions == labels).sum()),
        largest_difference=float((logits - original_logits).abs().max()),
    )


def require_same(agreement: Agreement, what: str) -> None:
    """Raise ExecutionError if an export that must be equivalent predicts another digit for some image."""
    if agreement.different:
        raise ExecutionError(
            f"{what} was not written: it predicts another digit than the network for {agreement.different:,} of "
            f"{agreement.images:,} images; largest difference of a logit {agreement.largest_difference:.2g}",
            EXIT_FAILED,
        )
