"""Hydra's sweeper of grids, checked as a whole before anything is made or trained."""

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
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.errors import OverrideParseException
from omegaconf import DictConfig, open_dict

from mnist_compact.common.errors import ConfigError
from mnist_compact.common.nested import changes
from mnist_compact.config.conversion import callbacks_of, check_names, from_record, to_run_config
from mnist_compact.config.error_messages import check_question, explain
from mnist_compact.config.schema import GROUPS, RunConfig, to_record
from mnist_compact.hydra_ext.launcher import folder_of, shared
from mnist_compact.records.record import RecordError, RunRecord
from mnist_compact.records.settings import MACHINE

MOST_MEMBERS = 5_000  # each is composed and checked before the first is trained
MANY_MEMBERS = 200  # from here on the check takes so long that it is announced


@dataclass
class GridSweeperConfig(BasicSweeperConf):
    _target_: str = "mnist_compact.hydra_ext.grid_sweeper.GridSweeper"


class GridSweeper(BasicSweeper):
    """Hydra's own, but every member that cannot run is named before the first begins, and then none does."""

    def sweep(self, arguments: list[str]) -> Any:
        """Raises ConfigError before the grid's folder is made."""
        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        self._check_no_question(overrides)
        _check_size(overrides)
        batches = self.split_arguments(overrides, self.max_batch_size)
        self._check([job for batch in batches for job in batch])
        return super().sweep(arguments)

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Done for all batches by `sweep`."""

    def _check_no_question(self, overrides: Sequence[Override]) -> None:
        """Raises ConfigError for a grid of questions, and for a question that does not choose the search's sweeper."""
        assert self.hydra_context is not None
        assert self.config is not None
        for override in overrides:
            if override.key_or_group == "sweeps" and override.is_sweep_override():
                raise ConfigError([f"sweeps must name one question at a time, got {override.get_value_string()}"])
        choices = self.config.hydra.runtime.choices
        check_question(choices, self.hydra_context.config_loader)
        if choices.get("sweeps") is not None:
            question = f"sweeps={choices.sweeps} is a question for a search"
            raise ConfigError([f"{question}: its file must have 'override /hydra/sweeper: compact' among its defaults"])

    def _check(self, jobs: Sequence[Sequence[str]]) -> None:
        assert self.hydra_context is not None
        assert self.config is not None
        alike, faults = shared(jobs), []
        for number, overrides in enumerate(jobs):
            try:
                _check_job(self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides)), number)
            except Exception as error:
                message = explain(error)
                if message is None:
                    raise
                told = " ".join(override for override in overrides if override not in alike)
                faults.append(": ".join(filter(None, [told, "; ".join(message.splitlines())])))
        if faults:
            preface = [f"{len(faults)} of {len(jobs)} jobs cannot run, so none does:"] if len(jobs) > 1 else []
            raise ConfigError([*preface, *faults])


def _check_size(overrides: Sequence[Override]) -> None:
    """Raises ConfigError for a grid of more than MOST_MEMBERS, before its members are made."""
    sweeps = [override for override in overrides if override.is_discrete_sweep()]
    counts = [sum(1 for _ in islice(sweep.sweep_iterator(), MOST_MEMBERS + 1)) for sweep in sweeps]
    members = math.prod(counts)
    if members > MOST_MEMBERS:
        keys = ", ".join(sweep.key_or_group for sweep in sweeps)
        raise ConfigError([f"a grid must have at most {MOST_MEMBERS:,} members, got more, of {keys}; a search samples"])
    if members >= MANY_MEMBERS:
        print(f"checking the configurations of {members:,} members", file=sys.stderr, flush=True)


def _check_job(config: DictConfig, number: int) -> None:
    """What a job does before it trains."""
    from mnist_compact.runs.trainer import check

    choices = config.hydra.runtime.choices
    begun = folder_of(config, number) if config.hydra.launcher.get("go_on") else None
    with open_dict(config):
        del config["hydra"]
    run = to_run_config(config)
    check_names(run, choices)
    check(run)
    if begun is not None:
        _check_unchanged(run, begun)
    callbacks_of(config)


def _check_unchanged(run: RunConfig, folder: Path) -> None:
    """Raises ConfigError where the member that was begun in `folder` had another configuration than `run`.

    Options' files may have been edited since: members with and without the changes would be one grid.
    """
    try:
        record = RunRecord.read(folder)
    except RecordError:  # it was not begun, or is refused when it is continued
        return
    then, now = to_record(from_record(record.config)), to_record(run)
    if record.lengthened is not None:
        then["train"]["epochs"] = record.lengthened.planned_before
    if found := changes(then | {MACHINE: None}, now | {MACHINE: None}):
        raise ConfigError(
            [
                f"{folder} was begun with another configuration ({'; '.join(found)}); undo these changes of the "
                "options' files to finish the grid, or start a new grid"
            ]
        )


def for_each_member(arguments: list[str]) -> list[str]:
    """A grid's command line: beside several options of `optim`, `optim.lr=0.8` becomes `optim.lr=choice(0.8)`.

    What all members share Hydra puts first into a configuration without the grid's options, which may lack the key.
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
    except OverrideParseException:  # Hydra meets it next, and says so
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
    """Tell Hydra the class, in place of its own sweeper `basic`."""
    Plugins.instance().register(GridSweeper)
    ConfigStore.instance().store(
        group="hydra/sweeper", name="basic", node=GridSweeperConfig, provider="mnist_compact", replace=True
    )
