"""Searches in separate processes, killed at random moments: totals stay exact, and nothing is done twice."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from processes import kill, wait_for

from mnist_compact.search.counts import is_refused, tally
from mnist_compact.search.storage import open_storage

pytestmark = pytest.mark.process

LINE = [
    *(sys.executable, "-m", "mnist_compact", "-m", "sweeps=smoke", "hydra.sweeper.n_jobs=2"),
    *("data.evaluation_images=100", "train.batch_size=32", "hydra.sweeper.max_failures=30"),
]
N = 8
KILLS = 12  # in a soak test


def start(folder, *more, images=256, trials=N, env=None, stdout=subprocess.PIPE):
    command = [*LINE, f"data.train_images={images}", f"hydra.sweeper.n_trials={trials}", *more]
    return subprocess.Popen(
        command,
        cwd=folder,
        env=env,
        stdout=stdout,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=_restore_signals,
    )


def _restore_signals():
    """Restore the default handlers: a shell in the background or nohup makes its children ignore these signals."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def finish(process):
    output, _ = process.communicate(timeout=600)
    return output


def trials_of(folder, name="smoke", url=None):
    storage = open_storage(url or f"sqlite:///{folder}/outputs/sweeps/{name}/study.db")
    return optuna.load_study(study_name=name, storage=storage).get_trials(deepcopy=False)


def workers_of(folder, name="smoke"):
    """Process ids of the live workers of this test, found by their assignment files."""
    found = []
    for assignment in (folder / f"outputs/sweeps/{name}/workers").glob("*.json"):
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = process.read_bytes().split(b"\0")
            except OSError:
                continue
            ours = str(assignment.relative_to(folder)).encode() in words
            if ours and os.path.samefile(process.parent / "cwd", folder):
                found.append(int(process.parent.name))
    return found


def has_started(folder, name="smoke"):
    database = folder / "outputs/sweeps" / name / "study.db"
    return (
        bool(workers_of(folder, name))
        and database.exists()
        and any(trial.intermediate_values for trial in trials_of(folder, name))
    )


def epochs_reported(folder):
    """Number of epochs of all trials; 0 before the first worker, while the study is being created."""
    if not any(folder.glob("outputs/sweeps/smoke/workers/*.json")):
        return 0
    return sum(len(trial.intermediate_values) for trial in trials_of(folder))


def kill_after_next_epoch(folder, search, victims, generator):
    """Kill `victims()` at a random moment after the next reported epoch; return whether a trial was interrupted."""
    before = epochs_reported(folder)
    wait_for(lambda: search.poll() is not None or epochs_reported(folder) > before)
    time.sleep(generator.uniform(0, 0.5))
    return bool(tally(trials_of(folder)).running and kill(victims()))


def check_exact(folder, name="smoke", total=N, url=None):
    """Exactly `total` trials count, each has a folder with its own record, and no point was tried twice."""
    trials = trials_of(folder, name, url)
    counted = tally(trials)
    assert (counted.ended, counted.running) == (total, 0)
    trained = [trial for trial in trials if not is_refused(trial) and trial.state is not TrialState.WAITING]
    for trial in trained:
        if trial.state is TrialState.COMPLETE:
            folder_of_trial = folder / "outputs/sweeps" / name / trial.user_attrs["folder"]
            record = json.loads((folder_of_trial / "result.json").read_text())
            assert record["status"] == "completed"
            assert record["overrides"] == trial.user_attrs["overrides"]
            assert list(trial.intermediate_values) == [1, 2, 3]
            rows = (folder_of_trial / "metrics.csv").read_text().strip().splitlines()
            assert len(rows) == 4, "a header and one row per epoch"
    points = [tuple(sorted(trial.params.items())) for trial in trials if trial.params]
    assert len(set(points)) == len(points)
    assert {path.name for path in (folder / "outputs/sweeps" / name / "trials").iterdir()} == {
        f"{trial.number:04d}" for trial in trained
    }


@pytest.mark.slow
def test_search_reaches_its_total_and_rerunning_adds_nothing(tmp_path):
    first = finish(start(tmp_path))
    assert f"all {N} trials have ended" in first
    check_exact(tmp_path)
    rerun = finish(start(tmp_path))
    assert "continues" in rerun
    check_exact(tmp_path)
    more = finish(start(tmp_path, f"hydra.sweeper.n_trials={N + 2}"))
    assert f"all {N + 2} trials have ended" in more
    check_exact(tmp_path, total=N + 2)


def long_search(kills):
    """Settings with trials that are long and numerous enough to be killed while they run."""
    return {"images": 2048, "trials": 3} if kills == 1 else {"images": 4096, "trials": 16}


def kill_workers(folder, kills, generator):
    """Kill workers one after the other; return the search and how many kills interrupted a trial."""
    interrupted, search = 0, start(folder, **long_search(kills))
    while interrupted < kills and search.poll() is None:
        interrupted += kill_after_next_epoch(folder, search, lambda: workers_of(folder)[:1], generator)
    return search, interrupted


def kill_searches(folder, kills, generator, *, workers_too):
    """Kill searches one after the other, each of which continues the study; no worker outlives its search."""
    interrupted = 0
    while interrupted < kills:
        search = start(folder, **long_search(kills))
        pid = search.pid
        hit = kill_after_next_epoch(
            folder, search, lambda pid=pid: [pid, *(workers_of(folder) if workers_too else [])], generator
        )
        search.communicate(timeout=180)
        wait_for(lambda: not workers_of(folder))
        assert hit or tally(trials_of(folder)).ended < long_search(kills)["trials"], (
            "the search was over before enough kills"
        )
        interrupted += hit


# Without a trial number if the worker was between two trials.
DIED = r"ended by signal 9 \(Killed: out of memory\?\)( in trial \d+)?"


def test_search_killed_with_its_workers_continues_to_its_total(tmp_path):
    kill_searches(tmp_path, 1, random.Random(1), workers_too=True)
    assert f"all {long_search(1)['trials']} trials have ended" in finish(start(tmp_path, **long_search(1)))
    check_exact(tmp_path, total=long_search(1)["trials"])


@pytest.mark.slow
def test_killed_worker_is_replaced(tmp_path):
    search, interrupted = kill_workers(tmp_path, 1, random.Random(1))
    assert f"all {long_search(1)['trials']} trials have ended" in finish(search)
    check_exact(tmp_path, total=long_search(1)["trials"])
    assert interrupted == 1


@pytest.mark.soak
def test_killed_workers_are_replaced_and_their_trials_continue(tmp_path):
    search, interrupted = kill_workers(tmp_path, KILLS, random.Random(1))
    output = finish(search)
    if "workers died" in output:  # so many in a row that the search stopped with a message
        output += finish(start(tmp_path, **long_search(KILLS)))
    assert re.search(rf"worker \S+ {DIED}; the last line of its log: ", output)
    assert f"all {long_search(KILLS)['trials']} trials have ended" in output
    check_exact(tmp_path, total=long_search(KILLS)["trials"])
    assert interrupted == KILLS


@pytest.mark.soak
@pytest.mark.parametrize("workers_too", [pytest.param(False, id="parent"), pytest.param(True, id="parent and workers")])
def test_killed_search_leaves_no_workers_and_rerunning_continues_it(tmp_path, workers_too):
    kill_searches(tmp_path, KILLS, random.Random(2 + workers_too), workers_too=workers_too)
    finish(start(tmp_path, **long_search(KILLS)))
    check_exact(tmp_path, total=long_search(KILLS)["trials"])
    if not workers_too:
        assert tally(trials_of(tmp_path)).failed == 0, "workers that outlive their search release their trials"


@pytest.mark.slow
def test_two_searches_share_one_total(tmp_path):
    first = start(tmp_path)
    wait_for(lambda: has_started(tmp_path) or first.poll() is not None)
    second = start(tmp_path)
    outputs = [finish(search) for search in (first, second)]
    assert all(f"all {N} trials have ended" in output for output in outputs)
    check_exact(tmp_path)


@pytest.mark.soak
def test_trials_of_a_killed_machine_are_reclaimed_by_another(tmp_path):
    """The machines share only a journal, so only the expired lease shows that one of them was killed."""
    name_machines(tmp_path)
    url, line = f"journal://{tmp_path}/study.log", {"images": 4096, "trials": 6}
    searches = {}
    for name in ("killed", "left"):
        (tmp_path / name).mkdir()
        env = {**os.environ, "PYTHONPATH": str(tmp_path), "MACHINE": name}
        searches[name] = start(tmp_path / name, f"hydra.sweeper.storage={url}", env=env, **line)
    wait_for(lambda: machines_at_work(url) == set(searches), seconds=120)
    assert kill([searches["killed"].pid, *workers_of(tmp_path / "killed")]) == 3
    searches["killed"].communicate()
    output = finish(searches["left"])
    assert "all 6 trials have ended: 6 complete, 0 pruned, 0 failed" in output
    trained = [trial for trial in trials_of(tmp_path, url=url) if trial.state is TrialState.COMPLETE]
    assert len({tuple(sorted(trial.params.items())) for trial in trained}) == len(trained) == 6
    for trial in trained:
        folders = [tmp_path / name / "outputs/sweeps/smoke" / trial.user_attrs["folder"] for name in searches]
        records = [
            json.loads((folder / "result.json").read_text()) for folder in folders if (folder / "result.json").exists()
        ]
        assert [record["status"] for record in records].count("completed") == 1


def name_machines(folder):
    """Let the environment variable MACHINE be the host name of processes that import from this folder."""
    (folder / "sitecustomize.py").write_text("import os, socket\nsocket.gethostname = lambda: os.environ['MACHINE']\n")


def machines_at_work(url):
    """Names of the machines whose workers have trials."""
    if not Path(url.removeprefix("journal://")).exists():
        return set()
    try:
        running = [trial for trial in trials_of(None, url=url) if trial.state is TrialState.RUNNING]
    except KeyError:  # not created yet
        return set()
    return {trial.user_attrs["lease"]["host"] for trial in running if "overrides" in trial.user_attrs}


@pytest.mark.slow
@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_search_leaves_a_consistent_study_and_a_hint(tmp_path, signal_number):
    """The signals of Ctrl-C, of `kill` and of a closed terminal."""
    line = {"images": 4096, "trials": 4}  # long enough to be interrupted while they run
    search = start(tmp_path, **line)
    wait_for(lambda: has_started(tmp_path) or search.poll() is not None)
    search.send_signal(signal_number)
    output = finish(search)
    assert search.returncode == 128 + signal_number
    assert "rerun the command to continue" in output
    assert not workers_of(tmp_path)
    attributes = [trial.user_attrs for trial in trials_of(tmp_path) if trial.state is TrialState.RUNNING]
    released = {"attempts": 0, "lease": {"worker": None}}
    assert all(trial_attributes | released == trial_attributes for trial_attributes in attributes), (
        "at once, and with all attempts"
    )
    finish(start(tmp_path, **line))
    check_exact(tmp_path, total=line["trials"])
