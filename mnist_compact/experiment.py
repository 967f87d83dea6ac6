"""One run, top to bottom: from a configuration to a run folder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import torch

from mnist_compact.artefacts import (
    append_metrics,
    confusion_matrix,
    metrics_row,
    network_facts,
    scores_of,
    write_config,
    write_layers,
    write_metrics,
    write_mistakes,
)
from mnist_compact.atomic import sweep
from mnist_compact.config import RunConfig, from_record, to_record
from mnist_compact.data.datasets import Batches, Datasets
from mnist_compact.faults import ConfigError
from mnist_compact.model.anatomy import Anatomy, count_parameters, describe
from mnist_compact.model.networks import INPUT_SHAPE
from mnist_compact.results import record as record_file
from mnist_compact.results.record import RunRecord, Status
from mnist_compact.seeds import derive_seed
from mnist_compact.training import checkpoint
from mnist_compact.training.checkpoint import Progress
from mnist_compact.training.loop import Diverged, EpochResult, Plan, StepView, Trainee, fit, weight_average
from mnist_compact.training.machine import autocast, describe_environment, prepare, resolve_device


class Watcher(Protocol):
    """Someone who looks on. The run is the same whoever does."""

    def announce(self, sentence: str) -> None: ...
    def started(self, run: RunConfig, anatomy: Anatomy, device: str, steps: int) -> None: ...
    def stepped(self, view: StepView) -> None: ...
    def epoch_done(self, row: dict[str, Any], *, new_best: bool) -> None: ...
    def ended(self, record: RunRecord, folder: Path) -> None: ...


# Told epoch and score after each epoch; True ends the run there. The only door through which a search can prune.
Reporter = Callable[[int, float], bool]


def never_stop(epoch: int, score: float) -> bool:
    return False


def check(run: RunConfig) -> None:
    """Refuse, before any data is touched, what cannot run or is over its budget. Raises ConfigError."""
    resolve_device(run.train.device)
    model = run.model.build()
    run.budget.check(parameters=sum(count_parameters(model)), epochs=run.train.epochs)


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
) -> RunRecord:
    """Train from the start into `folder`. Raises ConfigError before anything is written there."""
    check(config)
    if (folder / record_file.FILENAME).exists():
        raise ConfigError([f"the run folder must be new, got {folder}, which holds a run already"])
    return _conduct(config, folder, watcher, list(overrides), reporter)


def resume(folder: Path, watcher: Watcher, *, epochs: int | None = None, reporter: Reporter = never_stop) -> RunRecord:
    """Go on in `folder` after its last finished epoch, up to `epochs` or as many as planned.

    Ends with the weights an uninterrupted run would have had, bit for bit, on the same machine with the same threads.
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
    return _conduct(config, folder, watcher, record.overrides, reporter, continued=record)


def _conduct(
    config: RunConfig,
    folder: Path,
    watcher: Watcher,
    overrides: list[str],
    reporter: Reporter,
    continued: RunRecord | None = None,
) -> RunRecord:
    sweep(folder)
    session = _open(config, folder, watcher, overrides, continued)
    record = session.record
    try:
        finished = _train(session, watcher, reporter)
        record.status = Status.COMPLETED if finished else Status.STOPPED
    except KeyboardInterrupt:
        record.status, record.reason = Status.INTERRUPTED, "interrupted by the user"
    except Diverged as error:
        record.status, record.reason = Status.DIVERGED, str(error)
    except BaseException as error:
        record.status, record.reason = Status.FAILED, f"{type(error).__name__}: {error}"
        raise
    finally:
        record.finished_at = _now()
        record.write(folder)
    watcher.ended(record, folder)
    return record


def _open(
    config: RunConfig, folder: Path, watcher: Watcher, overrides: list[str], continued: RunRecord | None
) -> Session:
    """Everything up to the first step; from here on the folder holds a run."""
    device = resolve_device(config.train.device)
    prepare(config.train.threads)
    data = config.data.load(watcher.announce).to(device)
    torch.manual_seed(derive_seed(config.seed, "weights"))
    model = config.model.build()
    anatomy = describe(model, INPUT_SHAPE)
    model.to(device)
    average = weight_average(model, config.train.average_decay) if config.train.average_epochs else None
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
    train, progress = session.run.train, session.progress
    plan = Plan(
        epochs=train.epochs,
        schedule=session.run.scheduler.build(steps_per_epoch=len(session.batches), epochs=train.epochs),
        strength=lambda epoch: session.run.augment.strength(epoch, train.epochs),
        average_from=train.epochs - train.average_epochs + 1,
        label_smoothing=train.label_smoothing,
        autocast=autocast(session.data.train.images.device, train.precision),
        seed=session.run.seed,
    )
    first = progress.epoch + 1
    for result in fit(session.trainee, session.batches, plan, first_epoch=first, on_step=watcher.stepped):
        row = metrics_row(result, session.data.evaluation.name)
        progress.rows.append(row)
        new_best = _keep(session, result)
        watcher.epoch_done(row, new_best=new_best)
        if reporter(result.epoch, objective(session.record)) and result.epoch < train.epochs:
            return False
    return True


def _keep(session: Session, result: EpochResult) -> bool:
    """Put an epoch on disk, the checkpoint last: what it does not know of is done again, and comes out the same."""
    folder, record, rows = session.folder, session.record, session.progress.rows
    split = session.data.evaluation.name
    record.scores = scores_of(rows, split)
    record.epochs_done = result.epoch
    record.seconds = sum(row["seconds"] for row in rows)
    final = result.averaged or result.evaluation
    record.confusion = confusion_matrix(session.data, final)
    append_metrics(folder, rows)
    write_mistakes(folder, session.data, final)
    weights = [("", session.trainee.model, "raw")]
    if session.trainee.average is not None and result.averaged is not None:
        weights.append(("averaged_", session.trainee.average.module, "averaged"))
    new_best = False
    for prefix, model, kind in weights:
        checkpoint.save_weights(folder / "weights" / f"{prefix}last.safetensors", model)
        best = record.score(split, weights=kind, at="best")
        assert best is not None
        if best.epoch == result.epoch:
            checkpoint.save_weights(folder / "weights" / f"{prefix}best.safetensors", model)
            new_best = True
    record.write(folder)
    checkpoint.save(folder, session.trainee, session.progress)
    return new_best


def objective(record: RunRecord) -> float:
    """What a search maximises: accuracy at the last epoch done, of the averaged weights once there are any."""
    final = [score for score in record.scores if score.at == "last" and score.split != "train"]
    return next((score for score in final if score.weights == "averaged"), final[0]).accuracy


def _now() -> str:
    return datetime.now(UTC).astimezone().isoformat(timespec="seconds")
