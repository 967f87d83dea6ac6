"""The callback that writes TensorBoard's event files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_compact.callbacks.callback import Callback
from mnist_compact.callbacks.metric_names import tag_of
from mnist_compact.common.run_files import CONFIG

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from mnist_compact.records.record import RunRecord


class TensorBoardCallback(Callback):
    """Writes the scalars of every epoch, such as `loss/train`, and the configuration as text at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.writer: SummaryWriter | None = None

    def on_epoch_end(self, row: dict[str, Any], *, new_best: bool) -> None:
        if self.writer is None:
            self.writer = self._open(row["epoch"])
        for column, value in row.items():
            tag = tag_of(column)
            if tag and value is not None:
                self.writer.add_scalar(tag, value, row["epoch"])
        self.writer.flush()

    def on_run_end(self, record: RunRecord, folder: Path) -> None:
        if self.writer is not None:
            # Markdown shows lines that are indented by four spaces unchanged.
            lines = (folder / CONFIG).read_text(encoding="utf-8").splitlines()
            self.writer.add_text("configuration", "\n".join(f"    {line}" for line in lines), record.epochs_done)
        self.close()

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer = None

    def _open(self, epoch: int) -> SummaryWriter:
        """Open a writer whose values from `epoch` on replace those that an earlier process has written."""
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(self.folder), purge_step=epoch if self.folder.is_dir() else None)
