"""A trained network that includes the normalisation of its input, and how it is read from files."""

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from mnist_compact.common.errors import ConfigError
from mnist_compact.common.run_files import WEIGHTS, WEIGHTS_SUFFIX
from mnist_compact.common.shapes import SIDE
from mnist_compact.common.tables import to_html_fragment
from mnist_compact.config.conversion import part_from_record
from mnist_compact.data.augmentation import scaled
from mnist_compact.models.network import INPUT_SHAPE
from mnist_compact.models.summary import summarize
from mnist_compact.training.checkpoint import METADATA
from mnist_compact.zoo.images import INVERTED, Images, as_tensor, looks_inverted


class Classifier(nn.Module):
    """A network together with the normalisation of its input.

    It maps images to logits of shape (N, 10), one logit for each digit. Images have the shape (N, 28, 28) or
    (N, 1, 28, 28) and show light digits on a dark background, like MNIST: uint8 in 0 … 255 or floats in [0, 1].
    `classify` also accepts images in other forms, and checks their values.

    Args:
        network: Maps normalised images (N, 1, 28, 28) to logits (N, 10).
        mean: Mean of the training images' pixels, scaled to [0, 1].
        std: Standard deviation of the same pixels.
    """

    def __init__(self, network: nn.Module, mean: float, std: float) -> None:
        super().__init__()
        self.has_warned = False  # that images look inverted
        self.network = network
        self.mean = mean
        self.std = std
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Compute the logits (N, 10) of images.

        Raises:
            ValueError: The images have another shape or type.
        """
        if images.dim() not in (3, 4) or images.shape[-2:] != (SIDE, SIDE) or images.shape[1:-2] not in ((), (1,)):
            shape = tuple(images.shape)
            raise ValueError(f"images must be (N, {SIDE}, {SIDE}) or (N, 1, {SIDE}, {SIDE}), got {shape}")
        if images.dtype != torch.uint8 and not images.is_floating_point():
            raise ValueError(f"images must be uint8 in 0 … 255 or floats in [0, 1], got {images.dtype}")
        levels = scaled(images) if images.dtype == torch.uint8 else images.float()
        logits: Tensor = self.network(((levels - self.mean) / self.std).view(-1, 1, SIDE, SIDE))
        return logits

    def classify(self, images: Images) -> tuple[Tensor, Tensor]:
        """Classify images, and warn once if they look like dark digits on a light background.

        Args:
            images: (N, 28, 28) or (N, 1, 28, 28) as a tensor, a NumPy array or nested lists: integers in 0 … 255, or
                floats in [0, 1]. Also one PIL image, or a list of them; colours become grey levels.

        Returns:
            The digits (N,) and the softmax probability of each (N,), on the network's device.

        Raises:
            ValueError: The images have another shape, type or range.
            ConfigError: The network has weights that are not finite.
        """
        self.check_weights()
        tensor = as_tensor(images)
        with torch.inference_mode():
            logits = self(tensor.to(next(self.parameters()).device))
            confidence, digits = logits.softmax(1).max(1)
        if not self.has_warned and looks_inverted(tensor):
            self.has_warned = True
            warnings.warn(INVERTED, stacklevel=2)
        return digits, confidence

    def check_weights(self) -> None:
        """Check that all weights are finite.

        Raises:
            ConfigError: Some tensors hold NaN or infinity. The message names them.
        """
        tensors = self.network.state_dict().items()
        broken = [name for name, tensor in tensors if not bool(tensor.isfinite().all())]
        if broken:
            raise ConfigError([f"the network's weights must be finite, got NaN or infinity in {', '.join(broken)}"])

    def _repr_html_(self) -> str:
        """Show the layers with their costs and receptive fields in a notebook."""
        import pandas as pd

        model_summary = summarize(self.network, INPUT_SHAPE)
        shown = ("layer", "out_channels", "out_height", "kernel", "parameters", "macs", "receptive_field")
        rows = [{name.replace("_", " "): getattr(row, name) for name in shown} for row in model_summary.rows]
        size = f"{model_summary.parameters:,} parameters, {model_summary.macs:,} multiply-accumulates per image"
        return to_html_fragment(pd.DataFrame(rows), [size])


def load_network(path: Path | str) -> Classifier:
    """Load a trained network from a run folder or a weights file.

    Args:
        path: A run folder or a weights file. From a run folder the weights of the last epoch are loaded: the averaged
            ones if there are any.

    Returns:
        The network with the normalisation of its input.

    Raises:
        ConfigError: There is no such network.

    Example:
        >>> digits, probabilities = load_network("outputs/runs/mine").classify(images)  # doctest: +SKIP
    """
    path = Path(path)
    return read(file_of_run(path) if path.is_dir() else path)


def read(path: Path) -> Classifier:
    """Read a weights file, whose metadata describe the network.

    Raises:
        ConfigError: The file does not exist, or this version cannot read it.
    """
    try:
        if path.exists() and not path.is_file():
            raise ValueError("it is not a regular file")
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if METADATA not in metadata:
                raise ValueError("its metadata do not describe a network of this program")
            about: dict[str, Any] = json.loads(metadata[METADATA])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 – no mapping
        network: nn.Module = part_from_record("model", about["model"]).build()
        network.load_state_dict(tensors)
        return Classifier(network, float(about["mean"]), float(about["std"]))
    except OSError as error:
        raise ConfigError([f"{path} cannot be read ({error.strerror or error})"]) from error
    except KeyError as error:
        raise ConfigError([f"{path} holds no network that this version can read: {error} is missing"]) from error
    except (SafetensorError, TypeError, ValueError, RuntimeError) as error:
        raise ConfigError([f"{path} holds no network that this version can read: {error}"]) from error


def file_of_run(folder: Path, weights: str | None = None) -> Path:
    """Find the weights of a run's last epoch.

    Args:
        folder: The run folder.
        weights: raw or averaged; by default the averaged weights if there are any.

    Raises:
        ConfigError: The folder has no such weights.
    """
    names = {"averaged": f"averaged_last{WEIGHTS_SUFFIX}", "raw": f"last{WEIGHTS_SUFFIX}"}
    kinds = [weights] if weights else list(names)
    paths = [path for kind in kinds if (path := folder / WEIGHTS / names[kind]).exists()]
    if not paths:
        raise ConfigError([f"{folder} has no {weights + ' ' if weights else ''}weights of a last epoch"])
    return paths[0]
