"""A trained network that takes images as they are, and where it is read from."""

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from mnist_compact.common.errors import ConfigError
from mnist_compact.common.run_files import WEIGHTS
from mnist_compact.common.shapes import SIDE
from mnist_compact.common.tables import to_html_fragment
from mnist_compact.config.conversion import part_from_record
from mnist_compact.data.augmentation import scaled
from mnist_compact.models.network import INPUT_SHAPE
from mnist_compact.models.summary import summarize
from mnist_compact.training.checkpoint import METADATA
from mnist_compact.zoo.images import INVERTED, Images, as_tensor, looks_inverted

ENDING = ".safetensors"


class Classifier(nn.Module):
    """A network with the normalisation of its input: images → logits (N, 10), one a digit.

    Images are (N, 28, 28) or (N, 1, 28, 28), light digits on dark as MNIST has them: uint8 in 0 … 255, or floats in
    [0, 1]. `classify` takes other forms of images as well, and checks their values.
    """

    def __init__(self, network: nn.Module, mean: float, std: float) -> None:
        super().__init__()
        self.has_warned = False  # of images that look inverted
        self.network = network
        self.mean = mean
        self.std = std
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Raises ValueError for images of another shape or type."""
        if images.dim() not in (3, 4) or images.shape[-2:] != (SIDE, SIDE) or images.shape[1:-2] not in ((), (1,)):
            shape = tuple(images.shape)
            raise ValueError(f"images must be (N, {SIDE}, {SIDE}) or (N, 1, {SIDE}, {SIDE}), got {shape}")
        if images.dtype != torch.uint8 and not images.is_floating_point():
            raise ValueError(f"images must be uint8 in 0 … 255 or floats in [0, 1], got {images.dtype}")
        levels = scaled(images) if images.dtype == torch.uint8 else images.float()
        logits: Tensor = self.network(((levels - self.mean) / self.std).view(-1, 1, SIDE, SIDE))
        return logits

    def classify(self, images: Images) -> tuple[Tensor, Tensor]:
        """Classify images, and warn once if they look like dark digits on a light ground.

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
        """Raises ConfigError naming the tensors of the network that hold NaN or infinity."""
        tensors = self.network.state_dict().items()
        broken = [name for name, tensor in tensors if not bool(tensor.isfinite().all())]
        if broken:
            raise ConfigError([f"the network's weights must be finite, got NaN or infinity in {', '.join(broken)}"])

    def _repr_html_(self) -> str:
        """In a notebook: the layers, what they cost and what they see."""
        import pandas as pd

        model_summary = summarize(self.network, INPUT_SHAPE)
        shown = ("layer", "out_channels", "out_height", "kernel", "parameters", "macs", "receptive_field")
        rows = [{name.replace("_", " "): getattr(row, name) for name in shown} for row in model_summary.rows]
        told = f"{model_summary.parameters:,} parameters, {model_summary.macs:,} multiply-accumulates an image"
        return to_html_fragment(pd.DataFrame(rows), [told])


def load_network(place: Path | str) -> Classifier:
    """The network of a run folder, after its last epoch and of averaged weights if it has any, or of a weights file.

    With the normalisation of its input: ready for images as they are. Raises ConfigError where there is none.
    """
    path = Path(place)
    return read(file_of_run(path) if path.is_dir() else path)


def read(path: Path) -> Classifier:
    """The network in a file of weights, which says itself what network it is. Raises ConfigError for another file."""
    try:
        if path.exists() and not path.is_file():
            raise ConfigError([f"{path} is not a regular file"])
        with safe_open(path, framework="pt") as file:
            about: dict[str, Any] = json.loads((file.metadata() or {})[METADATA])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 – no mapping
        network: nn.Module = part_from_record("model", about["model"]).build()
        network.load_state_dict(tensors)
        return Classifier(network, float(about["mean"]), float(about["std"]))
    except OSError as error:
        raise ConfigError([f"{path} cannot be read ({error.strerror or error})"]) from error
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ConfigError([f"{path} holds no network that this version can read: {error}"]) from error


def file_of_run(folder: Path, weights: str | None = None) -> Path:
    """The weights of a run's last epoch: `raw`, `averaged`, or by default the averaged ones if there are any.

    Raises ConfigError where there are none.
    """
    names = {"averaged": f"averaged_last{ENDING}", "raw": f"last{ENDING}"}
    wanted = [weights] if weights else list(names)
    found = [path for kind in wanted if (path := folder / WEIGHTS / names[kind]).exists()]
    if not found:
        raise ConfigError([f"{folder} has no {weights + ' ' if weights else ''}weights of a last epoch"])
    return found[0]
