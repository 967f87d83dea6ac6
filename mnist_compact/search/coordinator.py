"""The coordinator of a search: it creates or loads the study, keeps workers running, and updates the display."""

import os
import secrets
import socket
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice, repeat
from pathlib import Path
from typing import Any, Protocol

from omegaconf import DictConfig, OmegaConf
from optuna.study import Study
from optuna.trial import FrozenTrial

from mnist_compact.common.cpu import cores
from mnist_compact.common.errors import (
    EXIT_FAILED,
    EXIT_NO_COMPLETE_TRIAL,
    ConfigError,
    ExecutionError,
    check_installed,
)
from mnist_compact.common.signals import exit_on_signals
from mnist_compact.common.wording import counted
from mnist_compact.config.conversion import callbacks_of, machine_of
from mnist_compact.config.sweeper import WorkerEngine
from mnist_compact.records.record import RunRecord
from mnist_compact.search.builders import point_of, space_of
from mnist_compact.search.counts import quieten, tally
from mnist_compact.search.create import StudySpec, stored_snapshot
from mnist_compact.search.earlier_studies import collect
from mnist_compact.search.leases import TrialLeases, claims_lock, is_leased_by
from mnist_compact.search.preflight import check_keys, check_settings, preflight
from mnist_compact.search.slurm import TEMPLATE, SlurmWorkers
from mnist_compact.search.snapshot import (
    PRIOR,
    Composer,
    ConfigSnapshot,
    digits_of,
    folders_beside,
    held_out,
    take_snapshot,
)
from mnist_compact.search.status import store_criteria
from mnist_compact.search.stopping import StoppingCriteria, StopReason, stop_of
from mnist_compact.search.storage import StorageLost, raising_storage_lost, retry_while_locked
from mnist_compact.search.worker_pool import LocalWorkers, WorkerPool
from mnist_compact.search.worker_spec import WorkerSpec

POLL_S = 0.5
READ_WAIT_S = 1.0  # how long one read waits for a locked storage
MAX_DEATHS = 5  # the search stops if workers die more often than this without a trial ended in between
LAUNCHER = ("hydra/launcher", "hydra.launcher")
RERUN = "rerun the command to continue"


@dataclass(slots=True, frozen=True)
class RankingPlan:
    """The ranking of the best trials over several seeds that follows a search."""

    top: int  # number of trials
    by: str  # what they are sorted by
    jobs: int  # processes side by side; 0 = one per core
    sweeps: Path  # contains a folder for each study
    url: str | None  # of the study; None = SQLite in its folder


@dataclass(slots=True, frozen=True)
class SearchResult:
    """The result of a search, returned to Hydra."""

    study_name: str
    folder: Path
    reason: str
    ranking: RankingPlan | None = None


class View(Protocol):
    """The interface of a search's display."""

    def __init__(self, name: str, folder: Path, url: str, settings: StoppingCriteria, jobs: int) -> None: ...
    def begin(self, trials: Sequence[FrozenTrial]) -> None: ...
    def message(self, line: str) -> None: ...
    def update(self, trials: Sequence[FrozenTrial], queued: int) -> None: ...
    def close(self) -> None: ...
    def end(self, study: Study, reason: str, *, ranks: bool) -> None: ...


class Coordinator:
    def __init__(self, config: DictConfig, arguments: list[str], snapshot: ConfigSnapshot | None = None) -> None:
        """Prepare a search.

        Args:
            config: The composed configuration, including Hydra's node.
            arguments: The overrides on the command line.
            snapshot: The config snapshot of a study to continue; the search question is then read from it instead of
                `config` and `arguments`.
        """
        sweeper = config.hydra.sweeper
        self.config, self.sweeper = config, sweeper
        question = config.hydra.runtime.choices.get("sweeps")
        self.machine = machine_of(config)
        self.snapshot = snapshot or take_snapshot(sweeper, held_out(config, arguments), folders_beside(config))
        self.name = sweeper.study_name or question or f"search_{digits_of(self.snapshot)}"
        self.folder, self.private = Path(sweeper.folder) / self.name, not sweeper.storage
        self.url = sweeper.storage or f"sqlite:///{self.folder}/study.db"
        self.settings = StoppingCriteria(
            n_trials=sweeper.n_trials,
            target=sweeper.target,
            target_trials=sweeper.target_trials,
            max_failures=sweeper.max_failures,
            max_refusals=sweeper.max_refusals,
            maximize=list(sweeper.objectives) == ["accuracy"],
        )
        self.workers = self._worker_pool()

    def _worker_pool(self) -> WorkerPool:
        # Two machines may have the same host name and process id.
        name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        worker_spec = WorkerSpec(
            folder=str(self.folder),
            url=self.url,
            study_name=self.name,
            worker=name,
            private=self.private,
            machine=self.machine,
            parent=None,
            remote=False,
            parent_name=name,
            settings=self.settings,
        )
        if self.sweeper.workers is WorkerEngine.slurm:
            return SlurmWorkers(worker_spec, self.sweeper.n_jobs, Path(self.sweeper.slurm_template or TEMPLATE))
        if self.sweeper.workers is WorkerEngine.ray:
            check_installed("hydra.sweeper.workers=ray", "ray", package="ray", extra="ray")
            from mnist_compact.search.ray_workers import RayWorkers

            return RayWorkers(
                worker_spec,
                self.sweeper.n_jobs,
                address=self.sweeper.ray_address,
                cpus=self.sweeper.ray_cpus,
                gpus=self.sweeper.ray_gpus,
            )
        return LocalWorkers(worker_spec, self.sweeper.n_jobs or cores())

    def search(self, view_class: type[View]) -> SearchResult:
        """Run the search until a stopping criterion, the time limit, Ctrl-C or a termination signal ends it.

        The study is consistent in each case, and rerunning the command continues it.

        Args:
            view_class: The class that displays the search.

        Raises:
            ConfigError: The configuration cannot be searched.
            ExecutionError: The storage is lost, too many trials failed, too many workers died, or no trial is complete.
        """
        quieten()
        try:
            self.check()
            self._make_folder()
            with exit_on_signals():
                return self._search(view_class)
        except StorageLost as lost:
            raise ExecutionError(f"{lost}; {lost.remedy} {RERUN}", EXIT_FAILED) from lost

    def _make_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                [f"hydra.sweeper.folder must be writable, got {self.folder} ({error.strerror})"]
            ) from error

    def _search(self, view_class: type[View]) -> SearchResult:
        study_spec = StudySpec(self.name, self.folder, self.url, self.private, self.snapshot, self.points, self.exists)
        with claims_lock(self.folder, private=self.private), raising_storage_lost(self.url):
            study_spec.create_or_load()
        leases = retry_while_locked(self._leases, self.url, _print)
        retry_while_locked(lambda: self._store_criteria(leases), self.url, _print)
        with leases.alive:  # the workers' leases refer to this lock
            try:
                return self._run(leases, view_class)
            finally:
                self.workers.stop()

    def _run(self, leases: TrialLeases, view_class: type[View]) -> SearchResult:
        trials = self._first_reading(leases)
        self.workers.jobs = self._needed(trials)
        view = view_class(self.name, self.folder, self.url, self.settings, self.workers.jobs)
        view.begin(trials)
        for word in _of_a_launcher(self.config):
            view.message(f"{word} has no effect: a search starts its own workers, their number is hydra.sweeper.n_jobs")
        if self.left_out:
            points = counted(self.left_out, "point")
            view.message(f"{points} of hydra.sweeper.enqueue left out: duplicates, or excluded by the command line")
        for line in self.prior:
            view.message(line)
        if len(self.sweeper.objectives) > 1:
            view.message("no trial is pruned, because pruners support a single objective only")
        stop: StopReason | None = None
        reason = "stopped"
        try:
            stop = self._watch(leases, view)
            reason = stop.reason
        except (KeyboardInterrupt, SystemExit):
            reason = f"interrupted: {RERUN}"
            view.message("stopping: the workers release their trials")
            raise
        except StorageLost:
            reason = ""
            raise
        finally:
            try:
                view.close()
            finally:  # also if the terminal was closed and writing to it fails
                self.workers.stop()
            if reason:
                ranks = stop is not None and not stop.failed and self.sweeper.rank_top > 0
                retry_while_locked(lambda: self._conclude(leases, view, reason, ranks), self.url, view.message)
        assert stop is not None
        if stop.failed:
            raise ExecutionError(stop.reason, EXIT_FAILED)
        if not tally(retry_while_locked(leases.trials, self.url, view.message)).complete:
            raise ExecutionError(f"{stop.reason}, and no trial is complete", EXIT_NO_COMPLETE_TRIAL)
        return SearchResult(self.name, self.folder, stop.reason, self._ranking())

    def _ranking(self) -> RankingPlan | None:
        sweeper, url = self.sweeper, None if self.private else self.url
        plan = RankingPlan(sweeper.rank_top, sweeper.rank_by.value, sweeper.n_jobs, Path(sweeper.folder), url)
        return plan if plan.top else None

    def _first_reading(self, leases: TrialLeases) -> list[FrozenTrial]:
        """Read the trials. In a large study, this takes seconds, so that the first worker is started before."""
        if retry_while_locked(leases.are_many, self.url, _print):
            self.workers.start(1)
        trials = retry_while_locked(leases.trials, self.url, _print)
        if stop_of(trials, self.settings) is not None:
            self.workers.stop()
        return trials

    def _conclude(self, leases: TrialLeases, view: View, reason: str, ranks: bool) -> None:
        with leases.watch.guard():
            view.end(leases.study, reason, ranks=ranks)

    def _store_criteria(self, leases: TrialLeases) -> None:
        with leases.watch.guard():
            store_criteria(leases.study, self.settings)

    def _leases(self) -> TrialLeases:
        name = self.workers.coordinator
        return TrialLeases(self.folder, self.url, self.name, name, private=self.private, wait_s=READ_WAIT_S)

    def check(self) -> None:
        """Check the configuration of the search, and whether its study exists. Nothing is written.

        Raises:
            ConfigError: The configuration cannot be searched.
            StorageLost: The storage stays locked.
        """
        check_settings(self.config)
        # The devices auto and cpu always exist, and importing torch takes seconds.
        if self.sweeper.workers is WorkerEngine.local and self.machine.device not in ("auto", "cpu"):
            from mnist_compact.training.device import resolve_device

            resolve_device(self.machine.device)
        self.space = space_of(self.snapshot)
        with closing(Composer(self.snapshot, self.space.fixed)) as composer:
            composer.run_config([])
            callbacks_of(composer.composed([]))
            self.known = composer.known()
            check_keys(composer, self.snapshot, self.space)
            existing = retry_while_locked(lambda: stored_snapshot(self.name, self.url, READ_WAIT_S), self.url, _print)
            self.exists = existing is not None
            self.prior = list[str]()  # how the trials of the earlier studies are used
            if self.sweeper.prior and not self.exists:  # an existing study has them in its snapshot
                folder, url = Path(self.sweeper.folder), self.sweeper.storage
                self.snapshot[PRIOR], self.prior = collect(self.snapshot, self.space, composer, folder=folder, url=url)
        preflight(self.snapshot, self.space, self.known)
        points = self.space.points(self.known.get)
        # A finite space may have fewer points than `n_trials`.
        self.max_trials = len([*islice(points or repeat({}), self.settings.n_trials)])
        known = [] if existing is None else existing["settings"]["enqueue"]
        listed: Any = OmegaConf.to_container(self.sweeper.enqueue, resolve=True)
        entries = [entry for entry in listed if entry not in known]  # the run folder of a known entry may be missing
        self.points = self._points(entries)
        self.left_out = len(entries) - len(self.points)

    def _points(self, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Convert entries of `enqueue` to points, without duplicates and points that the command line excludes."""
        points: list[dict[str, Any]] = []
        for point in map(self._point, entries):
            if point is not None and point not in points:
                points.append(point)
        return points

    def _point(self, entry: dict[str, Any]) -> dict[str, Any] | None:
        if "run" in entry:
            found = point_of(RunRecord.read(Path(entry.pop("run"))).config, self.space.keys())
            entry = self.space.within({**found, **entry}, self.known.get)
        return self.space.named(entry, self.known.get)

    def _needed(self, trials: Sequence[FrozenTrial]) -> int:
        """Return the number of workers: as many as trials are left, at max_trials n_jobs, at least one."""
        return max(1, min(self.workers.jobs, self.max_trials - tally(trials).ended))

    def _watch(self, leases: TrialLeases, view: View) -> StopReason:
        started, deaths, ended = time.monotonic(), 0, -1
        limit = self.sweeper.time_limit_minutes
        while True:
            died = self.workers.reap()
            # After `reap`, so that the trials of the workers that died are named.
            trials = retry_while_locked(leases.trials, self.url, view.message)
            if (ended_now := tally(trials).ended) != ended:
                ended, deaths = ended_now, 0
            view.update(trials, self.workers.queued)
            stop = stop_of(trials, self.settings)
            deaths += bool(died)
            for name, ending in died.items():
                in_trial = "".join(f" in trial {trial.number}" for trial in trials if is_leased_by(name, trial))
                description = f"{ending}{in_trial}; the last line of its log: {self.workers.last_log_line(name)}"
                if deaths > MAX_DEATHS:
                    raise ExecutionError(f"workers died {deaths} times in a row; the last {description}", EXIT_FAILED)
                view.message(f"worker {name} {description}")
            if limit is not None and time.monotonic() - started > 60 * limit:
                minutes = f"{limit:g} minute{'' if limit == 1 else 's'}"
                return StopReason(f"the time limit of {minutes} is reached; {RERUN}")
            if stop is not None and len(self.workers) == self.workers.queued:
                return stop
            missing = self._needed(trials) - len(self.workers)
            if stop is None and missing > 0:
                self.workers.start(missing)
            time.sleep(POLL_S)


def _of_a_launcher(config: DictConfig) -> list[str]:
    """Return the launcher settings on the command line or in a file; launchers run grids and single runs only."""
    words = [word for word in config.hydra.overrides.hydra if word.lstrip("+~").startswith(LAUNCHER)]
    chosen = config.hydra.runtime.choices["hydra/launcher"]
    return words or ([f"hydra/launcher={chosen}"] if chosen != "processes" else [])


def _print(line: str) -> None:
    """Print a message before the display exists."""
    print(line, flush=True)
