"""Checkpoints: everything that `resume` needs, in one file that is replaced atomically and has a checksum."""

import hashlib
import io
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as as_safetensors
from torch import Tensor, nn

from mnist_compact.common.atomic import replacing
from mnist_compact.common.bounded_read import LARGE, read_bytes
from mnist_compact.common.errors import UserError
from mnist_compact.common.run_files import CHECKPOINT, CHECKPOINT_BEFORE
from mnist_compact.training.evaluation import Evaluation
from mnist_compact.training.step import TrainState

METADATA = "mnist_compact"  # key in a weights file: the network's configuration and input statistics, as JSON
CHECKSUM = b"sha256:"  # at the end of the file, followed by the digest of everything before it; torch.load ignores both
ZIP_END = b"PK\x05\x06"  # followed by 18 more bytes: the end of the part that torch wrote

Weights = dict[str, Tensor]


class CheckpointError(UserError):
    """There is no intact checkpoint, or it belongs to another network."""


@dataclass(slots=True)
class Progress:
    """The results of a run so far."""

    rows: list[dict[str, Any]] = field(default_factory=list)  # one row per epoch, as in metrics.csv
    final: Evaluation | None = None  # evaluation of the last epoch, of the averaged weights if there are any
    best: dict[str, Weights] = field(default_factory=dict)  # raw or averaged → weights of their best epoch

    @property
    def epoch(self) -> int:
        """Number of finished epochs."""
        return len(self.rows)


def save(folder: Path, train_state: TrainState, progress: Progress) -> None:
    """Write a checkpoint and keep the previous one.

    Random states are not stored: those of each epoch follow from the seed (see `mnist_compact.common.seeds`).
    """
    state = {
        "model": train_state.model.state_dict(),
        "optimizer": train_state.optimizer.state_dict(),
        "average": None if train_state.average is None else train_state.average.state_dict(),
        "rows": progress.rows,
        "final": None if progress.final is None else asdict(progress.final),
        "best": progress.best,
    }
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    with replacing(folder / CHECKPOINT) as path:
        path.write_bytes(content + CHECKSUM + hashlib.sha256(content).digest())
        if (folder / CHECKPOINT).exists():
            os.replace(folder / CHECKPOINT, folder / CHECKPOINT_BEFORE)


def load(folder: Path, train_state: TrainState, device: torch.device, announce: Callable[[str], None]) -> Progress:
    """Restore the state after the last epoch with an intact checkpoint; without a checkpoint, the initial state.

    Args:
        folder: The run folder.
        train_state: Receives the weights and the state of the optimizer.
        device: Device to load tensors to.
        announce: Receives a sentence if the last finished epoch cannot be restored.

    Returns:
        The results up to the restored epoch.

    Raises:
        CheckpointError: No checkpoint is intact, or it belongs to another network.
    """
    path, previous = folder / CHECKPOINT, folder / CHECKPOINT_BEFORE
    if not path.exists() and not previous.exists():
        announce(f"there is no {CHECKPOINT} in {folder}: the run starts again from its first epoch")
        return Progress()
    content = _verified(path)
    if content is None:
        content = _verified(previous)
        if content is None:
            raise CheckpointError(
                f"{path} {_damage_of(path)}, and there is no intact {CHECKPOINT_BEFORE}: "
                "delete both files to start the run again from its first epoch"
            )
        announce(f"{path} {_damage_of(path)}: the run continues from the previous epoch")
        os.replace(previous, path)  # otherwise the next checkpoint would replace the only intact one
    try:
        return _restored(torch.load(io.BytesIO(content), map_location=device, weights_only=True), train_state)
    except (RuntimeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} does not belong to this run: {error}") from error


def _verified(path: Path) -> bytes | None:
    """Return the content before the checksum, or None if the file is missing or damaged."""
    content = read_bytes(path, LARGE) if path.exists() else b""
    end = len(content) - len(CHECKSUM) - hashlib.sha256().digest_size
    verified = content[:end] if end > 0 else b""
    return verified if verified and content[end:] == CHECKSUM + hashlib.sha256(verified).digest() else None


def _damage_of(path: Path) -> str:
    """Return why a checkpoint cannot be used, for a message."""
    if not path.exists():
        return "is missing"
    without_checksum = read_bytes(path, LARGE)[-len(ZIP_END) - 18 :].startswith(ZIP_END)
    return "was written by an earlier version, without a checksum" if without_checksum else "is damaged"


def _restored(state: dict[str, Any], train_state: TrainState) -> Progress:
    train_state.model.load_state_dict(state["model"])
    train_state.optimizer.load_state_dict(state["optimizer"])
    if train_state.average is not None:
        train_state.average.load_state_dict(state["average"])
    final = state["final"]
    if final is not None:
        final = Evaluation(**{**final, **{key: final[key].cpu() for key in ("predicted", "confidence")}})
    return Progress(state["rows"], final, state["best"])


def weights_of(model: nn.Module) -> Weights:
    """Return a copy of a network's weights and BatchNorm statistics, under the network's own names."""
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in model.state_dict().items()}


def save_weights(path: Path, weights: Weights, about: str) -> None:
    """Write weights as a safetensors file.

    Args:
        path: The file.
        weights: Tensors by name.
        about: JSON text that describes the network. It is the only metadata entry: safetensors does not keep an order
            of several entries, and equal weights must give equal files.
    """
    # safetensors' save_file is not used: it makes files that only their owner can read.
    with replacing(path) as temporary:
        temporary.write_bytes(as_safetensors(weights, {METADATA: about}))
