"""All that a continuation needs, in one file written whole or not at all."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from mnist_compact.atomic import replacing
from mnist_compact.training.step import Trainee

FILENAME = "checkpoint.pt"
METADATA = "mnist_compact"  # key in a file of weights: what the network is and which input it takes, as JSON


@dataclass(slots=True)
class Progress:
    """What has been done: a row an epoch, as in metrics.csv."""

    rows: list[dict[str, Any]]

    @property
    def epoch(self) -> int:
        return len(self.rows)


def save(folder: Path, trainee: Trainee, progress: Progress) -> None:
    """Random states are not in it: each epoch's follow from the seed (see `mnist_compact.seeds`)."""
    state = {
        "model": trainee.model.state_dict(),
        "optimizer": trainee.optimizer.state_dict(),
        "average": None if trainee.average is None else trainee.average.state_dict(),
        "rows": progress.rows,
    }
    with replacing(folder / FILENAME) as path:
        torch.save(state, path)


def load(folder: Path, trainee: Trainee, device: torch.device) -> Progress:
    """Put the trainee where it was after the last finished epoch; without a checkpoint that is the beginning."""
    path = folder / FILENAME
    if not path.exists():
        return Progress([])
    state = torch.load(path, map_location=device, weights_only=True)
    trainee.model.load_state_dict(state["model"])
    trainee.optimizer.load_state_dict(state["optimizer"])
    if trainee.average is not None:
        trainee.average.load_state_dict(state["average"])
    return Progress(state["rows"])


def save_weights(path: Path, model: nn.Module, about: str) -> None:
    """Weights and BatchNorm statistics under the network's own names, as safetensors; `about` is its one metadatum.

    One, since safetensors keeps several in no order: equal weights shall be equal files.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with replacing(path) as beside:
        save_file(tensors, beside, {METADATA: about})
