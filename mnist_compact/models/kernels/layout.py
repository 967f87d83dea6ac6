"""Conversion between batches of images and the matrices of the kernels."""

import torch
from torch import Tensor

from mnist_compact.models.kernels.thread_pool import Array


def fits(x: Tensor, *others: torch.dtype) -> bool:
    """Return whether the kernels can process this tensor: on a CPU, in float32 or in one of the `others`."""
    return x.device.type == "cpu" and (x.dtype is torch.float32 or x.dtype in others)


def rows_of(images: Tensor) -> Array:
    """Convert images (N, C, H, W) to a matrix (N·H, W·C). Channels-last images share its memory, others are copied."""
    n, channels, height, width = images.shape
    return images.detach().permute(0, 2, 3, 1).reshape(n * height, width * channels).contiguous().numpy()


def images_of(rows: Array, shape: torch.Size) -> Tensor:
    """Convert a matrix (N·H, W·C) to channels-last images (N, C, H, W) that share its memory."""
    n, channels, height, width = shape
    return torch.from_numpy(rows).view(n, height, width, channels).permute(0, 3, 1, 2)
