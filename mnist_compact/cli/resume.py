"""What lies on disk already, taken up: `resume=<folder>` of a run, a grid or a study, and `rerun=<run folder>`."""

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
GRID = "multirun.yaml"  # Hydra leaves it in the folder of a grid


def resume(folder: Path, given: dict[str, str]) -> RunRecord | None:
    """Go on with the run in `folder`: up to `train.epochs`, on what `machine.*` names, if they are given.

    Returns its record, or None where nothing was left to do, which is announced.
    Raises ConfigError for any other change.
    """
    epochs = given.get("train.epochs")
    others = sorted(key for key in given if key != "train.epochs" and not key.startswith("machine."))
    if others:
        raise ConfigError(
            [f"resume takes no other change than train.epochs upwards and machine.*, got {', '.join(others)}"]
        )
    if epochs is not None and not epochs.isdigit():
        raise ConfigError([f"train.epochs must be a whole number, got {epochs!r}"])
    from mnist_compact.callbacks.base import CallbackList
    from mnist_compact.callbacks.config import build_callbacks, stored_callbacks
    from mnist_compact.cli.run_display import on_terminal
    from mnist_compact.runs import trainer

    elsewhere = {key: value for key, value in given.items() if key != "train.epochs"}
    before = RunRecord.read(folder)
    machine = _changed(before.config, elsewhere).machine if elsewhere else None
    callbacks = build_callbacks(stored_callbacks(folder), folder)
    with closing(CallbackList(on_terminal(), *callbacks)) as callback:
        record = trainer.resume(folder, callback, epochs=None if epochs is None else int(epochs), machine=machine)
    return None if record == before else record


def is_study(folder: Path, given: dict[str, str]) -> bool:
    """Whether the folder is that of a search: its database lies in it, or `given` names another storage."""
    return (folder / DATABASE).is_file() or STORAGE in given


def is_grid(folder: Path) -> bool:
    return (folder / GRID).is_file() and not (folder / RECORD).exists()


def grid_line(folder: Path, given: dict[str, str]) -> list[str]:
    """The arguments that finish the grid in `folder`: what was interrupted goes on, what is missing is run.

    Raises ConfigError for a search, which its own line continues, and for changes.
    """
    from hydra.core.override_parser.types import Quote, QuotedString
    from omegaconf import OmegaConf

    if given:
        raise ConfigError([f"resume of a grid takes no changes, got {', '.join(given)}"])
    saved: Any = OmegaConf.to_container(OmegaConf.load(folder / GRID), resolve=False)  # ${…} is each member's own
    hydra = saved["hydra"]
    sweeper = hydra["runtime"]["choices"]["hydra/sweeper"]
    if sweeper != "basic":
        raise ConfigError([f"{folder} is not a grid: hydra/sweeper={sweeper} goes on when its line is typed again"])
    replaced = ("hydra.mode=", "hydra.sweep.dir=", "hydra.launcher.go_on=")
    sources = [source["path"] for source in hydra["runtime"]["config_sources"] if source["provider"] == "command-line"]
    return [
        "-m",
        *(f"--config-dir={source}" for source in sources),
        *(override for override in hydra["overrides"]["hydra"] if not override.startswith(replaced)),
        *map(moved, hydra["overrides"]["task"]),
        f"hydra.sweep.dir={QuotedString(str(folder), Quote.single).with_quotes()}",
        "hydra.launcher.go_on=true",
    ]


def rerun(folder: Path, given: dict[str, str]) -> tuple[Path, RunRecord]:
    """Run the configuration of the run in `folder` once more, with the settings in `given` changed, in a folder anew.

    The configuration is the record's: what conf/ says by now does not count. The callbacks are those of the run.
    Raises ConfigError for keys it lacks.
    """
    config = _changed(RunRecord.read(folder).config, given)
    from mnist_compact.callbacks.base import CallbackList
    from mnist_compact.callbacks.config import build_callbacks, stored_callbacks
    from mnist_compact.cli.run_display import on_terminal
    from mnist_compact.runs import trainer

    trainer.check(config)
    overrides = [f"rerun={folder}", *(f"{key}={value}" for key, value in given.items())]
    new = _run_folder(config)
    callbacks = build_callbacks(stored_callbacks(folder), new)
    with closing(CallbackList(on_terminal(), *callbacks)) as callback:
        return new, trainer.run(config, new, callback, overrides=overrides)


def _changed(recorded: dict[str, Any], given: dict[str, str]) -> "RunConfig":
    from omegaconf import OmegaConf

    tree = OmegaConf.create(recorded)
    missing = object()
    unknown = [key for key in given if OmegaConf.select(tree, key, default=missing) is missing]
    if unknown:
        raise ConfigError(
            [
                f"{key} is not a setting of the run, and settings alone can be changed.{new_place(key)}"
                for key in unknown
            ]
        )
    settings = OmegaConf.merge(tree, OmegaConf.from_dotlist([f"{key}={value}" for key, value in given.items()]))
    return from_record(OmegaConf.to_container(settings))  # type: ignore[arg-type]


def _run_folder(config: "RunConfig") -> Path:
    """As hydra.run.dir of conf/config.yaml has it."""
    names = (config.model.name, config.optim.name, f"seed{config.seed}", secrets.token_hex(3))
    return Path(f"outputs/runs/{datetime.now():%Y-%m-%d/%H-%M-%S}_{'_'.join(names)}")
