"""Conversion of images in common forms to the tensor that a network takes, with checks."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from PIL.Image import Image
from torch import Tensor

from mnist_compact.common.shapes import SIDE

Images: TypeAlias = "Tensor | npt.NDArray[Any] | Image | Sequence[Any]"

LARGEST_LEVEL = 255
INVERTED = (
    "These images look like dark digits on a light background. The network expects light digits on a dark background: "
    "pass 255 - images for integers, or 1 - images for floats."
)
GREY_LEVELS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")  # PIL modes that `convert("L")` maps to 0 … 255


def as_tensor(images: Images) -> Tensor:
    """Convert images to a tensor that `Classifier.forward` takes, and check their values.

    Args:
        images: A tensor, a NumPy array, a PIL image, or a sequence of images of any of these forms or of nested lists.
            Integers are grey levels in 0 … 255, floats lie in [0, 1]. One PIL image is a batch of one.

    Returns:
        A tensor of uint8 or of floats.

    Raises:
        ValueError: The images differ in shape, are not numbers, or hold a value out of range.
    """
    tensor = images if isinstance(images, Tensor) else torch.from_numpy(_as_array(images))
    if tensor.is_floating_point():
        _check_range(tensor, 1, "images of floats must lie in [0, 1]")
        return tensor
    if tensor.dtype == torch.uint8:
        return tensor
    if tensor.dtype == torch.bool or tensor.is_complex():
        raise ValueError(f"images must be integers in 0 … 255 or floats in [0, 1], got {tensor.dtype}")
    tensor = tensor.to(torch.int64)  # torch compares few kinds of unsigned integers
    _check_range(tensor, LARGEST_LEVEL, "images of integers must lie in 0 … 255")
    return tensor.to(torch.uint8)


def looks_inverted(images: Tensor) -> bool:
    """Check whether most images have a margin that is lighter than medium grey and lighter than their centre.

    Args:
        images: (N, 28, 28) or (N, 1, 28, 28), as `as_tensor` returns them.

    Returns:
        Whether more than half of the images look like dark digits on a light background.
    """
    levels = images.reshape(-1, SIDE, SIDE).float()
    inner = torch.zeros(SIDE, SIDE, dtype=torch.bool, device=levels.device)
    inner[2:-2, 2:-2] = True
    margin, middle = levels[:, ~inner].mean(1), levels[:, inner].mean(1)
    half = 0.5 if images.is_floating_point() else LARGEST_LEVEL / 2
    dark_on_light = (margin > half) & (margin > middle)
    return len(levels) > 0 and bool(dark_on_light.float().mean() > 0.5)


def _as_array(images: Any) -> npt.NDArray[Any]:
    if isinstance(images, Image):
        images = [images]
    if not isinstance(images, np.ndarray):
        images = [_one_as_array(image) for image in images]
    try:
        array = np.array(images)  # a copy, because the caller's array may be read-only
    except ValueError as error:
        raise ValueError("images must all be of the same shape") from error
    if array.dtype.kind not in "buif":
        raise ValueError(f"images must be integers in 0 … 255 or floats in [0, 1], got {array.dtype}")
    return array.astype(array.dtype.newbyteorder("="))


def _one_as_array(image: Any) -> Any:
    if isinstance(image, Image):
        if image.mode not in GREY_LEVELS:
            raise ValueError(
                f"PIL images must have 8 bits per channel (mode {', '.join(GREY_LEVELS)}), got {image.mode}"
            )
        return np.asarray(image.convert("L"))
    return image.detach().cpu().numpy() if isinstance(image, Tensor) else np.asarray(image)


def _check_range(images: Tensor, largest: int, rule: str) -> None:
    """Raise ValueError if a value is not in [0, largest]. NaN fails every comparison, so it is out of range too."""
    wrong = images[~((images >= 0) & (images <= largest))]
    if wrong.numel():
        raise ValueError(f"{rule}, got {wrong[0].item()} ({wrong.numel():,} of {images.numel():,} values)")
