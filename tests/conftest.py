"""Shared fixtures: configurations, recorded callbacks and commands of the program."""

import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from library_caches import cache_compositions, cache_migration_scripts
from made_runs import make_run, score, settings, written  # noqa: F401 – fixtures

from mnist_compact.cli import train
from mnist_compact.config.compose_cache import ComposeCache
from mnist_compact.config.conversion import to_run_config
from mnist_compact.config.registration import register
from mnist_compact.config.schema import GROUPS, RunConfig, configuration_folder

# Tests run in parallel: a process that uses all cores would wait for the others in every step.
os.environ.setdefault("OMP_NUM_THREADS", "1")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # pytest in the background of a shell without job control
    signal.signal(signal.SIGINT, signal.default_int_handler)
gc.set_threshold(50_000)  # Hydra makes many small objects, and each look at all of torch's takes a while

SMALL = ("data=synthetic", "data.train_images=96", "data.evaluation_images=40")
TINY = (
    "train.batch_size=32",
    "machine.threads=1",
    "train.epochs=2",
)

cache_compositions()
cache_migration_scripts()

OPTIONS = {*GROUPS, "experiment", "sweeps", "callbacks"}  # whatever else stands before a `=` is a key

Configure = Callable[..., RunConfig]


@pytest.fixture(scope="session")
def configure() -> Iterator[Configure]:
    """Compose conf/ with overrides on top of a run of 2 epochs of 3 steps on synthetic images."""
    register()
    with initialize_config_dir(str(configuration_folder())):
        compose_cache = ComposeCache(
            lambda options: compose("config", overrides=[*TINY, *options]), OPTIONS.__contains__
        )

        def configured(*overrides: str) -> RunConfig:
            data = () if any(override.startswith("data=") for override in overrides) else SMALL
            return to_run_config(compose_cache([*data, *overrides]))

        yield configured


class RecordingCallback:
    """Record the events of a run; `at_step` may act within an epoch."""

    def __init__(self, at_step: Callable[[Any], None] = lambda view: None) -> None:
        self.at_step = at_step
        self.rows: list[dict[str, Any]] = []
        self.bests: list[bool] = []
        self.begun: list[tuple[Any, ...]] = []

    def on_message(self, message: str) -> None: ...

    def on_run_start(self, *arguments: Any) -> None:
        self.begun.append(arguments)

    def on_step_end(self, view: Any) -> None:
        self.at_step(view)

    def on_epoch_end(self, row: dict[str, Any], *, new_best: bool) -> None:
        self.rows.append(row)
        self.bests.append(new_best)

    def on_run_end(self, record: Any, folder: Path) -> None: ...

    def close(self) -> None: ...


@pytest.fixture(scope="session")
def recording_callback() -> type[RecordingCallback]:
    return RecordingCallback


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs draw no plots at their end, which takes longer than to train a small network."""
    monkeypatch.setattr("mnist_compact.reports.plots.draw_run", lambda folder: [])


@pytest.fixture
def type_in(
    no_plots: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[Any, str, str]]:
    """Run a command of the program in an empty folder; return its exit status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def typed(*arguments: str) -> tuple[Any, str, str]:
        monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
        monkeypatch.setattr(sys, "argv", ["mnist_compact", *arguments])
        before, config = GlobalHydra.instance().hydra, HydraConfig.instance().cfg
        GlobalHydra.instance().clear()
        status: Any = 0
        try:
            train.main()
        except SystemExit as end:
            status = end.code
        finally:
            GlobalHydra.instance().hydra, HydraConfig.instance().cfg = before, config
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return typed
