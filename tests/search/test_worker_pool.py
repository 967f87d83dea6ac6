"""The worker pool reports how its workers ended; tested in this process."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from pool_spec import spec_of_pool

from mnist_compact.runs.jobs import how_ended
from mnist_compact.search import worker_pool
from mnist_compact.search.worker_pool import LocalWorkers


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (-9, "ended by signal 9 (Killed: out of memory?)"),
        (-15, "ended by signal 15 (Terminated)"),
        (1, "ended with exit status 1"),
    ],
)
def test_end_of_a_process_is_described(code, message):
    assert how_ended(code) == message


@pytest.fixture
def pool(tmp_path):
    """A worker pool and a function that adds a process with the given code; the pool is stopped at the end."""
    spec = spec_of_pool(tmp_path, "ours", private=True)
    started = LocalWorkers(spec, jobs=2)
    (tmp_path / "workers").mkdir()

    def begin(name, code):
        (tmp_path / f"workers/{name}.log").write_text(f"{name} begins\n")
        started.running.append((subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE), name))
        return started.running[-1][0]

    yield started, begin
    started.stop()


def test_worker_inherits_the_module_search_path(pool, monkeypatch):
    (started, _), given = pool, {}

    def start(command, *, env, **_):
        given.update(env)
        return subprocess.Popen([sys.executable, "-c", ""])

    monkeypatch.setattr(worker_pool, "subprocess", SimpleNamespace(Popen=start, STDOUT=subprocess.STDOUT))
    monkeypatch.syspath_prepend("/only/here")
    started.start(1)
    assert "/only/here" in given["PYTHONPATH"].split(os.pathsep)


def test_reap_reports_how_dead_workers_ended(pool):
    started, begin = pool
    for name, code in {
        "killed": "import os; os.kill(os.getpid(), 9)",
        "failed": "raise SystemExit(1)",
        "done": "",
    }.items():
        begin(name, code).communicate(timeout=180)
    died = {"killed": "ended by signal 9 (Killed: out of memory?)", "failed": "ended with exit status 1"}
    assert started.reap() == died
    assert started.last_log_line("killed") == "killed begins"
    assert len(started) == 0


def test_killed_worker_does_not_count_as_an_attempt(pool, tmp_path, monkeypatch):
    """A worker that waits for a lock of SQLite ignores SIGTERM, which is not a failure of its trial."""
    monkeypatch.setattr(worker_pool, "STOP_TIMEOUT_S", 5)
    started, begin = pool
    for name, ignores in {"deaf": "signal.SIG_IGN", "hearing": "signal.SIG_DFL"}.items():
        code = f"import signal, time; signal.signal(signal.SIGTERM, {ignores}); print(1, flush=True); time.sleep(60)"
        assert begin(name, code).stdout.readline() == b"1\n"
    deaf, hearing = (process for process, _ in started.running)
    with deaf.stdout, hearing.stdout:
        started.stop()
    assert (deaf.returncode, hearing.returncode, len(started)) == (-9, -15, 0)
    assert [path.name for path in (tmp_path / "workers").glob("*.marking_infrastructure_failures")] == [
        "deaf.marking_infrastructure_failures"
    ]
