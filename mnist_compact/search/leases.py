"""Trial leases: which worker trains which trial, and which trials can be reclaimed from workers that died.

User attributes of a trial:

- `lease`: the worker that trains the trial; renewed by its heartbeat.
- `attempts`: the number of workers in a row that have started or reclaimed the trial since its last complete epoch,
  which is stored in `attempts_since`.
- `overrides`, `folder`: the trial's configuration and its run folder.
- `refused`: why the trial does not count; `withdrawn` as well if the reason is not its network.
- `reason`: why the trial failed or was pruned.

A trial whose worker died stays RUNNING until another worker reclaims its lease and continues it in the same folder,
with the same number, after its last complete epoch.

A worker that loses its storage cannot release its trial there. It leaves a mark beside its lock file, and the attempt
does not count.
"""

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
from filelock import BaseFileLock, Timeout
from optuna.trial import FrozenTrial, TrialState

from mnist_compact.common.locks import lock_file
from mnist_compact.records.record import RecordError, RunRecord, Status
from mnist_compact.search.bulk import Database
from mnist_compact.search.counts import FIXED, tally
from mnist_compact.search.storage import STORAGE_ERRORS, StorageLost, StorageWatch, open_storage

LEASE_S = 90.0  # a trial of another machine is reclaimed after this time without a heartbeat
UNLEASED_S = 120.0  # a trial of another machine may be without a lease for this time after its creation
MAX_ATTEMPTS = 2
MANY = 1000  # trials of a study
INFRASTRUCTURE_FAILURE = ".marking_infrastructure_failures"  # file name extension of a worker's mark


class TrialLeases:
    """The trials of a study and their leases, for one worker or for the coordinator."""

    def __init__(
        self,
        folder: Path,
        url: str,
        study_name: str,
        worker: str,
        *,
        private: bool,
        wait_s: float | None = None,
        parent: str | None = None,
    ) -> None:
        """Open the study's storage.

        Args:
            folder: The study's folder.
            url: The storage's URL.
            study_name: The study's name.
            worker: The name of this worker or coordinator; its lock file is named after it.
            private: Whether only this machine uses the study.
            wait_s: How long to wait for a locked SQLite file, in seconds; None for the URL's timeout.
            parent: The name of a worker's coordinator, whose lock shows whether the coordinator is alive.
        """
        self.folder, self.worker, self.private = folder, worker, private
        self.parent_lock = None if parent is None else str(lock_of(folder, parent))
        self.watch = StorageWatch(url)
        with self.watch.guard():
            self.storage = open_storage(url, create=False, wait_s=wait_s)
            self.study = optuna.load_study(study_name=study_name, storage=self.storage)
        self.lock_path = lock_of(folder, worker)
        self.lock_path.parent.mkdir(parents=True, exist_ok=True)
        self.alive = lock_file(self.lock_path)  # held as long as this process is alive
        self.seen: dict[int, tuple[Any, float]] = {}  # trial → its lease, and when this lease was first seen
        self.claims = claims_lock(folder, private=private)

    def trials(self) -> list[FrozenTrial]:
        """Return all trials of the study.

        Raises:
            StorageLost: The storage is missing or does not respond.
        """
        with self.watch.guard():
            return self.study.get_trials(deepcopy=False)

    def are_many(self) -> bool:
        """Return whether reading the trials for the first time takes seconds. A journal was read when it was opened."""
        with self.watch.guard():
            return isinstance(self.storage, Database) and self.storage.count(self.study._study_id) >= MANY

    def needs_another(self, n_trials: int) -> bool:
        """Return whether fewer than `n_trials` have ended or are running."""
        counted = tally(self.trials())
        return counted.ended + counted.running < n_trials

    def is_surplus(self, number: int, n_trials: int) -> bool:
        """Return whether a trial that was just started is one too many.

        Machines do not share the lock `claims`, so that two workers may claim the last trial at once; one of them
        withdraws. Of two new trials, the one with the lower number stays. An enqueued trial was numbered long before it
        started. It withdraws in favour of all others, because a worker that checks last must not overlook a trial that
        has stayed.
        """
        trials = self.trials()
        was_enqueued = FIXED in trials[number].system_attrs
        competing = (other for other in trials if was_enqueued or FIXED in other.system_attrs or other.number < number)
        counted = tally(other for other in competing if other.number != number)
        return counted.ended + counted.running >= n_trials

    def lease(self, trial_id: int) -> None:
        """Lease the trial to this worker. The lease must be renewed within LEASE_S."""
        locks = {"lock": str(self.lock_path), "parent_lock": self.parent_lock}
        lease = {"worker": self.worker, "host": socket.gethostname(), **locks}
        self.note(trial_id, lease={**lease, "said": time.time()})  # only has to differ each time

    def release(self) -> None:
        """Release this worker's trials without counting an attempt, so that another worker can continue them."""
        for trial in self.trials():
            if is_leased_by(self.worker, trial):
                self.note(trial._trial_id, attempts=0, lease={"worker": None})

    @contextlib.contextmanager
    def marking_infrastructure_failures(self) -> Iterator[None]:
        """Leave this worker's mark if the body ends because the storage is lost."""
        try:
            yield
        except (StorageLost, *STORAGE_ERRORS):
            mark_infrastructure_failure(self.lock_path)
            raise

    def holds(self, trial_id: int) -> bool:
        """Return whether this worker has the trial's lease."""
        return _holder(self.storage.get_trial(trial_id)) == self.worker

    def note(self, trial_id: int, **attributes: Any) -> None:
        """Set user attributes of a trial."""
        for name, value in attributes.items():
            self.storage.set_trial_user_attr(trial_id, name, value)

    def reclaim(self, trials: list[FrozenTrial]) -> FrozenTrial | None:
        """Reclaim a trial whose worker has died, and lease it to this worker. The caller holds the lock `claims`.

        A trial fails after MAX_ATTEMPTS workers in a row have died with it. Workers that were lost to an infrastructure
        failure, or after a complete epoch, do not count.

        Returns:
            The reclaimed trial, or None if there is none.
        """
        for trial in trials:
            if trial.state is not TrialState.RUNNING or self._has_worker(trial):
                continue
            attempts, epoch = _failed_attempts(trial, self.parent_lock), _last_epoch(trial)
            if "overrides" not in trial.user_attrs:
                self.discard(trial.number, "its worker died before the trial started")
            elif attempts >= MAX_ATTEMPTS:
                self._give_up(trial, f"its worker died {attempts} times before an epoch was complete")
            else:
                self.lease(trial._trial_id)
                self.note(trial._trial_id, attempts=attempts + 1, attempts_since=epoch)
                if self.private or self._won(trial._trial_id):
                    return trial
        return None

    def _give_up(self, trial: FrozenTrial, reason: str) -> None:
        print(f"trial {trial.number}: {reason}", flush=True)
        home = self.folder / trial.user_attrs["folder"]
        try:
            record = RunRecord.read(home)
        except RecordError:  # its worker died before it could write a record, or on another machine
            pass
        else:
            record.status, record.reason = Status.FAILED, reason
            record.write(home)
        self.note(trial._trial_id, reason=reason)
        self.study.tell(trial.number, state=TrialState.FAIL)

    def _won(self, trial_id: int) -> bool:
        """Return whether this worker has the lease: machines share no file lock, so that the last to write has it."""
        time.sleep(1.0)
        return self.holds(trial_id)

    def _has_worker(self, trial: FrozenTrial) -> bool:
        lease = trial.user_attrs.get("lease")
        if lease is None:
            return not self.private and self._unchanged_s(trial.number, lease) < UNLEASED_S
        if lease["worker"] in (self.worker, None):
            return False  # this worker has no current trial when it reclaims one; None: the trial was released
        lock = Path(lease["lock"])
        if lease["host"] == socket.gethostname() and lock.exists():
            return not _can_be_taken(lock)
        return self._unchanged_s(trial.number, lease) < LEASE_S

    def _unchanged_s(self, number: int, lease: Any) -> float:
        """Return the seconds since this process first saw this lease; the clocks of other machines may be wrong."""
        if number not in self.seen or self.seen[number][0] != lease:
            self.seen[number] = lease, time.monotonic()
        return time.monotonic() - self.seen[number][1]

    def discard(self, number: int, reason: str, *, enqueue_again: bool = True) -> None:
        """End a trial that was never trained, so that it does not count.

        Args:
            number: The trial's number.
            reason: Why the trial is discarded.
            enqueue_again: Whether to enqueue the point of an enqueued trial again.
        """
        trial = self.trials()[number]
        self.note(trial._trial_id, refused=reason, withdrawn=True)
        if enqueue_again and FIXED in trial.system_attrs:
            # First, so that a kill in between may repeat the point but not lose it.
            self.study.enqueue_trial(trial.system_attrs[FIXED])
        self.study.tell(number, state=TrialState.FAIL)


def claims_lock(folder: Path, *, private: bool) -> BaseFileLock:
    """Return the lock for one proposal or claim at a time on this machine.

    Machines that share the folder have a lock each, because a machine that dies may hold a lock of a network file
    system for ever.
    """
    return lock_file(folder / ("claims.lock" if private else f"claims-{socket.gethostname()}.lock"))


def lock_of(folder: Path, worker: str) -> Path:
    return (folder / "workers" / f"{worker}.lock").resolve()


def heartbeat_of(folder: Path, coordinator: str) -> Path:
    """Return the file of the heartbeat that workers on other machines watch."""
    return folder / "workers" / f"{coordinator}.heartbeat"


def mark_infrastructure_failure(lock: Path) -> None:
    """Leave a mark for the worker with this lock: an infrastructure failure has ended it, and not its trial."""
    with contextlib.suppress(OSError):  # the folder may be missing as well; the loss is reported anyway
        lock.with_suffix(INFRASTRUCTURE_FAILURE).touch()


def _failed_attempts(trial: FrozenTrial, own_parent: str | None) -> int:
    """Return the number of workers in a row that the trial may have killed, including the last one."""
    if _last_epoch(trial) > trial.user_attrs.get("attempts_since", 0):
        return 0
    attempts: int = trial.user_attrs.get("attempts", 0)
    return attempts - (_had_infrastructure_failure(trial) or _lost_with_its_parent(trial, own_parent))


def _last_epoch(trial: FrozenTrial) -> int:
    return max(trial.intermediate_values, default=0)


def _had_infrastructure_failure(trial: FrozenTrial) -> bool:
    lease = trial.user_attrs.get("lease", {})
    return "lock" in lease and Path(lease["lock"]).with_suffix(INFRASTRUCTURE_FAILURE).exists()


def _lost_with_its_parent(trial: FrozenTrial, own_parent: str | None) -> bool:
    """Return whether the coordinator has died as well, as in a power cut, which a trial alone cannot cause.

    The coordinator of the worker that asks is alive. Any other one on another machine must have died, because it would
    have replaced the worker within LEASE_S.

    Args:
        trial: A trial that lost its worker.
        own_parent: The lock of the coordinator of the worker that asks.
    """
    lease = trial.user_attrs.get("lease", {})
    if lease.get("parent_lock") in (None, own_parent):  # None: released, or leased by an earlier version
        return False
    lock = Path(lease["parent_lock"])
    return lease["host"] != socket.gethostname() or not lock.exists() or _can_be_taken(lock)


def is_leased_by(worker: str, trial: FrozenTrial) -> bool:
    """Return whether the trial is running in this worker."""
    return trial.state is TrialState.RUNNING and _holder(trial) == worker


def _holder(trial: FrozenTrial) -> str | None:
    holder: str | None = trial.user_attrs.get("lease", {}).get("worker")
    return holder


def _can_be_taken(path: Path) -> bool:
    """Return whether no process holds the lock: the system releases the locks of processes that died."""
    try:
        with lock_file(path, timeout=0):
            return True
    except Timeout:
        return False
