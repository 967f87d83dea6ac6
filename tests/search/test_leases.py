"""Who works on what, and how many count."""

import time

import optuna
import pytest
from optuna.trial import TrialState

from mnist_compact.search.counts import tally
from mnist_compact.search.leases import LEASE_S, MAX_ATTEMPTS, UNLEASED_S, TrialLeases
from mnist_compact.search.stopping import StoppingCriteria, StopReason, stop_of
from mnist_compact.search.storage import StorageLost


@pytest.fixture(params=["sqlite", "journal"])
def ledger_of(request, tmp_path):
    url = f"sqlite:///{tmp_path}/study.db" if request.param == "sqlite" else f"journal://{tmp_path}/study.log"
    from mnist_compact.search.storage import open_storage

    optuna.create_study(study_name="s", storage=open_storage(url), direction="maximize")
    return lambda worker, **how: TrialLeases(tmp_path, url, "s", worker, **{"private": True, **how})


def begun(leases, **attributes):
    trial = leases.study.ask()
    leases.lease(trial._trial_id)
    leases.note(trial._trial_id, overrides=["x=1"], attempts=1, **attributes)
    return trial


def settings(**changes):
    usual = {"n_trials": 5, "target": None, "target_trials": 1, "max_failures": 3, "max_refusals": 4, "maximize": True}
    return StoppingCriteria(**{**usual, **changes})


def test_a_live_peers_trial_is_never_taken(ledger_of, monkeypatch):
    ours, theirs = ledger_of("ours"), ledger_of("theirs")
    with theirs.alive:
        trial = begun(theirs)
        assert ours.reclaim(ours.trials()) is None
        monkeypatch.setattr("time.monotonic", lambda now=time.monotonic: now() + 1000)
        assert ours.reclaim(ours.trials()) is None, "silent for long, but alive on this machine"
        assert ours.trials()[trial.number].user_attrs["lease"]["worker"] == "theirs"


def test_a_dead_workers_trial_is_taken_over_once_and_keeps_its_number(ledger_of):
    ours, theirs = ledger_of("ours"), ledger_of("theirs")
    trial = begun(theirs)  # its lock is held by nobody: it is dead
    theirs.lock_path.touch()
    taken = ours.reclaim(ours.trials())
    assert taken.number == trial.number
    assert ours.holds(trial._trial_id)
    other = ledger_of("other")
    with ours.alive:
        assert other.reclaim(other.trials()) is None


@pytest.fixture
def clock(monkeypatch):
    """Both clocks of the process that looks; `monotonic` and `wall` set them forward."""

    class Clock:
        monotonic = wall = 0.0

    monkeypatch.setattr("time.monotonic", lambda now=time.monotonic: now() + Clock.monotonic)
    monkeypatch.setattr("time.time", lambda now=time.time: now() + Clock.wall)
    return Clock


@pytest.fixture
def elsewhere(ledger_of, monkeypatch):
    """A worker of another machine, and a trial that it has begun; `leases` says that it still has it."""
    theirs = ledger_of("theirs")

    def leases(trial_id):
        with monkeypatch.context() as patch:
            patch.setattr("socket.gethostname", lambda: "elsewhere")
            theirs.lease(trial_id)

    trial = begun(theirs)
    leases(trial._trial_id)
    return trial, leases


def test_lease_of_another_machine_expires_only_after_a_long_time(ledger_of, elsewhere, clock):
    trial, _ = elsewhere
    ours = ledger_of("ours")
    assert ours.reclaim(ours.trials()) is None
    clock.monotonic += LEASE_S - 1
    assert ours.reclaim(ours.trials()) is None
    clock.monotonic += 2
    assert ours.reclaim(ours.trials()).number == trial.number


@pytest.mark.parametrize("skew_s", [-1e6, 1e6])
def test_a_clock_that_is_wrong_takes_no_trial_that_is_still_leased(ledger_of, elsewhere, clock, skew_s):
    trial, leases = elsewhere
    clock.wall = skew_s
    ours = ledger_of("ours")
    for _ in range(10):
        assert ours.reclaim(ours.trials()) is None
        clock.monotonic += 0.9 * LEASE_S
        leases(trial._trial_id)
    assert ours.reclaim(ours.trials()) is None


def test_released_trial_is_reclaimed_at_once_with_all_attempts(ledger_of, monkeypatch):
    ours, theirs = ledger_of("ours"), ledger_of("theirs")
    trial = begun(theirs)
    theirs.release()
    monkeypatch.setattr("socket.gethostname", lambda: "elsewhere")
    taken = ours.reclaim(ours.trials())
    assert taken.number == trial.number
    assert ours.trials()[trial.number].user_attrs["attempts"] == 1
    theirs.release()
    assert ours.holds(trial._trial_id), "what is no longer one's own cannot be handed back"


def test_on_shared_storages_a_new_trial_has_time_to_be_leased(ledger_of, clock):
    ours = ledger_of("ours", private=False)
    ours.study.ask()
    assert ours.reclaim(ours.trials()) is None
    clock.monotonic += UNLEASED_S - 1
    ours.reclaim(ours.trials())
    assert tally(ours.trials()).running == 1
    clock.monotonic += 2
    ours.reclaim(ours.trials())
    assert tally(ours.trials()).running == 0


def test_a_trial_that_lost_two_workers_has_failed(ledger_of):
    leases = ledger_of("ours")
    trial = leases.study.ask()
    leases.note(
        trial._trial_id,
        overrides=[],
        folder="trials/0000",
        attempts=MAX_ATTEMPTS,
        lease={"worker": None},
    )
    assert leases.reclaim(leases.trials()) is None
    (left,) = leases.trials()
    assert left.state is TrialState.FAIL
    assert "died 2 times" in left.user_attrs["reason"]
    assert tally(leases.trials()).ended == 1


def test_losing_the_storage_does_not_count_as_an_attempt(ledger_of):
    def attempts(worker):
        """After one more has taken the trial over, and gone."""
        leases = ledger_of(worker)
        leases.lock_path.touch()
        taken = leases.reclaim(leases.trials()) is not None
        return leases, taken, leases.trials()[0].user_attrs["attempts"]

    begun(ledger_of("first"), folder="trials/0000")
    ledger_of("first").lock_path.touch()
    for number in range(MAX_ATTEMPTS + 1):
        leases, taken, counted = attempts(f"lost{number}")
        assert (taken, counted) == (True, MAX_ATTEMPTS), "the first one's and this one's"
        with pytest.raises(StorageLost), leases.marking_infrastructure_failures():
            raise StorageLost("it is missing", "restore it, and then")
    assert attempts("killed")[1:] == (True, MAX_ATTEMPTS)
    leases, taken, _ = attempts("late")
    assert not taken
    assert "died 2 times" in leases.trials()[0].user_attrs["reason"]


def taken_over(ledger_of, worker):
    """The trial as the worker, whose parent has its name, takes it over and dies; None where it has failed."""
    leases = ledger_of(worker, parent=f"parent-{worker}")
    leases.lock_path.touch()
    return leases.reclaim(leases.trials())


def test_attempts_that_end_with_their_parent_do_not_count(ledger_of):
    begun(ledger_of("first", parent="parent-first"), folder="trials/0000")
    ledger_of("first").lock_path.touch()
    for number in range(3 * MAX_ATTEMPTS):
        assert taken_over(ledger_of, f"worker{number}") is not None
    with ledger_of("parent-alive").alive:
        for _ in range(MAX_ATTEMPTS):
            assert taken_over(ledger_of, "alive") is not None
        assert taken_over(ledger_of, "other") is None, "its parent has outlived two workers in a row"
    assert ledger_of("any").trials()[0].state is TrialState.FAIL


def test_expired_lease_of_another_machine_is_lost_with_its_parent(ledger_of, monkeypatch, clock):
    with monkeypatch.context() as patch:
        patch.setattr("socket.gethostname", lambda: "elsewhere")
        theirs = ledger_of("theirs", parent="parent-theirs")
        trial = begun(theirs, folder="trials/0000")
        theirs.note(trial._trial_id, attempts=MAX_ATTEMPTS)
    ours = ledger_of("ours")
    assert ours.reclaim(ours.trials()) is None
    clock.monotonic += LEASE_S + 1
    assert ours.reclaim(ours.trials()) is not None


def test_attempts_that_finished_an_epoch_do_not_count(ledger_of):
    trial = begun(ledger_of("first"), folder="trials/0000")
    ledger_of("first").lock_path.touch()
    for number in range(1, 2 * MAX_ATTEMPTS + 1):
        worker = ledger_of(f"worker{number}")
        worker.lock_path.touch()
        assert worker.reclaim(worker.trials()) is not None
        worker.storage.set_trial_intermediate_value(trial._trial_id, number, 50.0)
    for number in range(MAX_ATTEMPTS):
        worker = ledger_of(f"stuck{number}")
        worker.lock_path.touch()
        assert worker.reclaim(worker.trials()) is not None
    assert ledger_of("late").reclaim(ledger_of("late").trials()) is None
    assert "died 2 times before an epoch was complete" in ledger_of("any").trials()[0].user_attrs["reason"]


def test_trial_that_never_started_does_not_count_and_is_enqueued_again(ledger_of):
    leases = ledger_of("ours")
    leases.study.enqueue_trial({"x": 3})
    leases.study.ask()  # and dies before it has said what it does
    assert leases.reclaim(leases.trials()) is None
    counted = tally(leases.trials())
    assert (counted.ended, counted.running, counted.refused) == (0, 0, 0), "no network was refused"
    assert leases.study.ask().suggest_int("x", 0, 9) == 3


def test_trial_beyond_the_total_is_withdrawn(ledger_of):
    first, second = ledger_of("first", private=False), ledger_of("second", private=False)
    ended(first, TrialState.COMPLETE, 99.0)
    assert first.needs_another(2)
    assert second.needs_another(2)
    numbers = [begun(leases).number for leases in (first, second)]
    assert not first.is_surplus(numbers[0], 2), "the lower number stays, whoever looks first"
    assert second.is_surplus(numbers[1], 2)
    second.discard(numbers[1], "another machine was first")
    counted = tally(first.trials())
    assert (counted.ended, counted.running, counted.refused) == (1, 1, 0)
    assert not first.needs_another(2)


def test_enqueued_trial_is_withdrawn_before_one_that_has_started(ledger_of):
    leases = ledger_of("ours", private=False)
    leases.study.enqueue_trial({"x": 3})
    leases.study.add_trial(optuna.trial.create_trial(state=TrialState.RUNNING, user_attrs={"overrides": []}))
    assert not leases.is_surplus(1, 1)
    late = begun(leases)
    assert late.number == 0
    assert leases.is_surplus(late.number, 1)
    assert leases.is_surplus(1, 1), "nor does it stay where both may be looking at once"
    leases.discard(late.number, "another machine was first")
    assert not leases.is_surplus(1, 1)
    assert leases.study.ask().suggest_int("x", 0, 9) == 3


def ended(leases, state, value=None, **attributes):
    trial = begun(leases, **attributes)
    leases.study.tell(trial, value, state=state)


def test_a_trial_that_lost_its_last_worker_has_failed_in_its_record_too(
    ledger_of, configure, recording_callback, tmp_path
):
    from mnist_compact.records.record import RunRecord, Status
    from mnist_compact.runs.trainer import run

    run(configure("train.epochs=1"), tmp_path / "trials/0000", recording_callback())
    record = RunRecord.read(tmp_path / "trials/0000")
    record.status = Status.RUNNING  # as a kill leaves it
    record.write(tmp_path / "trials/0000")
    dead = ledger_of("dead")
    trial = begun(dead, folder="trials/0000")
    dead.note(trial._trial_id, attempts=MAX_ATTEMPTS, lease={"worker": None})
    assert ledger_of("alive").reclaim(dead.trials()) is None
    reason = f"its worker died {MAX_ATTEMPTS} times before an epoch was complete"
    record = RunRecord.read(tmp_path / "trials/0000")
    assert (record.status, record.reason) == (Status.FAILED, reason)
    (told,) = dead.trials()
    assert (told.state, told.user_attrs["reason"]) == (TrialState.FAIL, reason)


def test_counts_and_stopping_criteria(ledger_of):
    leases = ledger_of("ours")
    ended(leases, TrialState.COMPLETE, 99.0)
    ended(leases, TrialState.PRUNED, refused="over budget")
    ended(leases, TrialState.PRUNED)
    ended(leases, TrialState.FAIL)
    begun(leases)
    counted = tally(leases.trials())
    assert (counted.complete, counted.pruned, counted.failed, counted.running, counted.refused) == (1, 1, 1, 1, 1)
    assert stop_of(leases.trials(), settings(n_trials=4)) is None
    assert stop_of(leases.trials(), settings(n_trials=3)) == StopReason("all 3 trials have ended")
    stop = stop_of(leases.trials(), settings(max_failures=0))
    assert (stop.reason.partition(",")[0], stop.failed) == ("1 failed trial", True)
    stop = stop_of(leases.trials(), settings(target=98.5))
    assert stop == StopReason("1 trial better than the target of 98.5")
    assert stop_of(leases.trials(), settings(target=98.5, target_trials=2)) is None
    assert stop_of(leases.trials(), settings(target=99.0)) is None, "past it, not at it"


def test_many_refusals_in_a_row_stop_with_a_hint(ledger_of):
    leases = ledger_of("ours")
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
