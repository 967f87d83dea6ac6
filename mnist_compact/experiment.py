"""One run, top to bottom: from a configuration to a run folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch

from mnist_compact.artefacts import (
    append_metrics,
    confusion_matrix,
    metrics_row,
    network_facts,
    scores_of,
    weights_about,
    write_config,
    write_layers,
    write_metrics,
    write_mistakes,
)
from mnist_compact.atomic import sweep
from mnist_compact.config import RunConfig, from_record, to_record
from mnist_compact.data.datasets import Batches, Datasets
from mnist_compact.faults import ConfigError
from mnist_compact.model.anatomy import count_parameters, describe
from mnist_compact.model.networks import INPUT_SHAPE
from mnist_compact.onlookers import Relinquished, Reporter, Watcher, never_stop
from mnist_compact.results import record as record_file
from mnist_compact.results.record import RunRecord, Score, Status, final_score
from mnist_compact.seeds import derive_seed
from mnist_compact.training import checkpoint
from mnist_compact.training.checkpoint import Progress
from mnist_compact.training.loop import Diverged, EpochResult, Plan, fit
from mnist_compact.training.machine import autocast, describe_environment, prepare, release_memory, resolve_device
from mnist_compact.training.step import Trainee, WeightAverage


def check(run: RunConfig) -> int:
    """Refuse, before any data is touched, what cannot run or is over its budget; returns the network's parameters.

    Raises ConfigError, which is OverBudget for too many parameters.
    """
    resolve_device(run.train.device)
    parameters = sum(count_parameters(run.model.build()))
    run.budget.check(parameters=parameters, epochs=run.train.epochs)
    return parameters


@dataclass(slots=True)
class Session:
    """A run in progress: what is trained, on what, and what stands in its folder."""

    run: RunConfig
    folder: Path
    data: Datasets
    batches: Batches
    trainee: Trainee
    record: RunRecord
    progress: Progress


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

    Raises ConfigError before anything is written.
    """
    check(config)
    if (folder / record_file.FILENAME).exists():
        raise ConfigError([f"the run folder must be new, got {folder}, which holds a run already"])
    return _conduct(config, folder, watcher, list(overrides), reporter, data)


def resume(
    folder: Path,
    watcher: Watcher,
    *,
    epochs: int | None = None,
    reporter: Reporter = never_stop,
    data: Datasets | None = None,
) -> RunRecord:
    """Go on in `folder` after its last finished epoch, up to `epochs` or as many as planned.

    Ends with the weights an uninterrupted run would have had, bit for bit, on the same machine with the same threads.
    With more epochs the new ones are scheduled anew, and an average that has begun goes on.
    Raises RecordError where there is no run, ConfigError for fewer epochs than planned.
    """
    record = RunRecord.read(folder)
    config = from_record(record.config)
    if epochs is not None:
        if epochs < config.train.epochs:
            raise ConfigError([f"train.epochs must be at least the run's {config.train.epochs}, got {epochs}"])
        config.train.epochs = epochs
    if not config.train.threads:
        config.train.threads = record.environment["threads"]  # sums in another order give other bits
    check(config)
    return _conduct(config, folder, watcher, record.overrides, reporter, data, continued=record)


def _conduct(
    config: RunConfig,
    folder: Path,
    watcher: Watcher,
    overrides: list[str],
    reporter: Reporter,
    data: Datasets | None,
    continued: RunRecord | None = None,
) -> RunRecord:
    sweep(folder)
    session = _open(config, folder, watcher, overrides, data, continued)
    record, ours = session.record, True
    try:
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
            record.status, record.reason = Status.FAILED, f"{type(error).__name__}: {error}"
            raise
        record.status, record.reason = Status.INTERRUPTED, "interrupted by the user"
    finally:
        if ours:
            record.finished_at = _now()
            record.write(folder)
    watcher.ended(record, folder)
    del session
    release_memory()
    return record


def _open(
    config: RunConfig,
    folder: Path,
    watcher: Watcher,
    overrides: list[str],
    data: Datasets | None,
    continued: RunRecord | None,
) -> Session:
    """Everything up to the first step; from here on the folder holds a run."""
    device = resolve_device(config.train.device)
    prepare(config.train.threads, device)
    data = (data or config.data.load(watcher.announce)).to(device)
    torch.manual_seed(derive_seed(config.seed, "weights"))
    model = config.model.build()
    anatomy = describe(model, INPUT_SHAPE)
    model.to(device)
    average = WeightAverage(model, config.train.average_decay) if config.train.average_epochs else None
    trainee = Trainee(model, config.optim.build(model), average)
    batches = Batches(data, config.augment.build(), config.train.batch_size, config.seed)
    record = continued or RunRecord(
        status=Status.RUNNING,
        config=to_record(config),
        overrides=overrides,
        network=network_facts(anatomy),
        started_at=_now(),
        environment=describe_environment(device),
    )
    record.status, record.reason, record.finished_at = Status.RUNNING, "", None
    record.config["train"]["epochs"] = config.train.epochs
    progress = checkpoint.load(folder, trainee, device) if continued else Progress([])
    record.write(folder)
    write_config(folder, record)
    write_layers(folder, anatomy.rows)
    write_metrics(folder, progress.rows)
    watcher.started(config, anatomy, str(device), len(batches))
    return Session(config, folder, data, batches, trainee, record, progress)


def _train(session: Session, watcher: Watcher, reporter: Reporter) -> bool:
    """True when every planned epoch was done, False when the reporter ended it before."""
    train, progress, device = session.run.train, session.progress, session.data.train.images.device
    plan = Plan(
        epochs=train.epochs,
        schedule=session.run.scheduler.build(steps_per_epoch=len(session.batches), epochs=train.epochs),
        strength=lambda epoch: session.run.augment.strength(epoch, train.epochs),
        average_from=train.epochs - train.average_epochs + 1,
        label_smoothing=train.label_smoothing,
        autocast=autocast(device, train.precision),
        watch_loss=device.type == "cpu",
        seed=session.run.seed,
    )
    first = progress.epoch + 1
    for result in fit(session.trainee, session.batches, plan, first_epoch=first, on_step=watcher.stepped):
        row = metrics_row(result, session.data.evaluation.name)
        progress.rows.append(row)
        scores = scores_of(progress.rows, session.data.evaluation.name)
        stop = reporter(final_score(scores), session.record.network)
        new_best = _keep(session, result, scores)
        watcher.epoch_done(row, new_best=new_best)
        if stop and result.epoch < train.epochs:
            return False
    return True


def _keep(session: Session, result: EpochResult, scores: list[Score]) -> bool:
    """Put an epoch on disk, the checkpoint last: what it does not know of is done and reported again, the same."""
    folder, record, rows, split = session.folder, session.record, session.progress.rows, session.data.evaluation.name
    record.scores = scores
    record.epochs_done = result.epoch
    record.seconds = sum(row["seconds"] for row in rows)
    final = result.averaged or result.evaluation
    record.confusion = confusion_matrix(session.data, final)
    append_metrics(folder, rows)
    write_mistakes(folder, session.data, final)
    about, new_best = weights_about(record, session.data), False
    weights = [("", session.trainee.model, "raw")]
    if session.trainee.average is not None and result.averaged is not None:
        weights.append(("averaged_", session.trainee.average.module, "averaged"))
    for prefix, model, kind in weights:
        best = record.score(split, weights=kind, at="best")
        assert best is not None
        new_best |= (is_best := best.epoch == result.epoch)
        for at in ("last", "best") if is_best else ("last",):
            checkpoint.save_weights(folder / "weights" / f"{prefix}{at}.safetensors", model, about)
    record.write(folder)
    checkpoint.save(folder, session.trainee, session.progress)
    return new_best


def _now() -> str:
    return datetime.now(UTC).astimezone().isoformat(timespec="seconds")
