"""The study as its workers see it: who works on what, how many count, and what is to be done next.

Trials carry user attributes of ours: `lease` (who works on it, renewed while it lives), `attempts` (workers in a row
that have begun or taken over the trial since it last finished an epoch, which was `attempts_since`), `overrides`,
`folder`, and where they ended so one of `refused` (why it does not count; `withdrawn` besides, where its network is not
to blame) and `reason`. A trial whose worker died stays RUNNING until another takes over its lease, and goes on in its
folder after its last finished epoch: same number, same folder, nothing done twice.

A worker that must end for want of its storage cannot hand its trial back there; it leaves a mark beside its lock file,
and the attempt does not count.
"""

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
from filelock import Timeout
from optuna.trial import FrozenTrial, TrialState

from mnist_compact.common.locks import lock_file
from mnist_compact.records.record import RecordError, RunRecord, Status
from mnist_compact.search.counts import FIXED, tally
from mnist_compact.search.storage import TROUBLE, StorageLost, Watch, open_storage

LEASE_S = 90.0  # how long a worker elsewhere may be silent before its trial is taken over
UNLEASED_S = 120.0  # how long a trial elsewhere may be between its creation and its lease
MAX_ATTEMPTS = 2
INFRASTRUCTURE_FAILURE = ".marking_infrastructure_failures"  # ending of a worker's mark


class TrialLeases:
    """A study and its storage, for one worker or for the parent."""

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
        """A worker's `parent` is the name of the parent's own leases: its lock tells whether the parent is alive."""
        self.folder, self.worker, self.private = folder, worker, private
        self.parent_lock = None if parent is None else str(lock_of(folder, parent))
        self.watch = Watch(url)
        with self.watch.over():
            self.storage = open_storage(url, create=False, wait_s=wait_s)
            self.study = optuna.load_study(study_name=study_name, storage=self.storage)
        self.lock_path = lock_of(folder, worker)
        self.lock_path.parent.mkdir(parents=True, exist_ok=True)
        self.alive = lock_file(self.lock_path)  # held as long as this process lives
        self.seen: dict[int, tuple[Any, float]] = {}  # trial → its lease, and since when it has been that one
        self.claims = lock_file(folder / "claims.lock")  # one proposal or claim at a time on this machine

    def trials(self) -> list[FrozenTrial]:
        """Raises StorageLost."""
        with self.watch.over():
            return self.study.get_trials(deepcopy=False)

    def has_room(self, n_trials: int) -> bool:
        counted = tally(self.trials())
        return counted.ended + counted.running < n_trials

    def is_surplus(self, number: int, n_trials: int) -> bool:
        """Whether a trial just begun is one too many: machines cannot share `claims`, so two may see the last place.

        Of two new trials the lower number has it. One that had waited was numbered long before it began: it gives way
        to all others, lest the last to look overlook one that has already stayed.
        """
        trials = self.trials()
        had_waited = FIXED in trials[number].system_attrs
        rivals = (other for other in trials if had_waited or FIXED in other.system_attrs or other.number < number)
        counted = tally(other for other in rivals if other.number != number)
        return counted.ended + counted.running >= n_trials

    def lease(self, trial_id: int) -> None:
        """Say that this worker has the trial, to be said again before LEASE_S have passed."""
        locks = {"lock": str(self.lock_path), "parent_lock": self.parent_lock}
        lease = {"worker": self.worker, "host": socket.gethostname(), **locks}
        self.note(trial_id, lease={**lease, "said": time.time()})  # no more than a mark that differs each time

    def release(self) -> None:
        """Told to stop is not to have died: whoever goes on has this worker's trial at once, and all its attempts."""
        for trial in self.trials():
            if is_at(self.worker, trial):
                self.note(trial._trial_id, attempts=0, lease={"worker": None})

    @contextlib.contextmanager
    def marking_infrastructure_failures(self) -> Iterator[None]:
        """What ends in the loss of the storage leaves this worker's mark."""
        try:
            yield
        except (StorageLost, *TROUBLE):
            mark_infrastructure_failure(self.lock_path)
            raise

    def holds(self, trial_id: int) -> bool:
        return _holder(self.storage.get_trial(trial_id)) == self.worker

    def note(self, trial_id: int, **attributes: Any) -> None:
        for name, value in attributes.items():
            self.storage.set_trial_user_attr(trial_id, name, value)

    def reclaim(self, trials: list[FrozenTrial]) -> FrozenTrial | None:
        """A trial whose worker is gone, now leased to this one.

        A trial that lost MAX_ATTEMPTS workers in a row ends as FAILED. Workers that were lost for another reason, or
        after they had finished an epoch, do not count. To be called under `claims`.
        """
        for trial in trials:
            if trial.state is not TrialState.RUNNING or self._is_worked_on(trial):
                continue
            attempts, epoch = _failed_attempts(trial), _last_epoch(trial)
            if "overrides" not in trial.user_attrs:
                self.discard(trial.number, "its worker died before it began")
            elif attempts >= MAX_ATTEMPTS:
                self._give_up(trial, f"its worker died {attempts} times before it finished an epoch")
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
        except RecordError:  # its worker died before it could write one, or on another machine
            pass
        else:
            record.status, record.reason = Status.FAILED, reason
            record.write(home)
        self.note(trial._trial_id, reason=reason)
        self.study.tell(trial.number, state=TrialState.FAIL)

    def _won(self, trial_id: int) -> bool:
        """Machines cannot share a file lock: of two that claim at once, the one that wrote last has it."""
        time.sleep(1.0)
        return self.holds(trial_id)

    def _is_worked_on(self, trial: FrozenTrial) -> bool:
        lease = trial.user_attrs.get("lease")
        if lease is None:
            return not self.private and self._unchanged_s(trial.number, lease) < UNLEASED_S
        if lease["worker"] in (self.worker, None):
            return False  # this worker asks for work, so it is not at it; or it was handed back
        lock = Path(lease["lock"])
        if lease["host"] == socket.gethostname() and lock.exists():
            return not _can_be_taken(lock)
        return self._unchanged_s(trial.number, lease) < LEASE_S

    def _unchanged_s(self, number: int, lease: Any) -> float:
        """For how long this lease was seen, by this process's own clock: those of other machines may be wrong."""
        if number not in self.seen or self.seen[number][0] != lease:
            self.seen[number] = lease, time.monotonic()
        return time.monotonic() - self.seen[number][1]

    def discard(self, number: int, reason: str, *, again: bool = True) -> None:
        """The trial never began and does not count; an enqueued point waits again, unless it is to be tried no more."""
        trial = self.trials()[number]
        self.note(trial._trial_id, refused=reason, withdrawn=True)
        if again and FIXED in trial.system_attrs:  # first: a kill in between may repeat the point, and does not lose it
            self.study.enqueue_trial(trial.system_attrs[FIXED])
        self.study.tell(number, state=TrialState.FAIL)


def lock_of(folder: Path, worker: str) -> Path:
    return (folder / "workers" / f"{worker}.lock").resolve()


def mark_infrastructure_failure(lock: Path) -> None:
    """Leave the mark of the worker with this lock: its end is no fault of its trial."""
    with contextlib.suppress(OSError):  # the folder may be gone as well; what has been lost is said anyway
        lock.with_suffix(INFRASTRUCTURE_FAILURE).touch()


def _failed_attempts(trial: FrozenTrial) -> int:
    """How many workers in a row the trial may have killed, its last one, which is dead, among them."""
    if _last_epoch(trial) > trial.user_attrs.get("attempts_since", 0):
        return 0
    attempts: int = trial.user_attrs.get("attempts", 0)
    return attempts - (_had_infrastructure_failure(trial) or _lost_with_its_parent(trial))


def _last_epoch(trial: FrozenTrial) -> int:
    return max(trial.intermediate_values, default=0)


def _had_infrastructure_failure(trial: FrozenTrial) -> bool:
    lease = trial.user_attrs.get("lease", {})
    return "lock" in lease and Path(lease["lock"]).with_suffix(INFRASTRUCTURE_FAILURE).exists()


def _lost_with_its_parent(trial: FrozenTrial) -> bool:
    """Whether more than the trial's worker has died, as in a power cut: a trial alone cannot kill its parent.

    The parent of a worker elsewhere is gone as well: it would have replaced the worker before its lease was silent for
    LEASE_S.
    """
    lease = trial.user_attrs.get("lease", {})
    if lease.get("parent_lock") is None:  # handed back, or leased by an earlier version
        return False
    lock = Path(lease["parent_lock"])
    return lease["host"] != socket.gethostname() or not lock.exists() or _can_be_taken(lock)


def is_at(worker: str, trial: FrozenTrial) -> bool:
    return trial.state is TrialState.RUNNING and _holder(trial) == worker


def _holder(trial: FrozenTrial) -> str | None:
    holder: str | None = trial.user_attrs.get("lease", {}).get("worker")
    return holder


def _can_be_taken(path: Path) -> bool:
    """Whether nobody alive holds the lock: the system takes locks from the dead."""
    try:
        with lock_file(path, timeout=0):
            return True
    except Timeout:
        return False
