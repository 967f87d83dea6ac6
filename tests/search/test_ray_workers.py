"""What Ray is asked for and how its answers are read, with a fake Ray. test_ray_searches.py runs a real one."""

import importlib
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from hydra import compose
from pool_spec import spec_of_pool

from mnist_compact.common.errors import EXIT_WITHOUT_DATA, ConfigError, ExecutionError
from mnist_compact.search import ray_task, worker
from mnist_compact.search.preflight import check_settings
from mnist_compact.search.worker_spec import WorkerSpec

MODULE = "mnist_compact.search.ray_workers"


class RayError(Exception):
    """Stands for ray.exceptions.RayError."""


class FakeRay(ModuleType):
    """The functions of Ray that are used: what was called, and the results of the tasks that have ended."""

    def __init__(self):
        super().__init__("ray")
        self.called, self.submitted, self.results = [], [], {}
        self.connected, self.refusal = False, None

    def is_initialized(self):
        return self.connected

    def init(self, address, **options):
        if self.refusal:
            raise self.refusal
        self.connected = True
        self.called.append(("init", address, options))
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))  # as Ray does

    def cluster_resources(self):
        return {"CPU": 2.0}

    def remote(self, function):
        def submit(options, *arguments):
            self.submitted.append((function, options, arguments))
            return f"task {len(self.submitted) - 1}"

        return SimpleNamespace(
            options=lambda **options: SimpleNamespace(remote=lambda *arguments: submit(options, *arguments))
        )

    def wait(self, tasks, *, num_returns, timeout):
        assert num_returns == len(tasks)
        self.called.append(("wait", timeout))
        return [task for task in tasks if task in self.results], [task for task in tasks if task not in self.results]

    def get(self, task):
        if isinstance(self.results[task], Exception):
            raise self.results[task]
        return self.results[task]

    def cancel(self, task):
        self.called.append(("cancel", task))

    def shutdown(self):
        self.called.append(("shutdown",))


@pytest.fixture
def ray(monkeypatch):
    fake, exceptions = FakeRay(), ModuleType("ray.exceptions")
    exceptions.RayError = RayError
    monkeypatch.setitem(sys.modules, "ray", fake)
    monkeypatch.setitem(sys.modules, "ray.exceptions", exceptions)
    monkeypatch.setitem(sys.modules, MODULE, ModuleType(MODULE))  # restored at the end
    del sys.modules[MODULE]
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return fake


@pytest.fixture
def pool_at(ray, tmp_path, monkeypatch):
    """Return a function that prepares a pool of three workers."""
    monkeypatch.chdir(tmp_path)
    pools = []

    def prepared(address=None, cpus=1, gpus=0.0, folder="study"):
        Path(folder).mkdir()
        spec = spec_of_pool(folder, "head-1-a", private=False)
        workers = importlib.import_module(MODULE).RayWorkers(spec, 3, address=address, cpus=cpus, gpus=gpus)
        pools.append(workers)
        return workers

    yield prepared
    for each in pools:
        each.heartbeat.stop()


def test_workers_are_tasks_with_their_resources(ray, pool_at, tmp_path):
    pool = pool_at(cpus=4, gpus=0.5)
    pool.start(2)
    specs = [tmp_path / f"study/workers/head-1-a-{number}.json" for number in range(2)]
    resources = {"num_cpus": 4, "num_gpus": 0.5, "max_retries": 0}
    assert ray.submitted == [
        (ray_task.run_in_process, {"name": spec.stem, **resources}, (str(spec), str(tmp_path), 4)) for spec in specs
    ]
    found = WorkerSpec.read(specs[1])
    assert (found.worker, found.remote, found.machine.threads) == ("head-1-a-1", True, 4)
    assert pool.heartbeat.path.exists()
    assert (len(pool), pool.queued) == (2, 2)
    pool.log_of("head-1-a-0").touch()
    assert pool.queued == 1


def test_threads_that_the_user_sets_are_kept(pool_at):
    pool = pool_at(cpus=4)
    spec = replace(pool.spec, machine=replace(pool.spec.machine, threads=2))
    assert type(pool)(spec, 1, address=None, cpus=4, gpus=0.0).spec.machine.threads == 2


def test_password_is_only_in_a_file_that_others_cannot_read(ray, pool_at):
    pool = pool_at()
    pool.start(1)
    assert "secret" not in str(ray.submitted) + str(ray.called)
    holding = [path for path in (pool.folder / "workers").iterdir() if "secret" in path.read_text()]
    assert [path.name for path in holding] == ["head-1-a-0.json"]
    assert holding[0].stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("given", "environment", "address"),
    [(None, None, "local"), (None, "env:6379", "env:6379"), ("ours:6379", "env:6379", "ours:6379")],
)
def test_address_decides_whether_ray_is_started(ray, pool_at, monkeypatch, given, environment, address):
    if environment:
        monkeypatch.setenv("RAY_ADDRESS", environment)
    pool = pool_at(address=given)
    pool.start(1)
    pool.start(1)
    ((_, used, options),) = [call for call in ray.called if call[0] == "init"]
    assert used == address
    is_started = {"num_cpus", "object_store_memory", "_node_ip_address"} <= options.keys()
    assert is_started == (address == "local"), "Ray refuses these options for a cluster that exists"
    assert options["runtime_env"]["env_vars"]["PYTHONPATH"]


def test_signal_handler_of_the_search_is_kept(ray, pool_at):
    before = signal.getsignal(signal.SIGTERM)
    try:
        pool_at().start(1)
        assert signal.getsignal(signal.SIGTERM) is before
    finally:
        signal.signal(signal.SIGTERM, before)


def test_ray_that_cannot_be_used_ends_the_search(ray, pool_at):
    pool, ray.refusal = pool_at(address="there:6379"), ConnectionError("the reason")
    with pytest.raises(ExecutionError, match="Ray at there:6379 cannot be used: the reason"):
        pool.start(1)
    pool.stop()
    assert not pool.heartbeat.path.exists()


def test_reap_reports_exit_codes_and_tasks_without_one(ray, pool_at):
    pool = pool_at()
    pool.start(4)
    ray.results = {"task 0": 0, "task 1": -9, "task 2": RayError("The worker died.\n The node has failed. ")}
    assert pool.reap() == {
        "head-1-a-1": "ended by signal 9 (Killed: out of memory?)",
        "head-1-a-2": "ended without an exit code (Ray: RayError: The node has failed.)",
    }
    assert len(pool) == 1


def test_worker_without_data_ends_the_search(ray, pool_at):
    pool = pool_at()
    pool.start(1)
    pool.log_of("head-1-a-0").write_text("no network\n")
    ray.results = {"task 0": EXIT_WITHOUT_DATA}
    with pytest.raises(ExecutionError, match="the data cannot be loaded: no network"):
        pool.reap()


def test_stop_cancels_all_tasks_and_then_leaves_ray(ray, pool_at):
    pool = pool_at()
    pool.start(2)
    ray.results, heartbeat, wait = {"task 0": 0}, [], ray.wait

    def waited(*arguments, **options):
        heartbeat.append(pool.heartbeat.path.exists())
        return wait(*arguments, **options)

    ray.wait = waited
    pool.stop()
    assert [call[:2] for call in ray.called[1:]] == [
        ("cancel", "task 0"),
        ("cancel", "task 1"),
        ("wait", importlib.import_module(MODULE).STOP_TIMEOUT_S),
        ("shutdown",),
    ]
    assert heartbeat == [True], "a worker that is asked to end finishes its step"
    assert (pool.heartbeat.path.exists(), len(pool)) == (False, 0)
    marks = [path.name for path in (pool.folder / "workers").glob("*.marking_infrastructure_failures")]
    assert marks == ["head-1-a-1.marking_infrastructure_failures"], "it did not end in time"


class Process:
    """A worker's process that ends with a code once it is terminated, or after some looks."""

    def __init__(self, looks, code):
        self.looks, self.code, self.terminated = looks, code, False

    def poll(self):
        self.looks -= 1
        return None if self.looks >= 0 else self.code

    def terminate(self):
        self.terminated = True

    def wait(self):
        return self.code


@pytest.fixture
def task(tmp_path, monkeypatch):
    """Return a function that runs a task whose worker is replaced by a process, and what was started."""
    started = []

    def run(process, sleep=lambda seconds: None):
        def popen(command, **options):
            started.append((command, options))
            return process

        monkeypatch.setattr(ray_task.subprocess, "Popen", popen)
        monkeypatch.setattr(ray_task.time, "sleep", sleep)
        return ray_task.run_in_process(str(tmp_path / "node1.cluster-0.json"), "/where", 3)

    return run, started


def test_task_runs_a_process_and_writes_its_exit_code(task, tmp_path):
    run, started = task
    assert run(Process(looks=2, code=-9)) == -9
    assert (tmp_path / "node1.cluster-0.exit").read_text() == "-9\n"
    ((command, options),) = started
    assert command[1:] == ["-m", ray_task.__name__, str(tmp_path / "node1.cluster-0.json"), str(os.getpid())]
    assert (options["cwd"], options["env"]["OMP_NUM_THREADS"]) == ("/where", "3")
    assert options["stdout"].name == str(tmp_path / "node1.cluster-0.log")


def test_cancelled_task_asks_its_worker_to_end(task, tmp_path):
    def interrupt(seconds):
        raise KeyboardInterrupt  # as Ray does

    process = Process(looks=2, code=0)
    assert task[0](process, sleep=interrupt) == 0
    assert process.terminated
    assert (tmp_path / "node1.cluster-0.exit").read_text() == "0\n"


def test_worker_ends_with_the_process_of_its_task(tmp_path, monkeypatch):
    spec = replace(spec_of_pool(tmp_path, "head-1-a", private=False), remote=True)
    spec.write(tmp_path / "spec.json")
    specs = []
    monkeypatch.setattr(worker, "run_worker", lambda given: specs.append(given) or 4)
    assert ray_task.main(tmp_path / "spec.json", 4711) == 4
    assert specs == [replace(spec, parent=4711)]


SHARED = "hydra.sweeper.storage=journal:///shared/study.log"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "storage must be .* because SQLite's locks do not hold between machines, got None"),
        (
            ("hydra.sweeper.storage=postgresql://ada:secret@host/db",),
            r"storage must not contain a password, .*, got 'postgresql://ada:\*\*\*@host/db'",
        ),
        ((SHARED, "hydra.sweeper.n_jobs=0"), "n_jobs must be at least 1 with workers=ray, got 0"),
        ((SHARED, "hydra.sweeper.ray_cpus=0"), "ray_cpus must be at least 1, got 0"),
        ((SHARED, "hydra.sweeper.ray_gpus=1.5"), "ray_gpus must be 0, a share below 1, or a whole number, got 1.5"),
        ((SHARED, "hydra.sweeper.ray_gpus=-1"), "ray_gpus must be 0, a share below 1, or a whole number, got -1.0"),
    ],
)
def test_settings_that_ray_cannot_use_are_refused(configure, words, message):
    ray_words = ("hydra.sweeper.workers=ray", "hydra.sweeper.n_jobs=2")
    config = compose("config", overrides=["hydra/sweeper=compact", *ray_words, *words], return_hydra_config=True)
    with pytest.raises(ConfigError, match=rf"^hydra\.sweeper\.{message}$"):
        check_settings(config)


def test_search_without_the_extra_is_refused(type_in, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    status, _, errors = type_in("-m", "sweeps=smoke", "hydra.sweeper.workers=ray", SHARED)
    assert status == 2
    assert errors == (
        "mnist_compact: hydra.sweeper.workers=ray needs ray: pip install ray, or this package's extra 'ray'\n"
    )
    assert [*tmp_path.iterdir()] == []
