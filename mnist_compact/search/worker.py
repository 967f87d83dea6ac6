"""One worker process of a search: it loads the data once and trains one trial after another until the search stops.

`Worker.process_trial` shows the steps of a trial. The coordinator starts a worker as
`python -m mnist_compact.search.worker <worker_spec>`, where the worker spec is a JSON file.
"""

import signal
import sys
import threading
import time
import traceback
from contextlib import closing
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from mnist_compact.callbacks.callback import Callback, CallbackList
from mnist_compact.callbacks.config import build_callbacks
from mnist_compact.callbacks.pruning import LeaseLost, PruningCallback
from mnist_compact.common.errors import EXIT_FAILED, EXIT_REFUSED, EXIT_WITHOUT_DATA, ConfigError
from mnist_compact.common.heartbeat import is_beating
from mnist_compact.common.orphans import end_unless, end_with
from mnist_compact.common.run_files import RECORD
from mnist_compact.common.signals import interruptible
from mnist_compact.common.streams import prepare_streams
from mnist_compact.common.wording import counted
from mnist_compact.config.conversion import callbacks_of
from mnist_compact.config.schema import RunConfig
from mnist_compact.data.datasets import Datasets
from mnist_compact.records.record import NetworkFacts, RunRecord, Score, Status
from mnist_compact.runs.trainer import resume, run
from mnist_compact.search.builders import pruner_of
from mnist_compact.search.counts import quieten, tally
from mnist_compact.search.leases import TrialLeases, heartbeat_of
from mnist_compact.search.migrations import migrate_snapshot
from mnist_compact.search.objectives import OBJECTIVES
from mnist_compact.search.proposals import Proposer, TrainedTrials, TrialJob
from mnist_compact.search.stopping import stop_of
from mnist_compact.search.storage import STORAGE_ERRORS, StorageLost
from mnist_compact.search.worker_spec import WorkerSpec

HEARTBEAT_S = 20.0
IDLE_S = 1.0  # between checks of the other workers' trials while this worker has none


class Log(Callback):
    """Writes messages to the worker's log. The coordinator displays everything else from the study."""

    def on_message(self, message: str) -> None:
        print(message, flush=True)


class WithoutData(RuntimeError):
    """The data cannot be loaded, which does not fail a trial."""


class Worker:
    """Trains the trials of a study, one at a time."""

    def __init__(self, worker_spec: WorkerSpec) -> None:
        self.spec = worker_spec
        self.folder = Path(worker_spec.folder)
        self.leases = TrialLeases(
            self.folder,
            worker_spec.url,
            worker_spec.study_name,
            worker_spec.worker,
            private=worker_spec.private,
            parent=worker_spec.parent_name,
        )
        self.snapshot = migrate_snapshot(self.leases.study.user_attrs["frozen"])
        self.proposer = Proposer(self.leases, self.snapshot)
        self.callbacks = callbacks_of(self.proposer.composer.composed([]))
        self.has_several_objectives = len(self.snapshot["settings"]["objectives"]) > 1
        self.leases.study.pruner = pruner_of(self.snapshot)  # samplers use Hyperband's brackets as well
        self.trained = TrainedTrials(worker_spec.study_name, self.leases.study._storage)  # they share one cache
        self.data: dict[str, Datasets] = {}
        self.current_trial: int | None = None  # trial id
        self.leasing = threading.Lock()  # a heartbeat must not renew a lease that is being released

    def work(self) -> None:
        """Process trials until the study needs no more.

        Raises:
            KeyboardInterrupt: The worker was asked to stop; its trial is released.
            WithoutData: The data cannot be loaded; the trial is released.
            StorageLost: The storage is missing or does not respond.
        """
        with self.leases.watch.guard(), self.leases.alive, self.leases.marking_infrastructure_failures():
            self._end_with_coordinator()
            threading.Thread(target=self._beat, daemon=True).start()
            try:
                while self.process_trial() or self._wait_for_other_workers():
                    pass
            except (KeyboardInterrupt, WithoutData):  # at any moment of a trial, also before its first step
                self._release()
                raise

    def _end_with_coordinator(self) -> None:
        if self.spec.remote:
            end_unless(is_beating(heartbeat_of(self.folder, self.spec.parent_name)), self._release)
        if self.spec.parent is not None:
            end_with(self.spec.parent, self._release)

    def process_trial(self) -> bool:
        """Process one trial: propose, lease, check and train it, and store its result.

        Returns:
            False if there is no trial to train, now or at all.
        """
        job = self._claim()  # proposed, leased and checked; or reclaimed from a worker that died
        if job is None:
            return False
        self.current_trial = job.trial_id  # the heartbeat renews its lease
        try:
            with interruptible():
                record = self._train(job)  # scores are reported, and the trial may be pruned, after each epoch
        except LeaseLost as error:
            print(f"trial {job.number}: {error}", flush=True)
        except (WithoutData, StorageLost, *STORAGE_ERRORS):
            raise  # the trial has not failed: it continues when the storage or the data are available again
        except Exception as error:
            traceback.print_exc()
            self._tell(job, TrialState.FAIL, reason=f"{type(error).__name__}: {error}")
        else:
            if record.status is Status.INTERRUPTED:
                raise KeyboardInterrupt
            self._tell_result(job, record)
        finally:
            self.current_trial = None
        return True

    def _claim(self) -> TrialJob | None:
        self.leases.trials()  # raises StorageLost for a missing folder, which the lock would create again
        with self.leases.claims:
            trials = self.leases.trials()
            if stop_of(trials, self.spec.settings):
                return None
            reclaimed = self.leases.reclaim(trials)
            if reclaimed is not None:
                return self.proposer.job_of(reclaimed)
            return self.proposer.propose(self.spec.settings.n_trials, self.spec.settings.max_refusals)

    def _wait_for_other_workers(self) -> bool:
        """Wait while trials are running elsewhere: one of them may lose its worker. False once none can."""
        trials = self.leases.trials()
        if tally(trials).running == 0 or stop_of(trials, self.spec.settings) is not None:
            return False
        time.sleep(IDLE_S)
        return True

    def _release(self) -> None:
        with self.leasing, self.leases.marking_infrastructure_failures():
            self.current_trial = None
            self.leases.release()

    def _data_of(self, config: RunConfig) -> Datasets:
        key = repr(config.data)
        if key not in self.data:
            try:
                self.data[key] = config.load_data(print)
            except Exception as error:  # errors of files, of the network, of memory
                raise WithoutData(str(error) or type(error).__name__) from error
        return self.data[key]

    def _train(self, job: TrialJob) -> RunRecord:
        """Train the trial, or continue it after its last complete epoch if its folder has a run."""
        job.config.machine = self.spec.machine
        data, folder = self._data_of(job.config), self.folder / job.folder
        prune = self._pruning_callback(job)
        with closing(CallbackList(Log(), *build_callbacks(self.callbacks, folder))) as callback:
            if not (folder / RECORD).exists():
                return run(job.config, folder, callback, overrides=job.overrides, pruning_callback=prune, data=data)
            record = RunRecord.read(folder)
            if record.overrides != job.overrides:
                raise ConfigError([f"{folder} contains the run of another study's trial"])
            if record.status is Status.STOPPED:
                return record  # it was pruned, but its worker died before it could tell the study
            return resume(folder, callback, pruning_callback=prune, data=data)

    def _pruning_callback(self, job: TrialJob) -> PruningCallback:
        def report(score: Score, network: NetworkFacts) -> bool:
            if not self.leases.holds(job.trial_id):
                raise LeaseLost("reclaimed by another worker")
            value = self._values(score, network)[0]
            self.leases.storage.set_trial_intermediate_value(job.trial_id, score.epoch, value)
            if self.has_several_objectives:
                return False  # Optuna's pruners support a single objective only
            trial = self.leases.storage.get_trial(job.trial_id)
            return self.leases.study.pruner.prune(self.trained, trial)

        return report

    def _values(self, score: Score, network: NetworkFacts) -> list[float]:
        return [OBJECTIVES[name].of(score, network) for name in self.snapshot["settings"]["objectives"]]

    def _tell_result(self, job: TrialJob, record: RunRecord) -> None:
        if record.status is Status.COMPLETED:
            score = record.final
            assert score is not None
            scored = f"{score.split}, {score.weights} weights, epoch {score.epoch}"
            values = self._values(score, record.network)
            self._tell(job, TrialState.COMPLETE, values=values, seconds=record.seconds, scored=scored)
        elif record.status is Status.STOPPED:
            reason = f"pruned after {counted(record.epochs_done, 'epoch')}"
            self._tell(job, TrialState.PRUNED, reason=reason, seconds=record.seconds)
        else:
            self._tell(job, TrialState.FAIL, reason=record.reason, seconds=record.seconds)

    def _tell(self, job: TrialJob, state: TrialState, *, values: list[float] | None = None, **attributes: Any) -> None:
        if self.leases.holds(job.trial_id):
            if "reason" in attributes:
                print(f"trial {job.number}: {attributes['reason']}", flush=True)
            self.leases.note(job.trial_id, **attributes)
            self.leases.study.tell(job.number, values, state=state)

    def _beat(self) -> None:
        """Renew the lease of the current trial until the process ends."""
        while True:
            time.sleep(HEARTBEAT_S)
            try:
                with self.leasing:
                    if self.current_trial is not None and self.leases.holds(self.current_trial):
                        self.leases.lease(self.current_trial)
            except Exception as error:  # the storage is unavailable for a while: the next heartbeat tries again
                print(f"no heartbeat: {error}", flush=True)


def run_worker(worker_spec: WorkerSpec) -> int:
    """Run a worker until the study needs no more trials, or until SIGTERM or SIGINT, which release its trial.

    Returns:
        The exit code of its process.
    """

    def stop(signal_number: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    prepare_streams()
    quieten()
    try:
        Worker(worker_spec).work()
    except KeyboardInterrupt:
        return 0
    except ConfigError as error:
        print(error, flush=True)
        return EXIT_REFUSED
    except WithoutData as error:
        print(error, flush=True)
        return EXIT_WITHOUT_DATA
    except StorageLost as error:
        print(error, flush=True)
        return EXIT_FAILED
    return 0


if __name__ == "__main__":
    sys.exit(run_worker(WorkerSpec.read(Path(sys.argv[1]))))
