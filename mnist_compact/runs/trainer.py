"""One run, top to bottom: from a configuration to a run folder."""

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mnist_compact.callbacks.base import Callback, RunInfo
from mnist_compact.callbacks.pruning import LeaseLost, PruningCallback, never_prune
from mnist_compact.common.errors import ConfigError, UserError
from mnist_compact.common.run_files import OVERWRITTEN, RECORD
from mnist_compact.common.wording import counted
from mnist_compact.config.conversion import from_record
from mnist_compact.config.schema import RunConfig, to_record
from mnist_compact.data.datasets import Datasets
from mnist_compact.models.summary import count_parameters, planned
from mnist_compact.records.record import Continuation, Normalisation, RunRecord, Status, final_of
from mnist_compact.runs.artifacts import metrics_row, network_facts, scores_of
from mnist_compact.runs.folder_writer import RunFolderWriter, sole_writer, untrained
from mnist_compact.training import checkpoint
from mnist_compact.training.checkpoint import Progress
from mnist_compact.training.config import MachineConfig
from mnist_compact.training.device import autocast, describe_environment, memory_faults, prepared, resolve_device
from mnist_compact.training.loop import Diverged, TrainingPlan, fit

MOST_PARAMETERS = 100_000_000  # with gradients and the moments of an optimizer 1.6 GB


def check(run: RunConfig) -> int:
    """Refuse, before any data is touched, what cannot run or is over its budget; returns the network's parameters.

    Raises ConfigError, which is OverBudgetError for too many parameters.
    """
    resolve_device(run.machine.device)
    model = planned(run.model.build)
    parameters = sum(count_parameters(model))
    run.budget.check(parameters=parameters, epochs=run.train.epochs)
    if parameters > MOST_PARAMETERS:
        raise ConfigError([f"model must have at most {MOST_PARAMETERS:,} parameters, got {parameters:,}"])
    run.optim.build(model)  # which may not fit the network
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
    """Train from the start into `folder`; `data`, if given, is what the configuration would load.

    Raises ConfigError before anything is written, ExecutionError where the folder can no longer be written to.
    """
    check(config)
    _check_is_new(folder)
    device = resolve_device(config.machine.device)
    with prepared(config.machine.threads, device), memory_faults():
        data = (data or config.load_data(callback.on_message)).to(device)
        with sole_writer(folder):
            _check_is_new(folder)  # by now
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
        raise ConfigError([f"the run folder must be new, got {folder}, which holds a run already"])
    if there := [name for name in OVERWRITTEN if os.path.lexists(folder / name)]:
        raise ConfigError(
            [f"the run folder must be new, got {folder}, which holds {', '.join(there)}: the run would overwrite them"]
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
    """Go on in `folder` after its last finished epoch, up to `epochs` or as many as planned.

    On `machine` or as it began: the record keeps what was asked for first, and what each part was computed on. Ends
    with the weights an uninterrupted run would have had, bit for bit, on the same machine with the same threads.
    With more epochs the new ones are scheduled anew, which is announced, and an average that has begun goes on.
    Of a completed run with no more epochs to train nothing is changed, which is announced.
    Raises RecordError where there is no run, CheckpointError where it cannot go on, ConfigError for fewer epochs than
    planned, in each case before anything is written; ExecutionError as `run`.
    """
    record = RunRecord.read(folder)
    planned = from_record(record.config).train.epochs
    if epochs is not None and epochs < planned:
        raise ConfigError([f"train.epochs must be at least the run's {planned}, got {epochs}"])
    if record.status is Status.COMPLETED and epochs in (None, planned):
        callback.on_message(
            f"there is nothing to do: {folder} is completed (epoch {planned} of {planned}); "
            "train.epochs=<more> continues it"
        )
        return record
    with sole_writer(folder):
        record = RunRecord.read(folder)
        config = from_record(record.config)
        config.train.epochs = epochs or config.train.epochs
        config.machine = machine or config.machine
        if not config.machine.threads:  # sums in another order give other bits
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


def _note_continuation(
    record: RunRecord,
    config: RunConfig,
    progress: Progress,
    environment: dict[str, Any],
    announce: Callable[[str], None],
) -> None:
    before, planned = record.config["train"]["epochs"], config.train.epochs
    record.continuations.append(
        Continuation(
            after_epoch=progress.epoch,
            planned_before=before,
            planned=planned,
            started_at=_now(),
            environment=environment,
        )
    )
    record.config["train"]["epochs"] = planned
    if planned > before:
        announce(
            f"the run was planned for {counted(before, 'epoch')}: from epoch {progress.epoch + 1} on, its learning "
            f"rate follows the schedule of {planned} epochs, so it does not end like a run of {planned} from the start"
        )


def _conduct(writer: RunFolderWriter, callback: Callback, pruning_callback: PruningCallback) -> RunRecord:
    record, folder, ours = writer.record, writer.folder, True
    try:
        writer.begin()
        device = writer.data.train.images.device
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
        with memory_faults():  # here too, so that the record's reason is in words
            finished = _train(writer, callback, pruning_callback)
        record.status = Status.COMPLETED if finished else Status.STOPPED
    except Diverged as error:
        record.status, record.reason = Status.DIVERGED, str(error)
    except LeaseLost:
        ours = False
        raise
    except BaseException as error:
        cause: BaseException | None = error
        while isinstance(cause, SystemError):  # which Numba's C code makes of a Ctrl-C that meets a kernel at work
            cause = cause.__cause__
        if not isinstance(cause, KeyboardInterrupt):
            told = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            record.status, record.reason = Status.FAILED, told
            raise
        record.status, record.reason = Status.INTERRUPTED, str(cause) or "interrupted by the user"
    finally:
        if ours:
            record.finished_at = _now()
            writer.end()
    callback.on_run_end(record, folder)
    return record


def _train(writer: RunFolderWriter, callback: Callback, pruning_callback: PruningCallback) -> bool:
    """True when every planned epoch was done, False when the pruning callback ended it before."""
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
    first = progress.epoch + 1
    for result in fit(writer.train_state, writer.batches, plan, first_epoch=first, on_step=callback.on_step_end):
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
    return datetime.now(UTC).astimezone().isoformat(timespec="seconds")
