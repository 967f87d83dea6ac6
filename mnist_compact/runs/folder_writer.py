"""A run in progress and the files in its folder. Only one process writes to a run folder at a time."""

import os
import shlex
import shutil
import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import SoftFileLock, Timeout
from torch import nn

from mnist_compact.common.atomic import sweep
from mnist_compact.common.errors import EXIT_FAILED, ConfigError, ExecutionError
from mnist_compact.common.locks import lock_file
from mnist_compact.common.run_files import CORRECT, MISTAKES, WEIGHTS
from mnist_compact.config.schema import RunConfig
from mnist_compact.data.datasets import Batches, Datasets
from mnist_compact.models.summary import ModelSummary
from mnist_compact.records.record import RunRecord, Status
from mnist_compact.runs.artifacts import (
    append_metrics,
    confusion_matrix,
    scores_of,
    weights_about,
    write_config,
    write_correct,
    write_layers,
    write_metrics,
    write_mistakes,
)
from mnist_compact.training import checkpoint
from mnist_compact.training.checkpoint import Progress
from mnist_compact.training.loop import EpochResult
from mnist_compact.training.step import TrainState

LOCK = ".lock"  # exists in the run folder while a process trains there, and names the process
PATIENCE_S = 3.0  # how long to wait for a process that is about to end


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Lock a run folder for this process within this context.

    Raises:
        ConfigError: Another process uses the folder. The message names the process if it is known.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK
    lock = lock_file(path, timeout=PATIENCE_S)
    try:
        lock.acquire()
    except Timeout as error:
        with suppress(OSError):
            holder = " ".join(path.read_text(encoding="utf-8", errors="replace").split())
            raise ConfigError([f"{folder} is in use by {holder}: only one process may write to it"]) from error
        raise ConfigError([f"{folder} is in use by another process: only one process may write to it"]) from error
    try:
        with suppress(OSError):  # some locks prevent reading and writing; then the file does not name the process
            if not isinstance(lock, SoftFileLock):  # a SoftFileLock names its process itself and is removed on release
                path.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
        for each in (folder, folder / WEIGHTS):
            sweep(each)
        yield
    finally:
        with suppress(OSError):
            if not isinstance(lock, SoftFileLock):
                path.unlink()  # while the lock is held, so that waiting processes notice
        lock.release()


@dataclass(slots=True)
class RunFolderWriter:
    """A run in progress. `progress` is the content of its checkpoint; all other files follow from it."""

    run: RunConfig
    folder: Path
    data: Datasets
    batches: Batches
    train_state: TrainState
    model_summary: ModelSummary
    record: RunRecord
    progress: Progress

    def begin(self) -> None:
        """Write the files of a new run, or those that follow from the checkpoint.

        Raises:
            ExecutionError: The folder cannot be written to.
        """
        with self._writing():
            self._begin()

    def _begin(self) -> None:
        record, progress = self.record, self.progress
        record.status, record.reason, record.finished_at = Status.RUNNING, "", None
        if progress.epoch == 0:
            record.scores, record.epochs_done, record.seconds, record.confusion = [], 0, 0.0, None
            shutil.rmtree(self.folder / WEIGHTS, ignore_errors=True)
            for name in (MISTAKES, CORRECT):
                (self.folder / name).unlink(missing_ok=True)
        record.write(self.folder)
        write_config(self.folder, record)
        write_layers(self.folder, self.model_summary.rows)
        write_metrics(self.folder, progress.rows)
        if progress.epoch:
            self._publish(progress.best)

    def keep(self, result: EpochResult) -> bool:
        """Write an epoch to disk: first the checkpoint, then the files that follow from it.

        An epoch that is interrupted before its checkpoint is repeated with equal results.

        Args:
            result: The results of the epoch; its row is the last in `progress`.

        Returns:
            Whether this is the best epoch so far.

        Raises:
            ExecutionError: The folder cannot be written to.
        """
        with self._writing():
            return self._keep(result)

    def _keep(self, result: EpochResult) -> bool:
        progress = self.progress
        progress.final = result.averaged or result.evaluation
        scores = scores_of(progress.rows, self.record.evaluated)
        best = {
            score.weights
            for score in scores
            if score.split != "train" and score.at == "best" and score.epoch == result.epoch
        }
        for weights, model in self._networks().items():
            if weights in best:
                progress.best[weights] = checkpoint.weights_of(model)
        checkpoint.save(self.folder, self.train_state, progress)
        append_metrics(self.folder, progress.rows)
        self._publish(best)
        return bool(best)

    def end(self) -> None:
        """Write the record, despite another Ctrl-C, a full disk, or a folder that does not accept new files."""
        try:
            self.record.write(self.folder)
        except KeyboardInterrupt:
            self.record.write(self.folder)
            raise
        except PermissionError:
            with suppress(OSError):
                self.record.write_in_place(self.folder)
        except OSError:
            with suppress(OSError):
                (self.folder / MISTAKES).unlink(missing_ok=True)  # frees space; the checkpoint contains the data
                self.record.write(self.folder)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ExecutionError(
                f"{self.folder} cannot be written to ({error.strerror or error}); continue after the last saved "
                f"epoch with: python -m mnist_compact resume={shlex.quote(str(self.folder))}",
                EXIT_FAILED,
            ) from error

    def _networks(self) -> dict[str, nn.Module]:
        """Return the networks that were evaluated in the last epoch: raw and, if there is an average, averaged."""
        networks = {"raw": self.train_state.model}
        if (
            self.train_state.average is not None
            and self.progress.rows[-1][f"{self.record.evaluated}_averaged_correct"] is not None
        ):
            networks["averaged"] = self.train_state.average.module
        return networks

    def _publish(self, best: Collection[str]) -> None:
        """Write the files that follow from the checkpoint. `best` names the kinds of weights with a new best epoch."""
        record, progress = self.record, self.progress
        assert progress.final is not None
        record.scores = scores_of(progress.rows, record.evaluated)
        record.epochs_done = progress.epoch
        record.seconds = sum(row["seconds"] for row in progress.rows)
        record.confusion = confusion_matrix(self.data, progress.final)
        write_mistakes(self.folder, self.data, progress.final)
        write_correct(self.folder, self.data, progress.final)
        about, networks = weights_about(record, self.data), self._networks()
        for weights in ("raw", "averaged"):
            prefix = "" if weights == "raw" else f"{weights}_"
            last, at_best = (self.folder / WEIGHTS / f"{prefix}{at}.safetensors" for at in ("last", "best"))
            if weights in networks:
                checkpoint.save_weights(last, checkpoint.weights_of(networks[weights]), about)
            else:
                last.unlink(
                    missing_ok=True
                )  # after more epochs were added, an earlier average is not that of the last epoch
            if weights in best:
                checkpoint.save_weights(at_best, progress.best[weights], about)
        record.write(self.folder)
