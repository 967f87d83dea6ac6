"""One worker process: imports torch and loads the data once, then trains trial after trial until told to stop.

Started by the sweeper as `python -m mnist_compact.search.worker <worker_spec>`, a JSON file.
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

from mnist_compact.callbacks.base import Callback, CallbackList
from mnist_compact.callbacks.config import build_callbacks
from mnist_compact.callbacks.pruning import LeaseLost, PruningCallback
from mnist_compact.common.errors import EXIT_FAILED, EXIT_REFUSED, EXIT_WITHOUT_DATA, ConfigError
from mnist_compact.common.orphans import end_with
from mnist_compact.common.run_files import RECORD
from mnist_compact.common.streams import prepare_streams
from mnist_compact.common.wording import counted
from mnist_compact.config.conversion import callbacks_of
from mnist_compact.config.schema import RunConfig
from mnist_compact.data.datasets import Datasets
from mnist_compact.records.record import NetworkFacts, RunRecord, Score, Status
from mnist_compact.runs.trainer import resume, run
from mnist_compact.search.builders import pruner_of
from mnist_compact.search.counts import quieten, tally
from mnist_compact.search.leases import TrialLeases
from mnist_compact.search.migrations import migrate_snapshot
from mnist_compact.search.objectives import OBJECTIVES
from mnist_compact.search.proposals import Proposer, Trained, TrialJob
from mnist_compact.search.stopping import stop_of
from mnist_compact.search.storage import TROUBLE, StorageLost
from mnist_compact.search.worker_spec import WorkerSpec

HEARTBEAT_S = 20.0
IDLE_S = 1.0  # between looks at what the others do, when there is nothing to do oneself


class Log(Callback):
    """Keeps announcements in the worker's log. The rest the parent shows, as the study has it."""

    def on_message(self, message: str) -> None:
        print(message, flush=True)


class WithoutData(RuntimeError):
    """What is to be trained on cannot be had, which is no fault of a trial."""


class Worker:
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
        self.several = len(self.snapshot["settings"]["objectives"]) > 1
        self.leases.study.pruner = pruner_of(self.snapshot)  # samplers, too, go by its brackets
        self.trained = Trained(worker_spec.study_name, self.leases.study._storage)  # one cache for both
        self.data: dict[str, Datasets] = {}
        self.at_work: int | None = None  # trial id
        self.leasing = threading.Lock()  # a beat must not take back what is just handed back

    def work(self) -> None:
        """Until the study needs no more."""
        with self.leases.watch.over(), self.leases.alive, self.leases.marking_infrastructure_failures():
            end_with(self.spec.parent, self._release)  # nobody would know of this process
            threading.Thread(target=self._beat, daemon=True).start()
            try:
                self._take_turns()
            except (KeyboardInterrupt, WithoutData):  # wherever in a trial, also before its first step
                self._release()
                raise

    def _take_turns(self) -> None:
        while True:
            job = self._next()
            if job is not None:
                self._train(job)
            elif tally(self.leases.trials()).running == 0 or self._stopped():
                return
            else:
                time.sleep(IDLE_S)  # a peer's trial may yet lose its worker

    def _stopped(self) -> bool:
        return stop_of(self.leases.trials(), self.spec.settings) is not None

    def _next(self) -> TrialJob | None:
        self.leases.trials()  # before the lock, which would make a folder that is gone
        with self.leases.claims:
            trials = self.leases.trials()
            if stop_of(trials, self.spec.settings):
                return None
            left = self.leases.reclaim(trials)
            if left is not None:
                return self.proposer.job(left._trial_id, left.number, left.user_attrs["overrides"])
            return self.proposer.propose(self.spec.settings.n_trials, self.spec.settings.max_refusals)

    def _train(self, job: TrialJob) -> None:
        self.at_work = job.trial_id
        folder = self.folder / job.folder
        job.config.machine = self.spec.machine
        try:
            record = self._run(job, folder, self._data_of(job.config))
        except LeaseLost as error:
            print(f"trial {job.number}: {error}", flush=True)
            return
        except (WithoutData, StorageLost, *TROUBLE):
            raise  # the trial has not failed: it goes on when its storage or its data are there again
        except Exception as error:
            traceback.print_exc()
            self._tell(job, TrialState.FAIL, reason=f"{type(error).__name__}: {error}")
            return
        else:
            if record.status is Status.INTERRUPTED:
                raise KeyboardInterrupt
            self._record(job, record)
        finally:
            self.at_work = None

    def _release(self) -> None:
        with self.leasing, self.leases.marking_infrastructure_failures():
            self.at_work = None
            self.leases.release()

    def _data_of(self, config: RunConfig) -> Datasets:
        key = repr(config.data)
        if key not in self.data:
            try:
                self.data[key] = config.load_data(print)
            except Exception as error:  # of files, networks, memory
                raise WithoutData(str(error) or type(error).__name__) from error
        return self.data[key]

    def _run(self, job: TrialJob, folder: Path, data: Datasets) -> RunRecord:
        with closing(CallbackList(Log(), *build_callbacks(self.callbacks, folder))) as callback:
            if (folder / RECORD).exists():
                record = RunRecord.read(folder)
                if record.overrides != job.overrides:
                    raise ConfigError([f"{folder} holds the run of another study's trial"])
                if record.status is Status.STOPPED:
                    return record  # pruned, which its worker could not tell any more
                return resume(folder, callback, pruning_callback=self._reporter(job), data=data)
            return run(
                job.config, folder, callback, overrides=job.overrides, pruning_callback=self._reporter(job), data=data
            )

    def _reporter(self, job: TrialJob) -> PruningCallback:
        def report(score: Score, network: NetworkFacts) -> bool:
            if not self.leases.holds(job.trial_id):
                raise LeaseLost("taken over by another worker")
            value = self._values(score, network)[0]
            self.leases.storage.set_trial_intermediate_value(job.trial_id, score.epoch, value)
            if self.several:
                return False  # Optuna's pruners know one objective
            trial = self.leases.storage.get_trial(job.trial_id)
            return self.leases.study.pruner.prune(self.trained, trial)

        return report

    def _values(self, score: Score, network: NetworkFacts) -> list[float]:
        return [OBJECTIVES[name].of(score, network) for name in self.snapshot["settings"]["objectives"]]

    def _record(self, job: TrialJob, record: RunRecord) -> None:
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
        """Keeps the lease."""
        while True:
            time.sleep(HEARTBEAT_S)
            try:
                with self.leasing:
                    if self.at_work is not None and self.leases.holds(self.at_work):
                        self.leases.lease(self.at_work)
            except Exception as error:  # a storage that is away for a while: the next beat tries again
                print(f"no heartbeat: {error}", flush=True)


def main() -> int:
    def stop(signal_number: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    prepare_streams()
    quieten()
    try:
        Worker(WorkerSpec.read(Path(sys.argv[1]))).work()
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
    sys.exit(main())
