"""Commands on existing folders: `resume=<folder>` of a run, grid or study, and `rerun=<run folder>`."""

import secrets
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_compact.common.errors import ConfigError
from mnist_compact.common.run_files import RECORD
from mnist_compact.config.conversion import from_record
from mnist_compact.records.discovery import DATABASE
from mnist_compact.records.migrations import moved, new_place
from mnist_compact.records.record import RunRecord

if TYPE_CHECKING:
    from mnist_compact.config.schema import RunConfig

STORAGE = "hydra.sweeper.storage"
GRID = "multirun.yaml"  # Hydra writes it to the folder of a grid


def resume(folder: Path, given: dict[str, str]) -> RunRecord | None:
    """Continue the run in a folder.

    Args:
        folder: The run folder.
        given: Changes by key: `train.epochs` and `machine.*` are allowed.

    Returns:
        The record of the run; None if there was nothing left to do, which is announced.

    Raises:
        ConfigError: `given` contains another change or a wrong value.
    """
    epochs = given.get("train.epochs")
    others = sorted(key for key in given if key != "train.epochs" and not key.startswith("machine."))
    if others:
        raise ConfigError([f"resume accepts only train.epochs (increased) and machine.*, got {', '.join(others)}"])
    if epochs is not None and not epochs.isdigit():
        raise ConfigError([f"train.epochs must be a whole number, got {epochs!r}"])
    from mnist_compact.callbacks.callback import CallbackList
    from mnist_compact.callbacks.config import build_callbacks, stored_callbacks
    from mnist_compact.cli.run_display import on_terminal
    from mnist_compact.runs import trainer

    changes = {key: value for key, value in given.items() if key != "train.epochs"}
    earlier = RunRecord.read(folder)
    machine = _changed(earlier.config, changes).machine if changes else None
    callbacks = build_callbacks(stored_callbacks(folder), folder)
    with closing(CallbackList(on_terminal(), *callbacks)) as callback:
        record = trainer.resume(folder, callback, epochs=None if epochs is None else int(epochs), machine=machine)
    return None if record == earlier else record


def is_study(folder: Path, given: dict[str, str]) -> bool:
    """Return whether the folder belongs to a study: it contains the database, or `given` names another storage."""
    return (folder / DATABASE).is_file() or STORAGE in given


def is_grid(folder: Path) -> bool:
    """Return whether the folder belongs to a grid or a search that Hydra has started."""
    return (folder / GRID).is_file() and not (folder / RECORD).exists()


def grid_line(folder: Path, given: dict[str, str]) -> list[str]:
    """Return the arguments that finish a grid: interrupted runs are continued and missing runs are started.

    Args:
        folder: The folder of the grid.
        given: Changes by key; none are allowed.

    Raises:
        ConfigError: The folder belongs to a search, or `given` is not empty.
    """
    from hydra.core.override_parser.types import Quote, QuotedString
    from omegaconf import OmegaConf

    if given:
        raise ConfigError([f"resume of a grid accepts no changes, got {', '.join(given)}"])
    saved: Any = OmegaConf.to_container(OmegaConf.load(folder / GRID), resolve=False)  # ${…} differs between the runs
    hydra = saved["hydra"]
    sweeper = hydra["runtime"]["choices"]["hydra/sweeper"]
    if sweeper != "basic":
        raise ConfigError([f"{folder} is not a grid: to continue it, rerun the command with hydra/sweeper={sweeper}"])
    replaced = ("hydra.mode=", "hydra.sweep.dir=", "hydra.sweeper.go_on=")
    sources = [source["path"] for source in hydra["runtime"]["config_sources"] if source["provider"] == "command-line"]
    return [
        "-m",
        *(f"--config-dir={source}" for source in sources),
        *(override for override in hydra["overrides"]["hydra"] if not override.startswith(replaced)),
        *map(moved, hydra["overrides"]["task"]),
        f"hydra.sweep.dir={QuotedString(str(folder), Quote.single).with_quotes()}",
        "hydra.sweeper.go_on=true",
    ]


def rerun(folder: Path, given: dict[str, str]) -> tuple[Path, RunRecord]:
    """Train the configuration of a run again, in a new folder.

    The configuration is that of the record. Later changes in conf/ have no effect. The callbacks are those of
    the run.

    Args:
        folder: The run folder.
        given: Changed settings by key.

    Returns:
        The new run folder and the record of the new run.

    Raises:
        ConfigError: `given` contains a key that the configuration does not have, or the run is not possible.
    """
    config = _changed(RunRecord.read(folder).config, given)
    from mnist_compact.callbacks.callback import CallbackList
    from mnist_compact.callbacks.config import build_callbacks, stored_callbacks
    from mnist_compact.cli.run_display import on_terminal
    from mnist_compact.runs import trainer

    trainer.check(config)
    overrides = [f"rerun={folder}", *(f"{key}={value}" for key, value in given.items())]
    new_folder = _run_folder(config)
    callbacks = build_callbacks(stored_callbacks(folder), new_folder)
    with closing(CallbackList(on_terminal(), *callbacks)) as callback:
        return new_folder, trainer.run(config, new_folder, callback, overrides=overrides)


def _changed(recorded: dict[str, Any], given: dict[str, str]) -> "RunConfig":
    from omegaconf import OmegaConf

    tree = OmegaConf.create(recorded)
    missing = object()
    unknown = [key for key in given if OmegaConf.select(tree, key, default=missing) is missing]
    if unknown:
        raise ConfigError(
            [f"{key} is not a setting of the run; only settings can be changed.{new_place(key)}" for key in unknown]
        )
    settings = OmegaConf.merge(tree, OmegaConf.from_dotlist([f"{key}={value}" for key, value in given.items()]))
    return from_record(OmegaConf.to_container(settings))  # type: ignore[arg-type]


def _run_folder(config: "RunConfig") -> Path:
    """Return a new run folder, named as by hydra.run.dir in conf/config.yaml."""
    names = (config.model.name, config.optim.name, f"seed{config.seed}", secrets.token_hex(3))
    return Path(f"outputs/runs/{datetime.now():%Y-%m-%d/%H-%M-%S}_{'_'.join(names)}")
