"""One run, top to bottom: from a configuration to a run folder."""

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mnist_compact.artefacts import metrics_row, network_facts, scores_of
from mnist_compact.config import RunConfig, from_record, to_record
from mnist_compact.data.datasets import Datasets
from mnist_compact.faults import ConfigError, Refusal
from mnist_compact.model.anatomy import count_parameters, planned
from mnist_compact.onlookers import Relinquished, Reporter, Watcher, never_stop
from mnist_compact.results.record import Continuation, Normalisation, RunRecord, Status, final_of
from mnist_compact.run_files import OVERWRITTEN, RECORD
from mnist_compact.session import Session, sole_writer, untrained
from mnist_compact.training import checkpoint
from mnist_compact.training.checkpoint import Progress
from mnist_compact.training.configs import MachineConfig
from mnist_compact.training.loop import Diverged, Plan, fit
from mnist_compact.training.machine import autocast, describe_environment, memory_faults, prepared, resolve_device
from mnist_compact.wording import counted

MOST_PARAMETERS = 100_000_000  # with gradients and the moments of an optimizer 1.6 GB


def check(run: RunConfig) -> int:
    """Refuse, before any data is touched, what cannot run or is over its budget; returns the network's parameters.

    Raises ConfigError, which is OverBudget for too many parameters.
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
    watcher: Watcher,
    *,
    overrides: Sequence[str] = (),
    reporter: Reporter = never_stop,
    data: Datasets | None = None,
) -> RunRecord:
    """Train from the start into `folder`; `data`, if given, is what the configuration would load.

    Raises ConfigError before anything is written, WorkFault where the folder can no longer be written to.
    """
    check(config)
    _check_is_new(folder)
    device = resolve_device(config.machine.device)
    with prepared(config.machine.threads, device), memory_faults():
        data = (data or config.load_data(watcher.announce)).to(device)
        with sole_writer(folder):
            _check_is_new(folder)  # by now
            trainee, anatomy, batches = untrained(config, data)
            record = RunRecord(
                status=Status.RUNNING,
                config=to_record(config),
                overrides=list(overrides),
                evaluated=data.evaluation.name,
                classes=list(data.evaluation.classes),
                normalisation=Normalisation(mean=data.mean, std=data.std),
                network=network_facts(anatomy),
                started_at=_now(),
                environment=describe_environment(device),
            )
            session = Session(config, folder, data, batches, trainee, anatomy, record, Progress())
            return _conduct(session, watcher, reporter)


def _check_is_new(folder: Path) -> None:
    if (folder / RECORD).exists():
        raise ConfigError([f"the run folder must be new, got {folder}, which holds a run already"])
    if there := [name for name in OVERWRITTEN if os.path.lexists(folder / name)]:
        raise ConfigError(
            [f"the run folder must be new, got {folder}, which holds {', '.join(there)}: the run would overwrite them"]
        )


def resume(
    folder: Path,
    watcher: Watcher,
    *,
    epochs: int | None = None,
    machine: MachineConfig | None = None,
    reporter: Reporter = never_stop,
    data: Datasets | None = None,
) -> RunRecord:
    """Go on in `folder` after its last finished epoch, up to `epochs` or as many as planned.

    On `machine` or as it began: the record keeps what was asked for first, and what each part was computed on. Ends
    with the weights an uninterrupted run would have had, bit for bit, on the same machine with the same threads.
    With more epochs the new ones are scheduled anew, which is announced, and an average that has begun goes on.
    Of a completed run with no more epochs to train nothing is changed, which is announced.
    Raises RecordError where there is no run, CheckpointError where it cannot go on, ConfigError for fewer epochs than
    planned, in each case before anything is written; WorkFault as `run`.
    """
    record = RunRecord.read(folder)
    planned = from_record(record.config).train.epochs
    if epochs is not None and epochs < planned:
        raise ConfigError([f"train.epochs must be at least the run's {planned}, got {epochs}"])
    if record.status is Status.COMPLETED and epochs in (None, planned):
        watcher.announce(
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
            data = (data or config.load_data(watcher.announce)).to(device)
            trainee, anatomy, batches = untrained(config, data)
            progress = checkpoint.load(folder, trainee, device, watcher.announce)
            _note_continuation(record, config, progress, describe_environment(device), watcher.announce)
            session = Session(config, folder, data, batches, trainee, anatomy, record, progress)
            return _conduct(session, watcher, reporter)


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


def _conduct(session: Session, watcher: Watcher, reporter: Reporter) -> RunRecord:
    record, folder, ours = session.record, session.folder, True
    try:
        session.begin()
        device = session.data.train.images.device
        watcher.started(session.run, session.anatomy, str(device), len(session.batches))
        with memory_faults():  # here too, so that the record's reason is in words
            finished = _train(session, watcher, reporter)
        record.status = Status.COMPLETED if finished else Status.STOPPED
    except Diverged as error:
        record.status, record.reason = Status.DIVERGED, str(error)
    except Relinquished:
        ours = False
        raise
    except BaseException as error:
        cause: BaseException | None = error
        while isinstance(cause, SystemError):  # which Numba's C code makes of a Ctrl-C that meets a kernel at work
            cause = cause.__cause__
        if not isinstance(cause, KeyboardInterrupt):
            told = str(error) if isinstance(error, Refusal) else f"{type(error).__name__}: {error}"
            record.status, record.reason = Status.FAILED, told
            raise
        record.status, record.reason = Status.INTERRUPTED, str(cause) or "interrupted by the user"
    finally:
        if ours:
            record.finished_at = _now()
            session.end()
    watcher.ended(record, folder)
    return record


def _train(session: Session, watcher: Watcher, reporter: Reporter) -> bool:
    """True when every planned epoch was done, False when the reporter ended it before."""
    train, progress, device = session.run.train, session.progress, session.data.train.images.device
    scheduler, length = session.run.scheduler, {"steps_per_epoch": len(session.batches), "epochs": train.epochs}
    plan = Plan(
        epochs=train.epochs,
        schedule=scheduler.build(**length),
        momentum=scheduler.momentum(session.run.optim.own_momentum(), **length),
        strength=lambda epoch: session.run.augment.strength(epoch, train.epochs),
        average_from=train.epochs - train.average_epochs + 1,
        label_smoothing=train.label_smoothing,
        autocast=autocast(device, train.precision),
        watch_loss=device.type == "cpu",
        seed=session.run.seed,
    )
    first = progress.epoch + 1
    for result in fit(session.trainee, session.batches, plan, first_epoch=first, on_step=watcher.stepped):
        row = metrics_row(result, session.record.evaluated)
        progress.rows.append(row)
        final = final_of(scores_of(progress.rows, session.record.evaluated))
        assert final is not None
        stop = reporter(final, session.record.network)
        new_best = session.keep(result)
        watcher.epoch_done(row, new_best=new_best)
        if stop and result.epoch < train.epochs:
            return False
    return True


def _now() -> str:
    return datetime.now(UTC).astimezone().isoformat(timespec="seconds")
