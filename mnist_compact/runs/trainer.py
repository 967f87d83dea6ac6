"""One run from its configuration to its run folder."""

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from mnist_compact.callbacks.callback import Callback, RunInfo
from mnist_compact.callbacks.pruning import LeaseLost, PruningCallback, never_prune
from mnist_compact.common.errors import ConfigError, UserError
from mnist_compact.common.run_files import OVERWRITTEN, RECORD
from mnist_compact.common.seeds import derive_seed
from mnist_compact.common.signals import interruptible
from mnist_compact.common.wording import counted
from mnist_compact.config.conversion import from_record
from mnist_compact.config.schema import RunConfig, to_record
from mnist_compact.data.datasets import Batches, Datasets
from mnist_compact.models.network import INPUT_SHAPE
from mnist_compact.models.summary import ModelSummary, count_parameters, planned, summarize
from mnist_compact.records.record import Continuation, Normalisation, RunRecord, Status, final_of
from mnist_compact.runs.artifacts import metrics_row, network_facts, scores_of
from mnist_compact.runs.folder_writer import RunFolderWriter, sole_writer
from mnist_compact.training import checkpoint
from mnist_compact.training.checkpoint import Progress
from mnist_compact.training.config import MachineConfig, Precision
from mnist_compact.training.device import (
    autocast,
    describe_environment,
    has_bfloat16,
    memory_faults,
    prepared,
    resolve_device,
)
from mnist_compact.training.loop import Diverged, StepView, TrainingPlan, fit
from mnist_compact.training.step import TrainState, WeightAverage

MOST_PARAMETERS = 100_000_000  # 1.6 GB with gradients and an optimizer's moments


def check(run: RunConfig) -> int:
    """Check that a run is possible and within its budget, before any data is read.

    Args:
        run: The configuration.

    Returns:
        The number of the network's parameters.

    Raises:
        OverBudgetError: The network has too many parameters.
        ConfigError: The run is not possible for another reason.
    """
    resolve_device(run.machine.device)
    model = planned(run.model.build)
    parameters = sum(count_parameters(model))
    run.budget.check(parameters=parameters, epochs=run.train.epochs)
    if parameters > MOST_PARAMETERS:
        raise ConfigError([f"model must have at most {MOST_PARAMETERS:,} parameters, got {parameters:,}"])
    run.optim.build(model)  # raises ConfigError if the optimizer does not fit the network
    run.scheduler.momentum(run.optim.own_momentum(), steps_per_epoch=1, epochs=run.train.epochs)
    return parameters


def run(
    config: RunConfig,
    folder: Path,
    callback: Callback,
    *,
    overrides: Sequence[str] = (),
    pruning_callback: PruningCallback = never_prune,
    data: Datasets | None = None,
) -> RunRecord:
    """Train a network from the start.

    Args:
        config: The configuration.
        folder: The run folder, which must not contain a run.
        callback: Receives the events of the run.
        overrides: The overrides that led to the configuration, for the record.
        pruning_callback: Decides after each epoch whether to stop the run.
        data: Images to use instead of those that the configuration names.

    Returns:
        The record of the run.

    Raises:
        ConfigError: The run is not possible. Nothing was written.
        ExecutionError: The folder can no longer be written to.
    """
    check(config)
    _check_is_new(folder)
    device = resolve_device(config.machine.device)
    with prepared(config.machine.threads, device), memory_faults():
        data = (data or config.load_data(callback.on_message)).to(device)
        with sole_writer(folder):
            _check_is_new(folder)  # again: another process may have used it before the lock
            train_state, model_summary, batches = untrained(config, data)
            record = RunRecord(
                status=Status.RUNNING,
                config=to_record(config),
                overrides=list(overrides),
                evaluated=data.evaluation.name,
                classes=list(data.evaluation.classes),
                normalisation=Normalisation(mean=data.mean, std=data.std),
                network=network_facts(model_summary),
                started_at=_now(),
                environment=describe_environment(device),
            )
            writer = RunFolderWriter(config, folder, data, batches, train_state, model_summary, record, Progress())
            return _conduct(writer, callback, pruning_callback)


def _check_is_new(folder: Path) -> None:
    if (folder / RECORD).exists():
        raise ConfigError([f"the run folder must be new, got {folder}, which already contains a run"])
    if existing := [name for name in OVERWRITTEN if os.path.lexists(folder / name)]:
        files = ", ".join(existing)
        raise ConfigError(
            [f"the run folder must be new, got {folder}, which contains {files}: the run would overwrite these files"]
        )


def resume(
    folder: Path,
    callback: Callback,
    *,
    epochs: int | None = None,
    machine: MachineConfig | None = None,
    pruning_callback: PruningCallback = never_prune,
    data: Datasets | None = None,
) -> RunRecord:
    """Continue the run in a folder after its last finished epoch.

    On the same machine with the same number of threads, the final weights are bitwise equal to those of an
    uninterrupted run. With more epochs, the rest follows the schedule of the larger number, which is announced, and an
    average that has begun continues. A completed run without more epochs is not changed, which is announced.

    Args:
        folder: The run folder.
        callback: Receives the events of the run.
        epochs: Total number of epochs, at least as many as planned; None = as planned.
        machine: The machine to continue on; None = as recorded. The record keeps the first machine, and the environment
            of each part.
        pruning_callback: Decides after each epoch whether to stop the run.
        data: Images to use instead of those that the configuration names.

    Returns:
        The record of the run.

    Raises:
        RecordError: The folder contains no run. Nothing was written.
        CheckpointError: The run cannot be continued. Nothing was written.
        ConfigError: `epochs` is below the planned number. Nothing was written.
        ExecutionError: The folder can no longer be written to.
    """
    record = RunRecord.read(folder)
    planned = from_record(record.config).train.epochs
    if epochs is not None and epochs < planned:
        raise ConfigError([f"train.epochs must be at least the run's {planned}, got {epochs}"])
    if record.status is Status.COMPLETED and epochs in (None, planned):
        callback.on_message(
            f"there is nothing to do: {folder} is completed (epoch {planned} of {planned}); "
            "add train.epochs=<more> to continue it"
        )
        return record
    with sole_writer(folder):
        record = RunRecord.read(folder)
        config = from_record(record.config)
        config.train.epochs = epochs or config.train.epochs
        config.machine = machine or config.machine
        if not config.machine.threads:  # another number of threads changes the order of sums, and so the bits
            config.machine.threads = record.latest_environment.get("threads", 0)
        check(config)
        device = resolve_device(config.machine.device)
        with prepared(config.machine.threads, device), memory_faults():
            data = (data or config.load_data(callback.on_message)).to(device)
            train_state, model_summary, batches = untrained(config, data)
            progress = checkpoint.load(folder, train_state, device, callback.on_message)
            _note_continuation(record, config, progress, describe_environment(device), callback.on_message)
            writer = RunFolderWriter(config, folder, data, batches, train_state, model_summary, record, progress)
            return _conduct(writer, callback, pruning_callback)


def untrained(run: RunConfig, data: Datasets) -> tuple[TrainState, ModelSummary, Batches]:
    """Return the initial state of a run.

    Args:
        run: The configuration.
        data: The images, already on the device of the run.

    Returns:
        The untrained network with its optimizer, the model summary, and the batches.
    """
    torch.manual_seed(derive_seed(run.seed, "weights"))
    model = run.model.build()
    model_summary = summarize(model, INPUT_SHAPE)
    model.to(data.train.images.device)
    average = WeightAverage(model, run.train.average_decay) if run.train.average_epochs else None
    train_state = TrainState(model, run.optim.build(model), average)
    return train_state, model_summary, Batches(data, run.augment.build(), run.train.batch_size, run.seed)


def _note_continuation(
    record: RunRecord,
    config: RunConfig,
    progress: Progress,
    environment: dict[str, Any],
    announce: Callable[[str], None],
) -> None:
    planned_before, planned = record.config["train"]["epochs"], config.train.epochs
    record.continuations.append(
        Continuation(
            after_epoch=progress.epoch,
            planned_before=planned_before,
            planned=planned,
            started_at=_now(),
            environment=environment,
        )
    )
    record.config["train"]["epochs"] = planned
    if planned > planned_before:
        announce(
            f"the run was planned for {counted(planned_before, 'epoch')}: from epoch {progress.epoch + 1} on, its "
            f"learning rate follows the schedule of {planned} epochs, so it does not end like a run of {planned} "
            "from the start"
        )


def _conduct(writer: RunFolderWriter, callback: Callback, pruning_callback: PruningCallback) -> RunRecord:
    record, folder, has_lease = writer.record, writer.folder, True
    try:
        writer.begin()
        device = writer.data.train.images.device
        if writer.run.train.precision is Precision.bfloat16 and not has_bfloat16(device):
            callback.on_message("this processor has no instructions for bfloat16: the run computes in float32")
        callback.on_run_start(
            RunInfo(
                settings=to_record(writer.run),
                folder=folder,
                model_summary=writer.model_summary,
                device=str(device),
                train_images=len(writer.data.train),
                steps_per_epoch=len(writer.batches),
                evaluated_split=record.evaluated,
            )
        )
        with interruptible() as check_interrupt, memory_faults():  # here too, for the plain message in the record
            finished = _train(writer, callback, pruning_callback, check_interrupt)
        record.status = Status.COMPLETED if finished else Status.STOPPED
    except Diverged as error:
        record.status, record.reason = Status.DIVERGED, str(error)
    except LeaseLost:
        has_lease = False
        raise
    except BaseException as error:
        cause: BaseException | None = error
        while isinstance(cause, SystemError):  # Numba's C code raises it for a Ctrl-C while a kernel runs
            cause = cause.__cause__
        if not isinstance(cause, KeyboardInterrupt):
            reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            record.status, record.reason = Status.FAILED, reason
            raise
        record.status, record.reason = Status.INTERRUPTED, str(cause) or "interrupted by the user"
    finally:
        if has_lease:
            record.finished_at = _now()
            writer.end()
    callback.on_run_end(record, folder)
    return record


def _train(
    writer: RunFolderWriter,
    callback: Callback,
    pruning_callback: PruningCallback,
    check_interrupt: Callable[[], None],
) -> bool:
    """Train; return True if every planned epoch was done, and False if the pruning callback stopped the run."""
    train, progress, device = writer.run.train, writer.progress, writer.data.train.images.device
    scheduler, length = writer.run.scheduler, {"steps_per_epoch": len(writer.batches), "epochs": train.epochs}
    plan = TrainingPlan(
        epochs=train.epochs,
        schedule=scheduler.build(**length),
        momentum=scheduler.momentum(writer.run.optim.own_momentum(), **length),
        strength=lambda epoch: writer.run.augment.strength(epoch, train.epochs),
        average_from=train.epochs - train.average_epochs + 1,
        label_smoothing=train.label_smoothing,
        autocast=autocast(device, train.precision),
        watch_loss=device.type == "cpu",
        seed=writer.run.seed,
    )

    def on_step(view: StepView) -> None:
        check_interrupt()
        callback.on_step_end(view)

    for result in fit(writer.train_state, writer.batches, plan, first_epoch=progress.epoch + 1, on_step=on_step):
        row = metrics_row(result, writer.record.evaluated)
        progress.rows.append(row)
        final = final_of(scores_of(progress.rows, writer.record.evaluated))
        assert final is not None
        stop = pruning_callback(final, writer.record.network)
        new_best = writer.keep(result)
        callback.on_epoch_end(row, new_best=new_best)
        if stop and result.epoch < train.epochs:
            return False
    return True


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
