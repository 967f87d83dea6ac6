"""The parent of a search: founds or joins the study, keeps its workers at work, tells a view how it goes."""

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
from mnist_compact.common.errors import EXIT_FAILED, EXIT_NO_COMPLETE_TRIAL, ConfigError, ExecutionError
from mnist_compact.common.locks import lock_file
from mnist_compact.common.signals import exit_on_signals
from mnist_compact.config.conversion import callbacks_of, machine_of
from mnist_compact.records.record import RunRecord
from mnist_compact.search.builders import point_of, space_of
from mnist_compact.search.counts import quieten, tally
from mnist_compact.search.create import StudySpec, question_of
from mnist_compact.search.leases import TrialLeases, is_at
from mnist_compact.search.preflight import check_keys, check_settings, preflight
from mnist_compact.search.snapshot import Composer, ConfigSnapshot, digits_of, folders_beside, held_out, take_snapshot
from mnist_compact.search.status import ask
from mnist_compact.search.stopping import StoppingCriteria, StopReason, stop_of
from mnist_compact.search.storage import StorageLost, in_words, patiently
from mnist_compact.search.worker_pool import WorkerPool
from mnist_compact.training.device import resolve_device

POLL_S = 0.5
GLANCE_S = 1.0  # at most, at a storage that may be locked
MAX_DEATHS = 5  # times in a row that workers died without a trial ended in between
LAUNCHER = ("hydra/launcher", "hydra.launcher")
AGAIN = "the same line again goes on"


@dataclass(slots=True, frozen=True)
class SearchResult:
    """What a search returns to Hydra."""

    study_name: str
    folder: Path
    reason: str


class View(Protocol):
    """Who is told how the search goes, and in what words is its own affair."""

    def __init__(self, name: str, folder: Path, url: str, settings: StoppingCriteria, jobs: int) -> None: ...
    def begin(self, trials: Sequence[FrozenTrial]) -> None: ...
    def say(self, line: str) -> None: ...
    def update(self, trials: Sequence[FrozenTrial]) -> None: ...
    def close(self) -> None: ...
    def end(self, study: Study, reason: str) -> None: ...


class Coordinator:
    def __init__(self, config: DictConfig, arguments: list[str], snapshot: ConfigSnapshot | None = None) -> None:
        """With `snapshot`, a study's own question, nothing of the question is read from `config` and `arguments`."""
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
        self.workers = WorkerPool(
            self.folder,
            url=self.url,
            study_name=self.name,
            private=self.private,
            jobs=sweeper.n_jobs or cores(),
            settings=self.settings,
            machine=self.machine,
        )

    def search(self, shown: type[View]) -> SearchResult:
        """Until the study is done, the time is up, Ctrl-C or a signal to end; the study is consistent after each."""
        quieten()
        try:
            self.check()
            self._make_folder()
            with exit_on_signals():
                return self._search(shown)
        except StorageLost as lost:
            raise ExecutionError(f"{lost}; {lost.remedy} {AGAIN}", EXIT_FAILED) from lost

    def _make_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                [f"hydra.sweeper.folder must be writable, got {self.folder} ({error.strerror})"]
            ) from error

    def _search(self, shown: type[View]) -> SearchResult:
        study_spec = StudySpec(self.name, self.folder, self.url, self.private, self.snapshot, self.points, self.exists)
        with lock_file(self.folder / "claims.lock"), in_words(self.url):
            study_spec.create_or_load()
        leases = patiently(self._leases, self.url, _say)
        patiently(lambda: self._ask(leases), self.url, _say)
        trials = patiently(leases.trials, self.url, _say)
        self.workers.jobs = self._needed(trials)
        view = shown(self.name, self.folder, self.url, self.settings, self.workers.jobs)
        view.begin(trials)
        for word in _of_a_launcher(self.config):
            view.say(f"{word} has no effect: a search starts workers of its own, as many as hydra.sweeper.n_jobs says")
        if self.left_out:
            view.say(
                f"of the points to try first {self.left_out} repeat others, or contradict the command line: left out"
            )
        if len(self.sweeper.objectives) > 1:
            view.say("several objectives: nothing is pruned, for pruners compare by one")
        stop: StopReason | None = None
        reason = "stopped"
        try:
            with leases.alive:  # its workers' leases name this lock
                stop = self._watch(leases, view)
            reason = stop.reason
        except (KeyboardInterrupt, SystemExit):
            reason = f"interrupted: {AGAIN}"
            view.say("stopping: the workers hand back their trials")
            raise
        except StorageLost:
            reason = ""
            raise
        finally:
            try:
                view.close()
            finally:  # the terminal may be gone, and with it the place to write
                self.workers.stop()
            if reason:
                patiently(lambda: self._conclude(leases, view, reason), self.url, view.say)
        assert stop is not None
        if stop.failed:
            raise ExecutionError(stop.reason, EXIT_FAILED)
        if not tally(patiently(leases.trials, self.url, view.say)).complete:
            raise ExecutionError(f"{stop.reason}, and none is complete", EXIT_NO_COMPLETE_TRIAL)
        return SearchResult(self.name, self.folder, stop.reason)

    def _conclude(self, leases: TrialLeases, view: View, reason: str) -> None:
        with leases.watch.over():
            view.end(leases.study, reason)

    def _ask(self, leases: TrialLeases) -> None:
        with leases.watch.over():
            ask(leases.study, self.settings)

    def _leases(self) -> TrialLeases:
        name = self.workers.parent_name
        return TrialLeases(self.folder, self.url, self.name, name, private=self.private, wait_s=GLANCE_S)

    def check(self) -> None:
        """Raises ConfigError for what cannot be searched. Writes nothing; of the study it sees whether it is there.

        Raises StorageLost for one that is locked and stays so.
        """
        check_settings(self.config)
        resolve_device(self.machine.device)
        with closing(Composer(self.snapshot, space_of(self.snapshot).fixed)) as composer:
            composer.run_config([])
            callbacks_of(composer.composed([]))
            self.known = composer.known()
            check_keys(composer, self.snapshot)
        preflight(self.snapshot, self.known)
        points = space_of(self.snapshot).points(self.known.get)
        self.most = len([*islice(points or repeat({}), self.settings.n_trials)])  # trials, in a space with an end too
        begun = patiently(lambda: question_of(self.name, self.url, GLANCE_S), self.url, _say)
        self.exists = begun is not None
        known = [] if begun is None else begun["settings"]["enqueue"]
        listed: Any = OmegaConf.to_container(self.sweeper.enqueue, resolve=True)
        entries = [entry for entry in listed if entry not in known]  # the folder of a known one may be gone
        self.points = self._points(entries)
        self.left_out = len(entries) - len(self.points)

    def _points(self, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """To be tried first: each once, of those that the command line leaves possible."""
        points: list[dict[str, Any]] = []
        for point in map(self._point, entries):
            if point is not None and point not in points:
                points.append(point)
        return points

    def _point(self, entry: dict[str, Any]) -> dict[str, Any] | None:
        space = space_of(self.snapshot)
        if "run" in entry:
            found = point_of(RunRecord.read(Path(entry.pop("run"))).config, space.keys())
            entry = space.within({**found, **entry}, self.known.get)
        return space.named(entry, self.known.get)

    def _needed(self, trials: Sequence[FrozenTrial]) -> int:
        """How many workers have something to do: as many as there are trials left, within n_jobs, and at least one."""
        return max(1, min(self.workers.jobs, self.most - tally(trials).ended))

    def _watch(self, leases: TrialLeases, view: View) -> StopReason:
        started, deaths, ended = time.monotonic(), 0, -1
        limit = self.sweeper.time_limit_minutes
        while True:
            died = self.workers.reap()
            trials = patiently(leases.trials, self.url, view.say)  # after it: what each of the dead was at
            counted = tally(trials)
            if counted.ended != ended:
                ended, deaths = counted.ended, 0
            view.update(trials)
            done = stop_of(trials, self.settings)
            deaths += bool(died)
            for name, how in died.items():
                left = "".join(f" in trial {trial.number}" for trial in trials if is_at(name, trial))
                said = f"{how}{left}; its last words: {self.workers.last_words(name)}"
                if deaths > MAX_DEATHS:
                    raise ExecutionError(f"workers died {deaths} times in a row; the last {said}", EXIT_FAILED)
                view.say(f"worker {name} {said}")
            if limit is not None and time.monotonic() - started > 60 * limit:
                return StopReason(f"the time limit of {limit:g} minutes is reached, {AGAIN}")
            if done is not None and not self.workers:
                return done
            while done is None and len(self.workers) < self._needed(trials):
                self.workers.start_worker()
            time.sleep(POLL_S)


def _of_a_launcher(config: DictConfig) -> list[str]:
    """What was given of Hydra's launchers, on the command line or in a file; they run grids and single runs."""
    words = [word for word in config.hydra.overrides.hydra if word.lstrip("+~").startswith(LAUNCHER)]
    chosen = config.hydra.runtime.choices["hydra/launcher"]
    return words or ([f"hydra/launcher={chosen}"] if chosen != "processes" else [])


def _say(line: str) -> None:
    """Before there is a view."""
    print(line, flush=True)
