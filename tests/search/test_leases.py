"""Trial leases: which worker has which trial, and how many trials count towards the total."""

import time

import optuna
import pytest
from optuna.trial import TrialState

from mnist_compact.search.counts import tally
from mnist_compact.search.leases import LEASE_S, MAX_ATTEMPTS, UNLEASED_S, TrialLeases, claims_lock
from mnist_compact.search.stopping import StoppingCriteria, StopReason, stop_of
from mnist_compact.search.storage import StorageLost


@pytest.fixture(params=["sqlite", "journal"])
def leases_of(request, tmp_path):
    url = f"sqlite:///{tmp_path}/study.db" if request.param == "sqlite" else f"journal://{tmp_path}/study.log"
    from mnist_compact.search.storage import open_storage

    optuna.create_study(study_name="s", storage=open_storage(url), direction="maximize")
    return lambda worker, **how: TrialLeases(tmp_path, url, "s", worker, **{"private": True, **how})


def started_trial(leases, **attributes):
    trial = leases.study.ask()
    leases.lease(trial._trial_id)
    leases.note(trial._trial_id, overrides=["x=1"], attempts=1, **attributes)
    return trial


def settings(**changes):
    defaults = {
        "n_trials": 5,
        "target": None,
        "target_trials": 1,
        "max_failures": 3,
        "max_refusals": 4,
        "maximize": True,
    }
    return StoppingCriteria(**{**defaults, **changes})


def test_trial_of_a_live_worker_is_never_reclaimed(leases_of, monkeypatch):
    own, other = leases_of("ours"), leases_of("theirs")
    with other.alive:
        trial = started_trial(other)
        assert own.reclaim(own.trials()) is None
        monkeypatch.setattr("time.monotonic", lambda now=time.monotonic: now() + 1000)
        assert own.reclaim(own.trials()) is None, "its lease has expired, but it is alive on this machine"
        assert own.trials()[trial.number].user_attrs["lease"]["worker"] == "theirs"


def test_trial_of_a_dead_worker_is_reclaimed_once(leases_of):
    own, other = leases_of("ours"), leases_of("theirs")
    trial = started_trial(other)  # no process holds its lock, so it counts as dead
    other.lock_path.touch()
    reclaimed = own.reclaim(own.trials())
    assert reclaimed.number == trial.number
    assert own.holds(trial._trial_id)
    third = leases_of("other")
    with own.alive:
        assert third.reclaim(third.trials()) is None


@pytest.fixture
def clock(monkeypatch):
    """Both clocks of this process; `monotonic` and `wall` are added to their time."""

    class Clock:
        monotonic = wall = 0.0

    monkeypatch.setattr("time.monotonic", lambda now=time.monotonic: now() + Clock.monotonic)
    monkeypatch.setattr("time.time", lambda now=time.time: now() + Clock.wall)
    return Clock


@pytest.fixture
def trial_elsewhere(leases_of, monkeypatch):
    """A trial that a worker of another machine has started, and a function that renews its lease."""
    other = leases_of("theirs")

    def renew(trial_id):
        with monkeypatch.context() as patch:
            patch.setattr("socket.gethostname", lambda: "elsewhere")
            other.lease(trial_id)

    trial = started_trial(other)
    renew(trial._trial_id)
    return trial, renew


def test_lease_of_another_machine_expires_only_after_a_long_time(leases_of, trial_elsewhere, clock):
    trial, _ = trial_elsewhere
    own = leases_of("ours")
    assert own.reclaim(own.trials()) is None
    clock.monotonic += LEASE_S - 1
    assert own.reclaim(own.trials()) is None
    clock.monotonic += 2
    assert own.reclaim(own.trials()).number == trial.number


@pytest.mark.parametrize("skew_s", [-1e6, 1e6])
def test_wrong_clock_does_not_expire_a_renewed_lease(leases_of, trial_elsewhere, clock, skew_s):
    trial, renew = trial_elsewhere
    clock.wall = skew_s
    own = leases_of("ours")
    for _ in range(10):
        assert own.reclaim(own.trials()) is None
        clock.monotonic += 0.9 * LEASE_S
        renew(trial._trial_id)
    assert own.reclaim(own.trials()) is None


def test_released_trial_is_reclaimed_at_once_with_all_attempts(leases_of, monkeypatch):
    own, other = leases_of("ours"), leases_of("theirs")
    trial = started_trial(other)
    other.release()
    monkeypatch.setattr("socket.gethostname", lambda: "elsewhere")
    reclaimed = own.reclaim(own.trials())
    assert reclaimed.number == trial.number
    assert own.trials()[trial.number].user_attrs["attempts"] == 1
    other.release()
    assert own.holds(trial._trial_id), "a worker cannot release a trial that it no longer holds"


def test_new_trial_on_shared_storage_has_time_to_be_leased(leases_of, clock):
    own = leases_of("ours", private=False)
    own.study.ask()
    assert own.reclaim(own.trials()) is None
    clock.monotonic += UNLEASED_S - 1
    own.reclaim(own.trials())
    assert tally(own.trials()).running == 1
    clock.monotonic += 2
    own.reclaim(own.trials())
    assert tally(own.trials()).running == 0


def test_trial_that_lost_two_workers_fails(leases_of):
    leases = leases_of("ours")
    trial = leases.study.ask()
    leases.note(
        trial._trial_id,
        overrides=[],
        folder="trials/0000",
        attempts=MAX_ATTEMPTS,
        lease={"worker": None},
    )
    assert leases.reclaim(leases.trials()) is None
    (trial_after,) = leases.trials()
    assert trial_after.state is TrialState.FAIL
    assert "died 2 times" in trial_after.user_attrs["reason"]
    assert tally(leases.trials()).ended == 1


def test_losing_the_storage_does_not_count_as_an_attempt(leases_of):
    def attempts(worker):
        """Let one more worker reclaim the trial and die."""
        leases = leases_of(worker)
        leases.lock_path.touch()
        reclaimed = leases.reclaim(leases.trials()) is not None
        return leases, reclaimed, leases.trials()[0].user_attrs["attempts"]

    started_trial(leases_of("first"), folder="trials/0000")
    leases_of("first").lock_path.touch()
    for number in range(MAX_ATTEMPTS + 1):
        leases, reclaimed, counted = attempts(f"lost{number}")
        assert (reclaimed, counted) == (True, MAX_ATTEMPTS), "the attempts of the first worker and of this one"
        with pytest.raises(StorageLost), leases.marking_infrastructure_failures():
            raise StorageLost("it is missing", "restore it, and then")
    assert attempts("killed")[1:] == (True, MAX_ATTEMPTS)
    leases, reclaimed, _ = attempts("late")
    assert not reclaimed
    assert "died 2 times" in leases.trials()[0].user_attrs["reason"]


def reclaimed_by(leases_of, worker):
    """Let a worker of its own search reclaim the trial and die; return the trial, None if it has failed."""
    leases = leases_of(worker, parent=f"parent-{worker}")
    leases.lock_path.touch()
    return leases.reclaim(leases.trials())


def test_attempts_that_end_with_their_parent_do_not_count(leases_of):
    started_trial(leases_of("first", parent="parent-first"), folder="trials/0000")
    leases_of("first").lock_path.touch()
    for number in range(3 * MAX_ATTEMPTS):
        assert reclaimed_by(leases_of, f"worker{number}") is not None
    with leases_of("parent-alive").alive:
        for _ in range(MAX_ATTEMPTS):
            assert reclaimed_by(leases_of, "alive") is not None
        assert reclaimed_by(leases_of, "other") is None, "the search has outlived two workers in a row"
    assert leases_of("any").trials()[0].state is TrialState.FAIL


def test_expired_lease_of_another_machine_is_lost_with_its_parent(leases_of, monkeypatch, clock):
    with monkeypatch.context() as patch:
        patch.setattr("socket.gethostname", lambda: "elsewhere")
        other = leases_of("theirs", parent="parent-theirs")
        trial = started_trial(other, folder="trials/0000")
        other.note(trial._trial_id, attempts=MAX_ATTEMPTS)
    own = leases_of("ours")
    assert own.reclaim(own.trials()) is None
    clock.monotonic += LEASE_S + 1
    assert own.reclaim(own.trials()) is not None


def test_attempts_of_other_machines_count_while_their_own_coordinator_lives(leases_of, monkeypatch, clock):
    """Its workers on the nodes of a cluster ask; it would have ended them if it were dead."""
    with monkeypatch.context() as patch:
        patch.setattr("socket.gethostname", lambda: "another_node")
        trial = started_trial(leases_of("theirs", parent="parent"), folder="trials/0000")
    own = leases_of("ours", parent="parent")
    for attempts in range(2, MAX_ATTEMPTS + 1):
        own.reclaim(own.trials())
        clock.monotonic += LEASE_S + 1
        assert own.reclaim(own.trials()) is not None
        assert own.trials()[trial.number].user_attrs["attempts"] == attempts
        with monkeypatch.context() as patch:
            patch.setattr("socket.gethostname", lambda: "another_node")
            own.lease(trial._trial_id)
            own.note(trial._trial_id, lease={**own.trials()[trial.number].user_attrs["lease"], "worker": "theirs"})
    own.reclaim(own.trials())
    clock.monotonic += LEASE_S + 1
    assert own.reclaim(own.trials()) is None
    assert own.trials()[trial.number].state is TrialState.FAIL


@pytest.mark.parametrize(("private", "shared"), [(True, True), (False, False)])
def test_machines_that_share_the_folder_have_a_claims_lock_each(tmp_path, monkeypatch, private, shared):
    """A machine that dies may hold a lock of a network file system for ever."""
    paths = set()
    for host in ("login", "node"):
        monkeypatch.setattr("socket.gethostname", lambda host=host: host)
        paths.add(claims_lock(tmp_path, private=private).lock_file)
    assert (len(paths) == 1) == shared


def test_attempts_that_finished_an_epoch_do_not_count(leases_of):
    trial = started_trial(leases_of("first"), folder="trials/0000")
    leases_of("first").lock_path.touch()
    for number in range(1, 2 * MAX_ATTEMPTS + 1):
        worker = leases_of(f"worker{number}")
        worker.lock_path.touch()
        assert worker.reclaim(worker.trials()) is not None
        worker.storage.set_trial_intermediate_value(trial._trial_id, number, 50.0)
    for number in range(MAX_ATTEMPTS):
        worker = leases_of(f"stuck{number}")
        worker.lock_path.touch()
        assert worker.reclaim(worker.trials()) is not None
    assert leases_of("late").reclaim(leases_of("late").trials()) is None
    assert "died 2 times before an epoch was complete" in leases_of("any").trials()[0].user_attrs["reason"]


def test_trial_that_never_started_does_not_count_and_is_enqueued_again(leases_of):
    leases = leases_of("ours")
    leases.study.enqueue_trial({"x": 3})
    leases.study.ask()  # and dies before it has written its overrides
    assert leases.reclaim(leases.trials()) is None
    counted = tally(leases.trials())
    assert (counted.ended, counted.running, counted.refused) == (0, 0, 0), "no network was refused"
    assert leases.study.ask().suggest_int("x", 0, 9) == 3


def test_trial_beyond_the_total_is_discarded(leases_of):
    first, second = leases_of("first", private=False), leases_of("second", private=False)
    ended(first, TrialState.COMPLETE, 99.0)
    assert first.needs_another(2)
    assert second.needs_another(2)
    numbers = [started_trial(leases).number for leases in (first, second)]
    assert not first.is_surplus(numbers[0], 2), "the trial with the lower number stays, whichever worker checks first"
    assert second.is_surplus(numbers[1], 2)
    second.discard(numbers[1], "another machine was first")
    counted = tally(first.trials())
    assert (counted.ended, counted.running, counted.refused) == (1, 1, 0)
    assert not first.needs_another(2)


def test_enqueued_trial_is_discarded_before_a_started_one(leases_of):
    leases = leases_of("ours", private=False)
    leases.study.enqueue_trial({"x": 3})
    leases.study.add_trial(optuna.trial.create_trial(state=TrialState.RUNNING, user_attrs={"overrides": []}))
    assert not leases.is_surplus(1, 1)
    late = started_trial(leases)
    assert late.number == 0
    assert leases.is_surplus(late.number, 1)
    assert leases.is_surplus(1, 1), "it does not stay either, because both workers may check at once"
    leases.discard(late.number, "another machine was first")
    assert not leases.is_surplus(1, 1)
    assert leases.study.ask().suggest_int("x", 0, 9) == 3


def ended(leases, state, value=None, **attributes):
    trial = started_trial(leases, **attributes)
    leases.study.tell(trial, value, state=state)


def test_failure_of_a_dead_trial_is_written_to_its_record(leases_of, configure, recording_callback, tmp_path):
    from mnist_compact.records.record import RunRecord, Status
    from mnist_compact.runs.trainer import run

    run(configure("train.epochs=1"), tmp_path / "trials/0000", recording_callback())
    record = RunRecord.read(tmp_path / "trials/0000")
    record.status = Status.RUNNING  # as after a kill
    record.write(tmp_path / "trials/0000")
    dead = leases_of("dead")
    trial = started_trial(dead, folder="trials/0000")
    dead.note(trial._trial_id, attempts=MAX_ATTEMPTS, lease={"worker": None})
    assert leases_of("alive").reclaim(dead.trials()) is None
    reason = f"its worker died {MAX_ATTEMPTS} times before an epoch was complete"
    record = RunRecord.read(tmp_path / "trials/0000")
    assert (record.status, record.reason) == (Status.FAILED, reason)
    (failed,) = dead.trials()
    assert (failed.state, failed.user_attrs["reason"]) == (TrialState.FAIL, reason)


def test_counts_and_stopping_criteria(leases_of):
    leases = leases_of("ours")
    ended(leases, TrialState.COMPLETE, 99.0)
    ended(leases, TrialState.PRUNED, refused="over budget")
    ended(leases, TrialState.PRUNED)
    ended(leases, TrialState.FAIL)
    started_trial(leases)
    counted = tally(leases.trials())
    assert (counted.complete, counted.pruned, counted.failed, counted.running, counted.refused) == (1, 1, 1, 1, 1)
    assert stop_of(leases.trials(), settings(n_trials=4)) is None
    assert stop_of(leases.trials(), settings(n_trials=3)) == StopReason("all 3 trials have ended")
    stop = stop_of(leases.trials(), settings(max_failures=0))
    assert (stop.reason.partition(",")[0], stop.failed) == ("1 failed trial", True)
    stop = stop_of(leases.trials(), settings(target=98.5))
    assert stop == StopReason("1 trial better than the target of 98.5")
    assert stop_of(leases.trials(), settings(target=98.5, target_trials=2)) is None
    assert stop_of(leases.trials(), settings(target=99.0)) is None, "a score must exceed the target"


def test_many_refusals_in_a_row_stop_with_a_hint(leases_of):
    leases = leases_of("ours")
    ended(leases, TrialState.COMPLETE, 99.0)
    for _ in range(4):
        ended(leases, TrialState.PRUNED, refused="over budget")
    ended(leases, TrialState.FAIL, refused="another machine was first", withdrawn=True)
    stop = stop_of(leases.trials(), settings())
    assert stop.failed
    assert stop.reason.startswith("4 refused proposals in a row"), "discarded trials are not counted"
    assert "the last because over budget. " in stop.reason
    assert "increase hydra.sweeper.max_refusals" in stop.reason
    ended(leases, TrialState.COMPLETE, 99.0)
    assert stop_of(leases.trials(), settings()) is None
