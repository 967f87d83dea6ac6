"""The strengths and probabilities of the augmentation, with their ranges. This module does not import torch."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from mnist_compact.common.errors import Validator
from mnist_compact.common.shapes import SIDE


def _within(low: int, high: int, default: float = 0.0, *, below: bool = False) -> Any:
    """Return a dataclass field with values in [low, high], or in [low, high) if `below` is true."""
    return field(default=default, metadata={"range": (low, high, below)})


@dataclass(kw_only=True, slots=True)
class AugmentSettings:
    """How strongly training images are augmented.

    Each change is drawn uniformly and independently for every image in every epoch. A strength of 0 turns a change off.
    """

    name: str  # name of the option, as typed
    rotation_deg: float = _within(0, 180)  # largest rotation in degrees, either way, in [0, 180]; 0 = off
    shift_fraction: float = _within(0, 1, below=True)  # largest shift per axis, in image sides, in [0, 1); 0 = off
    scale_fraction: float = _within(0, 1, below=True)  # zoom factor is drawn from 1 ± this, in [0, 1); 0 = off
    shear: float = _within(0, 1)  # largest tangent of the shear angle, either way, in [0, 1]; 0 = off
    affine_probability: float = _within(0, 1, 1.0)  # fraction of images that are rotated, shifted, scaled and sheared
    brightness: float = _within(0, 1, below=True)  # brightness factor is drawn from 1 ± this, in [0, 1); 0 = off
    contrast: float = _within(0, 1, below=True)  # contrast factor is drawn from 1 ± this, in [0, 1); 0 = off
    jitter_probability: float = _within(0, 1, 1.0)  # fraction of images whose brightness and contrast change
    elastic_px: float = _within(0, SIDE // 2)  # largest elastic shift of a node per axis, px, in [0, 14]; 0 = off
    elastic_nodes: int = _within(2, SIDE, 8)  # nodes per side of the elastic field, in [2, 28]; fewer = smoother
    elastic_probability: float = _within(0, 1, 1.0)  # fraction of images that are distorted elastically, in [0, 1]
    ease_off_epochs: int = 0  # last epochs over which all strengths decline linearly to 0; 0 = constant strengths

    def __post_init__(self) -> None:
        validator = Validator("augment")
        for each in fields(self):
            if "range" in each.metadata:
                (low, high, below), value = each.metadata["range"], getattr(self, each.name)
                holds = low <= value < high if below else low <= value <= high
                validator.check(holds, each.name, f"must be in [{low}, {high}{')' if below else ']'}", value)
        validator.check(self.ease_off_epochs >= 0, "ease_off_epochs", "must be at least 0", self.ease_off_epochs)
        validator.raise_if_any()

    def strength(self, epoch: int, epochs: int) -> float:
        """Return the factor of all strengths in an epoch.

        Args:
            epoch: The epoch, counted from 1.
            epochs: Number of epochs of the run.

        Returns:
            1 before the last `ease_off_epochs` epochs; then a linear decline to 0 in the last epoch.
        """
        if self.ease_off_epochs == 0:
            return 1.0
        return min(1.0, (epochs - epoch) / self.ease_off_epochs)
