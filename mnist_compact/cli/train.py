"""The command line: `python -m mnist_compact key=value …`."""

import logging
import os
import secrets
import shlex
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import mnist_compact
from mnist_compact.cli.help import help_text
from mnist_compact.cli.ranking import rank_best
from mnist_compact.common.errors import (
    EXIT_DIVERGED,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_REFUSED,
    PREFIX,
    ConfigError,
    ExecutionError,
)
from mnist_compact.common.run_files import CONFIG, RECORD
from mnist_compact.common.signals import interrupted_by_signals
from mnist_compact.common.streams import output_error, prepare_streams
from mnist_compact.config.conversion import callbacks_of, check_names, to_run_config
from mnist_compact.config.error_messages import check_options, check_question, explain
from mnist_compact.config.schema import configuration_folder

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from mnist_compact.cli.search_display import View
    from mnist_compact.config.schema import RunConfig
    from mnist_compact.records.record import RunRecord


FOLDER_COMMANDS = ("resume", "rerun")  # commands that take an existing folder
PRINTING = {"--help", "-h", "--hydra-help", "--version", "--cfg", "-c", "--info", "-i"}  # options that train nothing


def main() -> None:
    """Run the command line: the entry point of `python -m mnist_compact` and of the console script."""
    prints_only = not PRINTING.isdisjoint(word.partition("=")[0] for word in sys.argv[1:])
    with plain_errors(prints_only=prints_only), interrupted_by_signals():
        _check_working_folder()
        if "--version" in sys.argv[1:]:
            print(f"mnist_compact {mnist_compact.__version__}")
        elif not {"--help", "-h"}.isdisjoint(sys.argv[1:]):
            print(help_text())
        elif commands := [
            name for name in FOLDER_COMMANDS if any(word.startswith(f"{name}=") for word in sys.argv[1:])
        ]:
            _run_folder_command(commands[0], sys.argv[1:])
        else:
            _check_saved(sys.argv[1:])
            check_options(sys.argv[1:])
            _launch(sys.argv[1:])


def _check_working_folder() -> None:
    try:
        os.getcwd()
    except FileNotFoundError as error:
        raise ConfigError(["the working folder no longer exists"]) from error


def _check_saved(arguments: list[str]) -> None:
    """Raise ConfigError for a run's folder or saved configuration: Hydra would ignore it and use conf/ instead."""
    for word in arguments:
        path = word.partition("=")[2] if word.startswith("--config-") and "=" in word else word
        folder = os.path.dirname(path) if os.path.basename(path) == CONFIG else path
        if os.path.isfile(os.path.join(folder, RECORD)):
            line = shlex.join(["python", "-m", "mnist_compact", f"rerun={folder or '.'}"])
            raise ConfigError([f"{path} belongs to a run; to run its configuration again: {line}"])


class _RunError(BaseException):
    """Carries the error of a single run through Hydra, which would otherwise print a line of its own."""


@contextmanager
def plain_errors(*, prints_only: bool = False) -> Iterator[None]:
    """Print user errors in this context as one message. HYDRA_FULL_ERROR=1 shows the traceback instead.

    Args:
        prints_only: Whether the body does nothing but print, so that it fails if stdout cannot be written to. The
            result of other commands is in files, and they only report such an error.
    """
    show_traceback = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # otherwise Hydra prints the error in its own form and exits
    prepare_streams()
    try:
        try:
            yield
        finally:
            if fault := output_error():
                print(f"{PREFIX}{fault}", file=sys.stderr)
                if prints_only:
                    sys.exit(EXIT_FAILED)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:  # the reader, such as `head`, has closed the pipe; nothing may be flushed at exit
        sys.stdout = None
    except (Exception, _RunError) as caught:
        error = caught.args[0] if isinstance(caught, _RunError) else caught
        message = explain(error)
        if show_traceback or message is None:
            raise error from error.__cause__
        print(f"{PREFIX}{message}", file=sys.stderr)
        sys.exit(error.status if isinstance(error, ExecutionError) else EXIT_REFUSED)


def _launch(arguments: list[str]) -> None:
    import hydra
    from omegaconf import OmegaConf

    from mnist_compact.config import registration
    from mnist_compact.hydra_ext import grid_sweeper, launcher, search_sweeper

    registration.register()
    search_sweeper.register(_search_view, rank_best)
    launcher.register()
    grid_sweeper.register()
    # One token for all runs of a grid, which share a folder; Hydra resolves it once per run.
    token = secrets.token_hex(3)
    OmegaConf.register_resolver("token", lambda: token, replace=True)
    launch = hydra.main(
        config_path=str(configuration_folder()),
        config_name="config",
        execution_whitelist=["mnist_compact.*", "hydra.*", "hydra_plugins.*"],
    )(_task)
    original_argv = sys.argv
    sys.argv = [original_argv[0], *grid_sweeper.for_each_member(arguments)]
    try:
        launch()
    finally:
        sys.argv = original_argv


def _search_view() -> "type[View]":
    from mnist_compact.cli.search_display import View

    return View


def _task(cfg: "DictConfig") -> float | None:
    """Return the function that Hydra calls for each job."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    alone = HydraConfig.get().mode is not RunMode.MULTIRUN
    try:
        return _job(cfg, alone=alone)
    except Exception as error:
        if alone:
            raise _RunError(error) from error
        raise


def _job(cfg: "DictConfig", *, alone: bool) -> float | None:
    """Train one run in its folder, and return the objective for sweepers.

    Args:
        cfg: The configuration.
        alone: Whether it is a single run, or a job of a grid in a process of its own. A job of another launcher of
            Hydra's writes its output to log.txt, and prints one line when it ends.
    """
    from hydra.core.hydra_config import HydraConfig

    from mnist_compact.hydra_ext.grid_member import logged, with_threads
    from mnist_compact.hydra_ext.output_folders import as_shown, remove_if_empty
    from mnist_compact.records.record import objective

    job = HydraConfig.get()
    folder = as_shown(job.runtime.output_dir)
    goes_on = not alone and job.sweeper.get("go_on", False) and (folder / RECORD).exists()
    try:
        run, callbacks = _checked(cfg, alone=alone), callbacks_of(cfg)
        from mnist_compact.callbacks.callback import CallbackList
        from mnist_compact.callbacks.config import build_callbacks
        from mnist_compact.cli.run_display import on_terminal
        from mnist_compact.runs import trainer
        from mnist_compact.runs.jobs import ended_before, result_line

        if goes_on and (earlier := ended_before(folder)):
            print(f"{folder.name}   {earlier.message}", flush=True)
            return earlier.value
        run = run if alone else with_threads(run, job.launcher)
        trainer.check(run)
        with (
            nullcontext() if alone else logged(folder),
            closing(CallbackList(on_terminal(), *build_callbacks(callbacks, folder))) as callback,
        ):
            if goes_on:
                record = trainer.resume(folder, callback)
            else:
                record = trainer.run(run, folder, callback, overrides=list(job.overrides.task))
            _draw(folder, record)
    except BaseException:
        remove_if_empty(folder)  # Hydra created it before the configuration was checked
        raise
    if not alone:
        print(f"{folder.name}   {result_line(record)}", flush=True)
    _exit_unless_done(record, alone=alone)
    return objective(record)


def _checked(cfg: "DictConfig", *, alone: bool) -> "RunConfig":
    """Return the configuration of the run.

    Raises:
        ConfigError: The configuration, or its combination with the options of the command line, is wrong.
    """
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig

    choices = HydraConfig.get().runtime.choices
    check_question(choices, GlobalHydra.instance().config_loader())
    if choices.get("sweeps") and alone:
        raise ConfigError([f"sweeps={choices['sweeps']} is a search question: add -m"])
    run = to_run_config(cfg)
    check_names(run, choices)
    return run


def _draw(folder: Path, record: "RunRecord") -> None:
    """Draw the plots of a run that has ended. Plotting errors are printed and never abort a run."""
    if not record.epochs_done:
        return
    os.environ.pop("MPLBACKEND", None)  # may come from a notebook that started this process; it may not exist here
    try:
        from mnist_compact.reports.plots import draw_run

        logging.getLogger("matplotlib").setLevel(logging.WARNING)  # at its first use it prints messages about fonts
        draw_run(folder)
    except Exception as error:
        print(f"{PREFIX}the plots in {folder} could not be drawn: {error}", file=sys.stderr)


def _exit_unless_done(record: "RunRecord", *, alone: bool) -> None:
    from mnist_compact.records.record import Status

    if record.status is Status.INTERRUPTED:
        sys.exit(EXIT_INTERRUPTED)
    if record.status is Status.DIVERGED and alone:
        sys.exit(EXIT_DIVERGED)


def _run_folder_command(command: str, arguments: list[str]) -> None:
    """Run `resume=…` or `rerun=…`. They do not use Hydra, because the folder already contains the configuration."""
    from mnist_compact.cli import resume

    given = {key: value for key, _, value in (argument.partition("=") for argument in arguments)}
    folder = Path(given.pop(command))
    if command == "resume" and resume.is_study(folder, given):
        from mnist_compact.cli.search_display import View
        from mnist_compact.search.resuming import resume_study

        rank_best(resume_study(folder, given, View))
        return
    if command == "resume" and resume.is_grid(folder):
        _launch(resume.grid_line(folder, given))
        return
    record: RunRecord | None
    if command == "resume":
        record = resume.resume(folder, given)
    else:
        folder, record = resume.rerun(folder, given)
    if record is None:
        return
    _draw(folder, record)
    _exit_unless_done(record, alone=True)
