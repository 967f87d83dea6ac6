"""The strengths and probabilities of the augmentation, with their ranges. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from mnist_compact.common.errors import Validator
from mnist_compact.common.shapes import SIDE


def _within(low: int, high: int, default: float = 0.0, *, below: bool = False) -> Any:
    """A field whose values lie in [low, high], or with `below` in [low, high)."""
    return field(default=default, metadata={"range": (low, high, below)})


@dataclass(kw_only=True, slots=True)
class AugmentSettings:
    """How far each training image is moved and changed: drawn uniformly, anew for every image each time; 0 = off.

    Of each kind of change a probability says how many images have it: 1 = all, 0 = none.
    """

    name: str  # of the option, as typed
    rotation_deg: float = _within(0, 180)  # within ± this
    shift_fraction: float = _within(0, 1, below=True)  # along each axis within ± this part of the image's side
    scale_fraction: float = _within(0, 1, below=True)  # zoom factor within 1 ± this
    shear: float = _within(0, 1)  # tangent of the shear angle within ± this
    affine_probability: float = _within(0, 1, 1.0)  # of the four above
    brightness: float = _within(0, 1, below=True)  # brightness factor within 1 ± this
    contrast: float = _within(0, 1, below=True)  # contrast factor about the image's mean within 1 ± this
    jitter_probability: float = _within(0, 1, 1.0)  # of the two above
    elastic_px: float = _within(
        0, SIDE // 2
    )  # smooth distortion: nodes of a field are moved within ± this on each axis
    elastic_nodes: int = _within(2, SIDE, 8)  # a side of that field, from edge to edge; fewer = smoother
    elastic_probability: float = _within(0, 1, 1.0)  # of the elastic distortion
    ease_off_epochs: int = 0  # over so many last epochs all strengths decline linearly, to none in the very last

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
        """The part of every strength that acts in `epoch` (1 … `epochs`): 1, or less while easing off, 0 at the end."""
        if self.ease_off_epochs == 0:
            return 1.0
        return min(1.0, (epochs - epoch) / self.ease_off_epochs)
