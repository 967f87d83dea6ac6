"""What Slurm's commands are given and how their answers are read, without running them; the template runs in bash."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra import compose
from pool_spec import spec_of_pool

from mnist_compact.common.errors import EXIT_WITHOUT_DATA, ConfigError, ExecutionError
from mnist_compact.search import slurm, slurm_task
from mnist_compact.search.preflight import check_settings
from mnist_compact.search.slurm import TEMPLATE, SlurmWorkers, states_of
from mnist_compact.search.worker_spec import WorkerSpec


class Commands:
    """Slurm's commands: what was called, and what each of them answers."""

    def __init__(self):
        self.called = []
        self.answers = {"sbatch": (0, "4711\n"), "squeue": (0, ""), "scancel": (0, "")}

    def run(self, *command):
        self.called.append(command)
        code, output = self.answers[command[0]]
        return SimpleNamespace(returncode=code, stdout=output, stderr="the reason")


@pytest.fixture
def commands(monkeypatch):
    found = Commands()
    monkeypatch.setattr(slurm, "_run", found.run)
    monkeypatch.setattr(slurm, "POLL_S", 0)
    monkeypatch.setattr(slurm, "STOP_POLL_S", 0)
    return found


@pytest.fixture
def pool(commands, tmp_path):
    spec = spec_of_pool(tmp_path / "100%", "login-1-a", private=False)
    (tmp_path / "100%").mkdir()
    pool = SlurmWorkers(spec, jobs=3, template=TEMPLATE)
    yield pool
    pool.heartbeat.stop()


def test_workers_are_tasks_of_one_array(pool, commands):
    pool.start(3)
    (command,) = commands.called
    workers = pool.folder / "workers"
    assert command == (
        *("sbatch", "--parsable", "--array=0-2", "--job-name=mnist_compact-login-1-a", f"--chdir={Path.cwd()}"),
        f"--output={str(workers).replace('%', '%%')}/login-1-a-0_%a.log",  # %% is Slurm's word for %
        *("--open-mode=append", str(TEMPLATE), sys.executable, "-m", "mnist_compact.search.slurm_task"),
        str(workers / "login-1-a-0.json"),
    )
    assert (len(pool), pool.queued) == (3, 3)


def test_password_is_only_in_a_file_that_others_cannot_read(pool, commands):
    pool.start(1)
    assert "secret" not in str(commands.called)
    holding = [path for path in (pool.folder / "workers").iterdir() if "secret" in path.read_text()]
    assert [path.name for path in holding] == ["login-1-a-0.json"]
    assert holding[0].stat().st_mode & 0o777 == 0o600


def test_refused_job_names_the_reason(pool, commands):
    commands.answers["sbatch"] = 1, ""
    with pytest.raises(ExecutionError, match="sbatch failed: the reason"):
        pool.start(1)
    pool.stop()
    assert commands.called[-1][0] == "scancel", "sbatch may have failed after the job was accepted"


def test_output_of_squeue_is_parsed():
    assert states_of("4711_0 RUNNING\n 4711_1   PENDING \n\n") == {"4711_0": "RUNNING", "4711_1": "PENDING"}


@pytest.mark.parametrize(
    ("state", "queued", "left"),
    [
        ("PENDING", 1, 1),
        ("CONFIGURING", 1, 1),
        ("REQUEUED", 1, 1),
        ("RUNNING", 0, 1),
        ("COMPLETING", 0, 1),
        ("SUSPENDED", 0, 1),
        ("COMPLETED", 0, 0),
        ("CANCELLED", 0, 0),
        ("OUT_OF_MEMORY", 0, 0),
        ("NODE_FAIL", 0, 0),
        (None, 0, 0),  # Slurm has forgotten it
    ],
)
def test_state_tells_whether_a_worker_waits_or_has_ended(pool, commands, state, queued, left):
    pool.start(1)
    commands.answers["squeue"] = 0, f"4711_0 {state}\n" if state else ""
    ended = pool.ended()
    assert (pool.queued, len(pool), len(ended)) == (queued, left, 1 - left)


def test_nothing_has_changed_while_the_controller_does_not_respond(pool, commands):
    pool.start(2)
    commands.answers["squeue"] = 1, ""
    assert (pool.ended(), len(pool), pool.queued) == ({}, 2, 2)


def test_reap_reports_exit_codes_and_tasks_without_one(pool, commands):
    pool.start(3)
    commands.answers["squeue"] = 0, "4711_0 COMPLETED\n4711_1 FAILED\n4711_2 OUT_OF_MEMORY\n"
    for task, code in enumerate((0, 1)):
        (pool.folder / f"workers/login-1-a-0_{task}.exit").write_text(f"{code}\n")
    assert pool.reap() == {
        "login-1-a-0_1": "ended with exit status 1",
        "login-1-a-0_2": "ended without an exit code (Slurm's state: OUT_OF_MEMORY)",
    }
    assert pool.last_log_line("login-1-a-0_2") == "(there is no log)"


def test_worker_without_data_ends_the_search(pool, commands):
    pool.start(1)
    commands.answers["squeue"] = 0, "4711_0 FAILED\n"
    (pool.folder / "workers/login-1-a-0_0.exit").write_text(f"{EXIT_WITHOUT_DATA}\n")
    (pool.folder / "workers/login-1-a-0_0.log").write_text("no network\n")
    with pytest.raises(ExecutionError, match="the data cannot be loaded: no network"):
        pool.reap()


def test_stop_cancels_all_jobs_and_ends_the_heartbeat_last(pool, commands):
    pool.start(1)
    heartbeat, states = pool.heartbeat.path, iter(["4711_0 RUNNING\n", "4711_0 CANCELLED\n"])
    existed = []

    def squeue(*command):
        commands.called.append(command)
        existed.append(heartbeat.exists())
        return SimpleNamespace(returncode=0, stdout=next(states) if command[0] == "squeue" else "", stderr="")

    slurm._run = squeue  # `commands` restores it
    pool.stop()
    ours = (f"--user={os.getuid()}", "--name=mnist_compact-login-1-a")
    assert [command[0] for command in commands.called] == ["sbatch", "scancel", "squeue", "squeue"]
    assert commands.called[1] == ("scancel", *ours)
    assert existed == [True] * 3, "a worker that Slurm ends by SIGTERM finishes its step"
    assert (heartbeat.exists(), len(pool)) == (False, 0)


def test_worker_that_does_not_end_in_time_does_not_count_as_an_attempt(pool, commands, monkeypatch):
    monkeypatch.setattr(slurm, "STOP_TIMEOUT_S", 0)
    pool.start(1)
    pool.stop()
    marks = [path.name for path in (pool.folder / "workers").glob("*.marking_infrastructure_failures")]
    assert marks == ["login-1-a-0_0.marking_infrastructure_failures"]


def test_workers_end_with_the_heartbeat_if_they_cannot_be_cancelled(pool, commands, capsys):
    pool.start(1)
    commands.answers["scancel"] = 1, ""
    pool.stop()
    assert not pool.heartbeat.path.exists()
    assert "scancel failed: the reason; cancel the tasks by: scancel --user=" in capsys.readouterr().out


@pytest.mark.parametrize(("given", "threads"), [({}, "1"), ({"SLURM_CPUS_PER_TASK": "3"}, "3")])
def test_template_becomes_the_worker_with_the_threads_of_its_task(given, threads):
    """The worker is the process of the script itself, which the signal before the time limit reaches."""
    command = ["bash", str(TEMPLATE), "bash", "-c", 'echo "$$ $OMP_NUM_THREADS $1"', "-", "a b"]
    env = {key: value for key, value in os.environ.items() if not key.startswith("SLURM")} | given
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.read() == f"{process.pid} {threads} a b\n"


def test_template_asks_for_a_signal_and_for_another_start():
    text = TEMPLATE.read_text()
    assert "\n#SBATCH --signal=B:TERM@60\n" in text
    assert "\n#SBATCH --requeue\n" in text


def test_how_to_page_shows_the_template():
    page = Path(__file__).parents[2] / "docs/how-to/slurm.md"
    assert f"```bash\n{TEMPLATE.read_text()}```\n" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(("restarts", "worker"), [(None, "array_2"), ("1", "array_2.1")])
def test_task_runs_a_worker_of_its_own_and_writes_its_exit_code(pool, tmp_path, monkeypatch, restarts, worker):
    specs, spec = [], WorkerSpec.read(pool.write_spec(slurm.replace(pool.spec, worker="array")))
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "2")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    if restarts:
        monkeypatch.setenv("SLURM_RESTART_COUNT", restarts)
    monkeypatch.setattr(slurm_task, "run_worker", lambda given: specs.append(given) or 4)
    assert slurm_task.main(pool.folder / "workers/array.json") == 4
    machine = slurm.replace(spec.machine, threads=1)
    assert specs == [slurm.replace(spec, worker=worker, machine=machine)]
    assert (pool.folder / "workers/array_2.exit").read_text() == "4\n"


def test_task_that_ends_by_an_error_has_failed(pool, monkeypatch):
    pool.write_spec(slurm.replace(pool.spec, worker="array"))
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "0")
    monkeypatch.setattr(slurm_task, "run_worker", lambda given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        slurm_task.main(pool.folder / "workers/array.json")
    assert (pool.folder / "workers/array_0.exit").read_text() == "1\n"


@pytest.fixture
def check(configure, monkeypatch):
    """Check the settings of a search with two workers of Slurm."""
    monkeypatch.setattr(slurm.shutil, "which", lambda program: f"/usr/bin/{program}")

    def checked(*words):
        slurm_words = ("hydra.sweeper.workers=slurm", "hydra.sweeper.n_jobs=2")
        overrides = ["hydra/sweeper=compact", *slurm_words, *words]
        check_settings(compose("config", overrides=overrides, return_hydra_config=True))

    return checked


SHARED = "hydra.sweeper.storage=journal:///shared/study.log"
NOT_SHARED = r"storage must be postgresql://.* because SQLite's locks do not hold between machines, got "


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), NOT_SHARED + "None"),
        (("hydra.sweeper.storage=sqlite:///study.db",), NOT_SHARED + "'sqlite:///study.db'"),
        (
            ("hydra.sweeper.storage=postgresql://ada:secret@host/db",),
            r"storage must not contain a password, .*\.pgpass.*, got 'postgresql://ada:\*\*\*@host/db'",
        ),
        ((SHARED, "hydra.sweeper.n_jobs=0"), "n_jobs must be at least 1 with workers=slurm, got 0"),
        (
            (SHARED, "hydra.sweeper.slurm_template=missing.sh"),
            r'slurm_template must be .* by "\$@", got \'missing\.sh\'',
        ),
    ],
)
def test_settings_that_slurm_cannot_use_are_refused(check, words, message):
    with pytest.raises(ConfigError, match=rf"^hydra\.sweeper\.{message}$"):
        check(*words)


@pytest.mark.parametrize(
    "url", ["journal:///shared/study.log", "postgresql://ada@host/db", "mysql+pymysql://ada@host/db", "${oc.env:URL}"]
)
def test_storages_that_several_machines_can_share_are_accepted(check, monkeypatch, url):
    monkeypatch.setenv("URL", "postgresql://ada:secret@host/db")
    check(f"hydra.sweeper.storage='{url}'")


def test_slurm_is_refused_where_its_programs_are_missing(check, monkeypatch):
    monkeypatch.setattr(slurm.shutil, "which", lambda program: None)
    with pytest.raises(ConfigError, match="workers must be local on a machine without sbatch, squeue, scancel"):
        check(SHARED)
