"""Batches of images as the matrices that `kernels.py` works on."""

import torch
from torch import Tensor

from mnist_compact.models.kernels.thread_pool import Array


def fits(x: Tensor) -> bool:
    """Whether the kernels take it."""
    return x.device.type == "cpu" and x.dtype is torch.float32


def rows_of(images: Tensor) -> Array:
    """(N, C, H, W) as a matrix (N·H, W·C); the same memory for channels-last images, a copy for others."""
    n, channels, height, width = images.shape
    return images.detach().permute(0, 2, 3, 1).reshape(n * height, width * channels).contiguous().numpy()


def images_of(rows: Array, shape: torch.Size) -> Tensor:
    """A matrix as channels-last images (N, C, H, W) on the same memory."""
    n, channels, height, width = shape
    return torch.from_numpy(rows).view(n, height, width, channels).permute(0, 3, 1, 2)
