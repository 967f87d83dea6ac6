"""Hydra's grid sweeper with a check of all jobs before any folder is created or any job starts."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper, BasicSweeperConf
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.core.plugins import Plugins
from hydra.errors import OverrideParseException
from omegaconf import DictConfig, open_dict, read_write

from mnist_compact.common.errors import ConfigError
from mnist_compact.config.conversion import callbacks_of, check_names, to_run_config
from mnist_compact.config.error_messages import check_question, explain
from mnist_compact.config.schema import GROUPS, RunConfig
from mnist_compact.hydra_ext.grid_snapshot import check_unchanged, write_snapshot
from mnist_compact.hydra_ext.launcher import ProcessLauncher, folder_of, shared

MOST_JOBS = 5_000  # all are composed and checked before the first is trained
MANY_JOBS = 200  # from this number on, the check takes so long that it is announced


@dataclass
class GridSweeperConfig(BasicSweeperConf):
    """Hydra's configuration of the grid sweeper."""

    _target_: str = "mnist_compact.hydra_ext.grid_sweeper.GridSweeper"
    go_on: bool = False  # continue the grid in hydra.sweep.dir; resume=<grid folder> sets it


class GridSweeper(BasicSweeper):
    """Hydra's grid sweeper. If any job cannot run, it names all of these jobs and starts none.

    Args:
        max_batch_size: See Hydra's sweeper.
        params: See Hydra's sweeper.
        go_on: Whether to continue a grid: jobs that have ended are not repeated, and interrupted jobs are resumed. The
            launcher `processes` does both itself; with another launcher each job does it.
    """

    def __init__(
        self, max_batch_size: int | None, params: dict[str, str] | None = None, *, go_on: bool = False
    ) -> None:
        super().__init__(max_batch_size, params)
        self.go_on = go_on

    def sweep(self, arguments: list[str]) -> Any:
        """Run the grid.

        Raises:
            ConfigError: A job cannot run. The grid's folder was not created.
        """
        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        self._check_no_question(overrides)
        _check_size(overrides)
        batches = self.split_arguments(overrides, self.max_batch_size)
        self._check([job for batch in batches for job in batch])
        if not isinstance(self.launcher, ProcessLauncher):
            self._fix_folder()
        return super().sweep(arguments)

    def _fix_folder(self) -> None:
        """Make the path of the grid's folder absolute: a job on a cluster may have another working folder."""
        assert self.config is not None
        folder = str(Path(self.config.hydra.sweep.dir).absolute())
        quoted = QuotedString(folder, Quote.single).with_quotes()
        with read_write(self.config.hydra), open_dict(self.config.hydra):
            self.config.hydra.sweep.dir = folder
            self.config.hydra.overrides.hydra.append(f"hydra.sweep.dir={quoted}")

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Do nothing: `sweep` checks all batches."""

    def _check_no_question(self, overrides: Sequence[Override]) -> None:
        """Raise ConfigError for several search questions, and for one that does not choose the search sweeper."""
        assert self.hydra_context is not None
        assert self.config is not None
        for override in overrides:
            if override.key_or_group == "sweeps" and override.is_sweep_override():
                raise ConfigError([f"sweeps must name one search question, got {override.get_value_string()}"])
        choices = self.config.hydra.runtime.choices
        check_question(choices, self.hydra_context.config_loader)
        if choices.get("sweeps") is not None:
            question = f"sweeps={choices.sweeps} is a search question"
            raise ConfigError([f"{question}: its file must have 'override /hydra/sweeper: compact' among its defaults"])

    def _check(self, jobs: Sequence[Sequence[str]]) -> None:
        """Check all jobs, and store their configurations or compare them with those that were stored."""
        assert self.hydra_context is not None
        assert self.config is not None
        alike, faults, members = shared(jobs), [], []
        for number, overrides in enumerate(jobs):
            try:
                config = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
                members.append(_check_job(config, number))
            except Exception as error:
                message = explain(error)
                if message is None:
                    raise
                label = " ".join(override for override in overrides if override not in alike)
                faults.append(": ".join(filter(None, [label, "; ".join(message.splitlines())])))
        if faults:
            preface = [f"{len(faults)} of {len(jobs)} jobs cannot run, so none was started:"] if len(jobs) > 1 else []
            raise ConfigError([*preface, *faults])
        folder = Path(self.config.hydra.sweep.dir)
        if self.go_on:
            check_unchanged(folder, members)
        else:
            write_snapshot(folder, [run for run, _ in members])


def _check_size(overrides: Sequence[Override]) -> None:
    """Raise ConfigError for a grid of more than MOST_JOBS jobs, before they are created."""
    sweeps = [override for override in overrides if override.is_discrete_sweep()]
    counts = [sum(1 for _ in islice(sweep.sweep_iterator(), MOST_JOBS + 1)) for sweep in sweeps]
    jobs = math.prod(counts)
    if jobs > MOST_JOBS:
        keys = ", ".join(sweep.key_or_group for sweep in sweeps)
        raise ConfigError([f"a grid must have at most {MOST_JOBS:,} jobs, got more, of {keys}; use a search instead"])
    if jobs >= MANY_JOBS:
        print(f"checking the configurations of {jobs:,} jobs", file=sys.stderr, flush=True)


def _check_job(config: DictConfig, number: int) -> tuple[RunConfig, Path]:
    """Check a job as it checks itself before it trains; return its configuration and its folder."""
    from mnist_compact.runs.trainer import check

    choices = config.hydra.runtime.choices
    folder = folder_of(config, number)
    with open_dict(config):
        del config["hydra"]
    run = to_run_config(config)
    check_names(run, choices)
    check(run)
    callbacks_of(config)
    return run, folder


def for_each_member(arguments: list[str]) -> list[str]:
    """Rewrite a grid's command line: with several options of `optim`, `optim.lr=0.8` becomes `optim.lr=choice(0.8)`.

    Hydra applies values that all jobs share to a configuration without the grid's options, which may lack the key.

    Args:
        arguments: Command-line arguments.

    Returns:
        The arguments for Hydra; unchanged for other commands than a grid.
    """
    if not {"-m", "--multirun"} & {*arguments} or any(
        argument.lstrip("+").startswith("sweeps=")
        or (argument.startswith("hydra/sweeper=") and argument != "hydra/sweeper=basic")
        for argument in arguments
    ):
        return arguments
    typed = {argument: argument for argument in arguments if "=" in argument and not argument.startswith(("-", "~"))}
    try:
        parsed = OverridesParser.create().parse_overrides([*typed])
    except OverrideParseException:  # Hydra reports it next
        return arguments
    several = {override.key_or_group for override in parsed if override.is_sweep_override()}
    groups = {*GROUPS} if "experiment" in several else several & {*GROUPS}
    for argument, override in zip(typed, parsed, strict=True):
        group, dot, _ = override.key_or_group.partition(".")
        key, _, value = argument.partition("=")
        if dot and group in groups and value and not override.is_sweep_override():
            typed[argument] = f"{key}=choice({value})"
    return [typed.get(argument, argument) for argument in arguments]


def register() -> None:
    """Register this class with Hydra in place of its sweeper `basic`."""
    Plugins.instance().register(GridSweeper)
    ConfigStore.instance().store(
        group="hydra/sweeper", name="basic", node=GridSweeperConfig, provider="mnist_compact", replace=True
    )
