"""The command line: `python -m mnist_compact key=value …`."""

import logging
import os
import secrets
import shlex
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import mnist_compact
from mnist_compact.common.errors import (
    EXIT_DIVERGED,
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
from mnist_compact.config.schema import GROUPS, configuration_folder

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from mnist_compact.cli.search_display import View
    from mnist_compact.records.record import RunRecord


ABOUT_GROUPS = {
    "data": "which images are trained on and scored on",
    "model": "the network",
    "augment": "random changes of the training images",
    "optim": "the optimizer",
    "scheduler": "the learning-rate schedule",
    "train": "epochs, batch size, label smoothing, weight averaging, precision",
    "budget": "limits on parameters and epochs",
    "machine": "device, threads, folder of the images; does not change the configuration that is compared",
    "callbacks": "observers of a run; several: [tensorboard,mlflow]; own: +callbacks.mine.path=<module>.<class>",
    "experiment": "named configurations: changes to the other groups",
    "sweeps": "search questions, for use with -m",
}
TAKE_UP = ("resume", "rerun")  # what begins in a folder that is there


def main() -> None:
    """Entry of `python -m mnist_compact` and of the console script."""
    with plain_errors(), interrupted_by_signals():
        _check_working_folder()
        if "--version" in sys.argv[1:]:
            print(f"mnist_compact {mnist_compact.__version__}")
        elif verbs := [verb for verb in TAKE_UP if any(word.startswith(f"{verb}=") for word in sys.argv[1:])]:
            _take_up(verbs[0], sys.argv[1:])
        else:
            _check_saved(sys.argv[1:])
            check_options(sys.argv[1:])
            _launch(sys.argv[1:])


def _check_working_folder() -> None:
    try:
        os.getcwd()
    except FileNotFoundError as error:
        raise ConfigError(["the working folder does not exist any more"]) from error


def _check_saved(arguments: list[str]) -> None:
    """Raises ConfigError for a run's folder or its saved configuration, which Hydra would pass over for conf/'s own."""
    for word in arguments:
        path = word.partition("=")[2] if word.startswith("--config-") and "=" in word else word
        folder = os.path.dirname(path) if os.path.basename(path) == CONFIG else path
        if os.path.isfile(os.path.join(folder, RECORD)):
            line = shlex.join(["python", "-m", "mnist_compact", f"rerun={folder or '.'}"])
            raise ConfigError([f"{path} is of a run; to run its configuration again: {line}"])


class _PastHydra(BaseException):
    """Carries the error of a single run past Hydra, which would print a line of its own before ours."""


@contextmanager
def plain_errors() -> Iterator[None]:
    """One message instead of a traceback for errors that people make; HYDRA_FULL_ERROR=1 shows all of it."""
    wants_all = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # else Hydra prints its own version and exits before we see the error
    prepare_streams()
    try:
        try:
            yield
        finally:
            if fault := output_error():
                print(f"{PREFIX}{fault}", file=sys.stderr)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:  # the reader, `head` say, has seen enough; nothing must be flushed at exit
        sys.stdout = None
    except (Exception, _PastHydra) as caught:
        error = caught.args[0] if isinstance(caught, _PastHydra) else caught
        message = explain(error)
        if wants_all or message is None:
            raise error from error.__cause__
        print(f"{PREFIX}{message}", file=sys.stderr)
        sys.exit(error.status if isinstance(error, ExecutionError) else EXIT_REFUSED)


def _launch(arguments: list[str]) -> None:
    import hydra
    from omegaconf import OmegaConf

    from mnist_compact.config import registration
    from mnist_compact.hydra_ext import grid_sweeper, launcher, search_sweeper

    registration.register()
    search_sweeper.register(_search_view)
    launcher.register()
    grid_sweeper.register()
    token = secrets.token_hex(3)  # one for all: Hydra asks anew for each run of a grid, which share a folder
    OmegaConf.register_resolver("token", lambda: token, replace=True)
    OmegaConf.register_resolver("describe_groups", describe_groups, replace=True)
    launch = hydra.main(
        config_path=str(configuration_folder()),
        config_name="config",
        execution_whitelist=["mnist_compact.*", "hydra.*", "hydra_plugins.*"],
    )(_task)
    typed = sys.argv
    sys.argv = [typed[0], *grid_sweeper.for_each_member(arguments)]
    try:
        launch()
    finally:
        sys.argv = typed


def _search_view() -> "type[View]":
    from mnist_compact.cli.search_display import View

    return View


def describe_groups() -> str:
    """A line a group for --help: its options and what it decides."""
    from mnist_compact.config.sweeps_source import sweeps_folder

    conf = configuration_folder()
    lines = []
    for group, about in ABOUT_GROUPS.items():
        folder = sweeps_folder() if group == "sweeps" else conf / group
        options = ", ".join(sorted(path.stem for path in folder.glob("*.yaml")))
        lines.append(f"{group:10} {options}\n{'':10}   {about}")
    return "\n".join(lines)


def _task(cfg: "DictConfig") -> float | None:
    """What Hydra calls for each of its jobs."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    alone = HydraConfig.get().mode is not RunMode.MULTIRUN
    try:
        return _job(cfg, alone=alone)
    except Exception as error:
        if alone:
            raise _PastHydra(error) from error
        raise


def _job(cfg: "DictConfig", *, alone: bool) -> float | None:
    """A run in its own folder. Returns the objective, for sweepers."""
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig

    from mnist_compact.hydra_ext.output_folders import as_shown, remove_if_empty

    job = HydraConfig.get()
    folder = as_shown(job.runtime.output_dir)
    try:
        check_question(job.runtime.choices, GlobalHydra.instance().config_loader())
        if job.runtime.choices.get("sweeps") and alone:
            raise ConfigError([f"sweeps={job.runtime.choices['sweeps']} is a question for a search: add -m"])
        run = to_run_config(cfg)
        check_names(run, job.runtime.choices)
        callbacks = callbacks_of(cfg)
        from mnist_compact.callbacks.base import CallbackList
        from mnist_compact.callbacks.config import build_callbacks
        from mnist_compact.cli.run_display import on_terminal
        from mnist_compact.runs.trainer import check
        from mnist_compact.runs.trainer import run as train

        check(run)
        with closing(CallbackList(on_terminal(), *build_callbacks(callbacks, folder))) as callback:
            record = train(run, folder, callback, overrides=list(job.overrides.task))
    except BaseException:
        remove_if_empty(folder)  # Hydra made it before anyone could look at the configuration
        raise
    _draw(folder, record)
    _exit_unless_done(record, alone=alone)
    from mnist_compact.records.record import objective

    return objective(record)


def _draw(folder: Path, record: "RunRecord") -> None:
    """The pictures. They adorn a run that has ended: what goes wrong with them is said, and no more."""
    if not record.epochs_done:
        return
    os.environ.pop("MPLBACKEND", None)  # of a notebook that started this process; matplotlib may not know it here
    try:
        from mnist_compact.reports.plots import draw_run

        logging.getLogger("matplotlib").setLevel(logging.WARNING)  # its first use would tell of fonts
        draw_run(folder)
    except Exception as error:
        print(f"{PREFIX}the pictures in {folder} could not be drawn: {error}", file=sys.stderr)


def _exit_unless_done(record: "RunRecord", *, alone: bool) -> None:
    from mnist_compact.records.record import Status

    if record.status is Status.INTERRUPTED:
        sys.exit(EXIT_INTERRUPTED)
    if record.status is Status.DIVERGED and alone:
        sys.exit(EXIT_DIVERGED)


def _take_up(verb: str, arguments: list[str]) -> None:
    """`resume=…` and `rerun=…`: not Hydra's, for the configuration lies in the folder already."""
    from mnist_compact.cli import resume

    given = {key: value for key, _, value in (argument.partition("=") for argument in arguments)}
    folder = Path(given.pop(verb))
    if verb == "resume" and resume.is_study(folder, given):
        from mnist_compact.cli.search_display import View
        from mnist_compact.search.resuming import resume_study

        resume_study(folder, given, View)
        return
    if verb == "resume" and resume.is_grid(folder):
        _launch(resume.grid_line(folder, given))
        return
    record: RunRecord | None
    if verb == "resume":
        record = resume.resume(folder, given)
    else:
        folder, record = resume.rerun(folder, given)
    if record is None:
        return
    _draw(folder, record)
    _exit_unless_done(record, alone=True)


assert set(ABOUT_GROUPS) == {*GROUPS, "callbacks", "experiment", "sweeps"}, "every group is explained in --help"
