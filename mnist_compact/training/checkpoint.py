"""All that a continuation needs, in one file written whole or not at all, and sealed: a bit that flips is noticed."""

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

METADATA = "mnist_compact"  # key in a file of weights: what the network is and which input it takes, as JSON
SEAL = b"sha256:"  # and the digest of all before it, at the end of the file, where torch.load passes over it
ZIP_END = b"PK\x05\x06"  # and 18 bytes more: how torch's own part of the file ends

Weights = dict[str, Tensor]


class CheckpointError(UserError):
    """No whole checkpoint, or one of another network."""


@dataclass(slots=True)
class Progress:
    """What has been done."""

    rows: list[dict[str, Any]] = field(default_factory=list)  # one an epoch, as in metrics.csv
    final: Evaluation | None = None  # of the last epoch, under the weights that count
    best: dict[str, Weights] = field(default_factory=dict)  # raw or averaged → those of their best epoch

    @property
    def epoch(self) -> int:
        return len(self.rows)


def save(folder: Path, train_state: TrainState, progress: Progress) -> None:
    """Random states are not in it: each epoch's follow from the seed (see `mnist_compact.common.seeds`)."""
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
        path.write_bytes(content + SEAL + hashlib.sha256(content).digest())
        if (folder / CHECKPOINT).exists():
            os.replace(folder / CHECKPOINT, folder / CHECKPOINT_BEFORE)


def load(folder: Path, train_state: TrainState, device: torch.device, announce: Callable[[str], None]) -> Progress:
    """Restore the state after the last epoch that was saved whole; without a checkpoint, the initial state.

    Where that is not where the run had come to, it is announced. Raises CheckpointError.
    """
    path, previous = folder / CHECKPOINT, folder / CHECKPOINT_BEFORE
    if not path.exists() and not previous.exists():
        announce(f"there is no {CHECKPOINT} in {folder}: the run begins again with its first epoch")
        return Progress()
    content = _whole(path)
    if content is None:
        content = _whole(previous)
        if content is None:
            raise CheckpointError(
                f"{path} {_fault_of(path)}, and there is no whole {CHECKPOINT_BEFORE}: "
                "remove the two, and the run begins again with its first epoch"
            )
        announce(f"{path} {_fault_of(path)}: the run goes on from the epoch before")
        os.replace(previous, path)  # or the next would take the place of the only whole one
    try:
        return _restored(torch.load(io.BytesIO(content), map_location=device, weights_only=True), train_state)
    except (RuntimeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is not of this run: {error}") from error


def _whole(path: Path) -> bytes | None:
    """What was sealed, or None where the file is missing or not as it was written."""
    content = read_bytes(path, LARGE) if path.exists() else b""
    end = len(content) - len(SEAL) - hashlib.sha256().digest_size
    sealed = content[:end] if end > 0 else b""
    return sealed if sealed and content[end:] == SEAL + hashlib.sha256(sealed).digest() else None


def _fault_of(path: Path) -> str:
    """Of a file that is not as it was sealed."""
    if not path.exists():
        return "is missing"
    whole = read_bytes(path, LARGE)[-len(ZIP_END) - 18 :].startswith(ZIP_END)
    return "was written by an earlier version, without a checksum" if whole else "is damaged"


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
    """A copy that further training leaves as it is: weights and BatchNorm statistics under the network's own names."""
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in model.state_dict().items()}


def save_weights(path: Path, weights: Weights, about: str) -> None:
    """As safetensors; `about` is its one metadatum.

    One, since safetensors keeps several in no order: equal weights shall be equal files.
    """
    # Not by safetensors' save_file, whose files nobody else may read.
    with replacing(path) as beside:
        beside.write_bytes(as_safetensors(weights, {METADATA: about}))
