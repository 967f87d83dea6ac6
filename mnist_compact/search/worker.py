"""One worker process: imports torch and loads the data once, then trains trial after trial until told to stop.

Started by the sweeper as `python -m mnist_compact.search.worker <assignment>`, a JSON file.
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

from mnist_compact.config import RunConfig, tracker_of
from mnist_compact.data.datasets import Datasets
from mnist_compact.experiment import resume, run
from mnist_compact.faults import EXIT_FAILED, EXIT_REFUSED, EXIT_WITHOUT_DATA, ConfigError
from mnist_compact.onlookers import Relinquished, Reporter, Watcher, Watchers
from mnist_compact.orphans import end_with
from mnist_compact.questions.building import pruner_of
from mnist_compact.questions.earlier import upgraded
from mnist_compact.questions.objectives import OBJECTIVES
from mnist_compact.results.record import NetworkFacts, RunRecord, Score, Status
from mnist_compact.run_files import RECORD
from mnist_compact.search.assignment import Assignment
from mnist_compact.search.ledger import Ledger
from mnist_compact.search.proposals import Job, Proposer, Trained
from mnist_compact.streams import prepare_streams
from mnist_compact.studies.counts import quieten, tally
from mnist_compact.studies.storage import TROUBLE, StorageLost
from mnist_compact.studies.verdict import stop_of
from mnist_compact.wording import counted

HEARTBEAT_S = 20.0
IDLE_S = 1.0  # between looks at what the others do, when there is nothing to do oneself


class Log(Watcher):
    """Keeps announcements in the worker's log. The rest the parent shows, as the study has it."""

    def announce(self, sentence: str) -> None:
        print(sentence, flush=True)


class WithoutData(RuntimeError):
    """What is to be trained on cannot be had, which is no fault of a trial."""


class LostLease(Relinquished):
    """Another worker has taken this trial over, for this one was silent too long."""


class Worker:
    def __init__(self, assignment: Assignment) -> None:
        self.told = assignment
        self.folder = Path(assignment.folder)
        self.ledger = Ledger(
            self.folder,
            assignment.url,
            assignment.study_name,
            assignment.worker,
            private=assignment.private,
            parent=assignment.parent_name,
        )
        self.frozen = upgraded(self.ledger.study.user_attrs["frozen"])
        self.proposer = Proposer(self.ledger, self.frozen)
        self.tracker = tracker_of(self.proposer.composer.composed([]))
        self.several = len(self.frozen["settings"]["objectives"]) > 1
        self.ledger.study.pruner = pruner_of(self.frozen)  # samplers, too, go by its brackets
        self.trained = Trained(assignment.study_name, self.ledger.study._storage)  # one cache for both
        self.data: dict[str, Datasets] = {}
        self.at_work: int | None = None  # trial id
        self.leasing = threading.Lock()  # a beat must not take back what is just handed back

    def work(self) -> None:
        """Until the study needs no more."""
        with self.ledger.watch.over(), self.ledger.alive, self.ledger.excused():
            end_with(self.told.parent, self._hand_back)  # nobody would know of this process
            threading.Thread(target=self._beat, daemon=True).start()
            try:
                self._take_turns()
            except (KeyboardInterrupt, WithoutData):  # wherever in a trial, also before its first step
                self._hand_back()
                raise

    def _take_turns(self) -> None:
        while True:
            job = self._next()
            if job is not None:
                self._train(job)
            elif tally(self.ledger.trials()).running == 0 or self._stopped():
                return
            else:
                time.sleep(IDLE_S)  # a peer's trial may yet lose its worker

    def _stopped(self) -> bool:
        return stop_of(self.ledger.trials(), self.told.settings) is not None

    def _next(self) -> Job | None:
        self.ledger.trials()  # before the lock, which would make a folder that is gone
        with self.ledger.claims:
            trials = self.ledger.trials()
            if stop_of(trials, self.told.settings):
                return None
            left = self.ledger.take_over(trials)
            if left is not None:
                return self.proposer.job(left._trial_id, left.number, left.user_attrs["overrides"])
            return self.proposer.propose(self.told.settings.n_trials, self.told.settings.max_refusals)

    def _train(self, job: Job) -> None:
        self.at_work = job.trial_id
        folder = self.folder / job.folder
        job.config.machine = self.told.machine
        try:
            record = self._run(job, folder, self._data_of(job.config))
        except LostLease as error:
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

    def _hand_back(self) -> None:
        with self.leasing, self.ledger.excused():
            self.at_work = None
            self.ledger.hand_back()

    def _data_of(self, config: RunConfig) -> Datasets:
        key = repr(config.data)
        if key not in self.data:
            try:
                self.data[key] = config.load_data(print)
            except Exception as error:  # of files, networks, memory
                raise WithoutData(str(error) or type(error).__name__) from error
        return self.data[key]

    def _run(self, job: Job, folder: Path, data: Datasets) -> RunRecord:
        with closing(Watchers(Log(), *self.tracker.watchers(folder))) as watcher:
            if (folder / RECORD).exists():
                record = RunRecord.read(folder)
                if record.overrides != job.overrides:
                    raise ConfigError([f"{folder} holds the run of another study's trial"])
                if record.status is Status.STOPPED:
                    return record  # pruned, which its worker could not tell any more
                return resume(folder, watcher, reporter=self._reporter(job), data=data)
            return run(job.config, folder, watcher, overrides=job.overrides, reporter=self._reporter(job), data=data)

    def _reporter(self, job: Job) -> Reporter:
        def report(score: Score, network: NetworkFacts) -> bool:
            if not self.ledger.holds(job.trial_id):
                raise LostLease("taken over by another worker")
            value = self._values(score, network)[0]
            self.ledger.storage.set_trial_intermediate_value(job.trial_id, score.epoch, value)
            if self.several:
                return False  # Optuna's pruners know one objective
            trial = self.ledger.storage.get_trial(job.trial_id)
            return self.ledger.study.pruner.prune(self.trained, trial)

        return report

    def _values(self, score: Score, network: NetworkFacts) -> list[float]:
        return [OBJECTIVES[name].of(score, network) for name in self.frozen["settings"]["objectives"]]

    def _record(self, job: Job, record: RunRecord) -> None:
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

    def _tell(self, job: Job, state: TrialState, *, values: list[float] | None = None, **attributes: Any) -> None:
        if self.ledger.holds(job.trial_id):
            if "reason" in attributes:
                print(f"trial {job.number}: {attributes['reason']}", flush=True)
            self.ledger.note(job.trial_id, **attributes)
            self.ledger.study.tell(job.number, values, state=state)

    def _beat(self) -> None:
        """Keeps the lease."""
        while True:
            time.sleep(HEARTBEAT_S)
            try:
                with self.leasing:
                    if self.at_work is not None and self.ledger.holds(self.at_work):
                        self.ledger.lease(self.at_work)
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
        Worker(Assignment.read(Path(sys.argv[1]))).work()
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
