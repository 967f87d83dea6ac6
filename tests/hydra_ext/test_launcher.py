"""The parallel jobs of a grid: their progress lines, their ends, and the result of the grid."""

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobStatus
from hydra.types import HydraContext, RunMode
from processes import PATIENCE_S, finish

import mnist_compact.common.cpu
from mnist_compact.common.cpu import cores
from mnist_compact.common.errors import ConfigError
from mnist_compact.common.run_files import LOG
from mnist_compact.hydra_ext import launcher
from mnist_compact.runs import jobs
from mnist_compact.runs.jobs import JobError, JobResult, ProcessJob, run_all

PROGRAM = (sys.executable, "-m", "mnist_compact")
SHORT = ("data=synthetic", "data.train_images=64", "train.batch_size=32", "train.epochs=1")
ENDLESS = 100_000  # epochs: enough for hours, so that a job is still running when it is killed
ENVIRONMENT = {
    **{key: value for key, value in os.environ.items() if key not in {"HYDRA_FULL_ERROR", "FORCE_COLOR"}},
    "CUDA_VISIBLE_DEVICES": "",
}

# Jobs without torch, which perform the action that their argument names.
ACTOR = """
import os, signal, sys, time
from pathlib import Path
from mnist_compact.records.record import NetworkFacts, RunRecord, Score, Status

folder, action = Path(sys.argv[1]), sys.argv[2]


def record(status, accuracy=None, reason=""):
    score = dict(split="test", weights="raw", at="last", epoch=1, loss=1.0, total=100_000, final=True)
    network = NetworkFacts(
        parameters=1, trainable_parameters=1, macs=1, receptive_field=1, input_shape=[1, 28, 28]
    )
    RunRecord(
        status=status, reason=reason, config={}, overrides=[], network=network, environment={}, evaluated="test",
        scores=[] if accuracy is None else [Score(accuracy=accuracy, correct=round(1_000 * accuracy), **score)],
    ).write(folder)


(folder / "began").write_text(str(time.monotonic()))
print("threads", os.environ.get("OMP_NUM_THREADS"))
print("terminal", {"FORCE_COLOR", "HYDRA_FULL_ERROR"} & set(os.environ))
if action.startswith("meet"):  # as many as it says, for as long as that takes
    while len(list(folder.parent.glob("*/began"))) < int(action.split()[1]):
        time.sleep(0.01)
if action.startswith(("meet", "complete")):
    record(Status.COMPLETED, 98.765)
elif action == "refuse":
    (folder / "began").unlink()
    print("mnist_compact: model.dropout must be in [0, 1), got 1.5\\noptim.lr must be above 0, got 0")
    sys.exit(2)
elif action == "raise":
    raise RuntimeError("the action is done")
elif action == "raise in a run":
    record(Status.FAILED, 50.0, "RuntimeError: in the middle")
    sys.exit(1)
elif action == "be killed":
    record(Status.RUNNING, 50.0)
    os.kill(os.getpid(), signal.SIGKILL)
elif action == "diverge":
    record(Status.DIVERGED, 50.0, "the loss was not finite")
    sys.exit(3)
elif action == "sleep":
    time.sleep(180)
elif action == "say nothing":
    pass
(folder / "ended").write_text(str(time.monotonic()))
"""


def line(folder, action):
    return [sys.executable, "-c", ACTOR, str(folder), action]


@pytest.fixture
def act(tmp_path, monkeypatch, capsys):
    """Run jobs with these actions; return their outcomes, the printed lines and their folders."""

    monkeypatch.setattr(jobs, "QUIET_S", math.inf)  # a job may take long on a busy machine

    def acted(*actions, workers=2, threads=None, **options):
        folders = [tmp_path / f"{number}_{action.replace(' ', '_')}" for number, action in enumerate(actions)]
        process_jobs = [
            ProcessJob(n, f"action={n}", line(folder, action), folder, threads)
            for n, (folder, action) in enumerate(zip(folders, actions, strict=True))
        ]
        outcomes = run_all(process_jobs, workers, total=len(actions), **options)
        assert sorted(outcomes) == list(range(len(actions)))
        return [outcomes[number] for number in range(len(actions))], capsys.readouterr().out.splitlines(), folders

    return acted


# Processes


def spans(folders):
    return sorted((float((f / "began").read_text()), float((f / "ended").read_text())) for f in folders)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_as_many_jobs_as_workers_run_at_a_time(act, workers):
    _, lines, folders = act(*[f"meet {workers}"] * 4, workers=workers)
    times = spans(folders)
    at_once = [sum(begin <= moment < end for begin, end in times) for moment, _ in times]
    assert max(at_once) == workers
    assert sorted(line for line in lines) == [f"{n + 1}/4  action={n}   98.77 %   0.0 s" for n in range(4)]


ENDS = {
    "complete": ("98.77 %", "", 98.765, False),
    "refuse": ("refused: model.dropout must be in", "model.dropout must be in [0, 1), got 1.5; optim.lr", None, True),
    "raise": ("failed: RuntimeError: the action is done", "RuntimeError: the action is done; see ", None, False),
    "raise in a run": ("failed: RuntimeError: in the middle", "RuntimeError: in the middle; see ", None, False),
    "be killed": ("failed: ended by signal 9 (Killed: out of memory?)", "ended by signal 9", None, False),
    "diverge": ("diverged: the loss was not finite", "", None, False),
    "say nothing": ("failed: ", "see ", None, False),
}


def test_end_of_each_job_is_reported_and_affects_no_other_job(act):
    outcomes, lines, folders = act(*ENDS)
    for number, (message, fault, value, refused) in enumerate(ENDS.values()):
        outcome = outcomes[number]
        assert outcome.message.startswith(message)
        assert (fault in outcome.fault) if fault else outcome.fault == ""
        assert (outcome.value, outcome.refused) == (value, refused)
        assert f"{number + 1}/7  action={number}   {outcome.message}" in lines
    assert [folder.name for folder in folders if not (folder / LOG).exists()] == ["1_refuse"]
    assert not folders[1].exists(), "a refused job leaves no files"
    assert "Traceback" in (folders[2] / LOG).read_text()


def test_job_that_cannot_be_started_does_not_stop_the_others(act, tmp_path):
    (tmp_path / "0_complete").write_text("in the way")
    outcomes, _, _ = act("complete", "complete")
    assert "0_complete" in outcomes[0].fault
    assert outcomes[1].value == 98.765


def test_fail_fast_ends_the_jobs_at_the_first_failure(act):
    outcomes, lines, folders = act("raise", "sleep", "complete", "complete", fail_fast=True)
    cause = f"because job 1 failed: RuntimeError: the action is done; see {folders[0] / LOG}"
    assert [outcome.fault for outcome in outcomes[1:]] == [
        *(f"interrupted, {cause}", f"not started, {cause}", f"not started, {cause}")
    ]
    assert [line.split()[0] for line in lines] == ["1/4", "2/4"]
    assert not folders[2].exists()


def test_grid_passes_fail_fast_on(stage):
    for fail_fast in (False, True):
        set_up = stage()
        set_up.launcher.fail_fast = fail_fast
        set_up.launch("seed=0", "seed=1")
        assert set_up.fail_fast is fail_fast
    with pytest.raises(ConfigError, match="fail_fast must be true or false, got 'yes'"):
        stage(options={"fail_fast": "yes"})


def test_running_job_shows_the_last_line_of_its_log(act, monkeypatch):
    monkeypatch.setattr(jobs, "QUIET_S", 0)
    _, lines, _ = act("meet 1", workers=1)
    assert lines[-1].startswith("1/1  action=0")
    assert lines[:-1]
    assert all(line.startswith("action=0   running, last output: ") for line in lines[:-1])


def test_record_and_log_of_an_earlier_run_are_ignored(act):
    act("diverge")
    _, _, folders = act("diverge", "complete")
    log = (folders[0] / LOG).read_bytes()
    for action in ("refuse", "be killed"):
        folder = folders[0]
        (outcome,) = run_all([ProcessJob(0, "", line(folder, action), folder, None)], 1, total=1).values()
        message, fault, value, refused = ENDS[action]
        assert outcome.message.startswith(message)
        assert fault in outcome.fault
        assert (outcome.value, outcome.refused) == (value, refused)
        assert (folder / LOG).read_bytes().startswith(log)
        assert len((folder / LOG).read_bytes()) > len(log)


def test_job_gets_its_share_of_threads_and_no_terminal(act, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    for threads, seen in ((3, "3"), (None, "7")):
        _, _, (folder,) = act("complete", threads=threads)
        assert (folder / LOG).read_text().splitlines()[-2:] == [f"threads {seen}", "terminal set()"]


def test_job_inherits_the_module_search_path(tmp_path, monkeypatch):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/only_here.py").write_text("print('found')")
    monkeypatch.syspath_prepend(tmp_path / "lib")
    run_all(
        [ProcessJob(0, "", [sys.executable, "-c", "import mnist_compact, only_here"], tmp_path / "job", None)],
        1,
        total=1,
    )
    assert (tmp_path / "job" / LOG).read_text() == "found\n"


# The interface to Hydra


class Stage:
    """A launcher that does not run its jobs; `jobs` and `workers` record what would have run."""

    def __init__(self, monkeypatch, *overrides, n_jobs=0, cores=4, outcomes=None, options=None):
        for place in (launcher, mnist_compact.common.cpu):
            monkeypatch.setattr(place, "cores", lambda: cores)
        monkeypatch.setattr(launcher, "run_all", self.run_all)
        self.outcomes = outcomes or {}
        loader = GlobalHydra.instance().config_loader()
        config = loader.load_configuration("config", ["hydra.sweep.dir=grid", *overrides], RunMode.MULTIRUN)
        self.launcher = launcher.ProcessLauncher(n_jobs, **(options or {}))
        self.launcher.setup(
            hydra_context=HydraContext(config_loader=loader, callbacks=None), task_function=None, config=config
        )

    def run_all(self, given, workers, total, *, fail_fast):
        self.jobs, self.workers, self.total = given, workers, total
        self.fail_fast = fail_fast
        return {job.number: self.outcomes.get(job.number, JobResult("", value=float(job.number))) for job in given}

    def launch(self, *overrides, first=0):
        return self.launcher.launch([tuple(words.split()) for words in overrides], first)


@pytest.fixture
def stage(configure, monkeypatch):
    configure()  # Hydra is initialized with conf/
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return lambda *overrides, **more: Stage(monkeypatch, *overrides, **more)


def test_jobs_get_their_folder_and_the_overrides_of_the_grid(stage):
    set_up = stage("hydra.verbose=false", "machine.threads=1", "hydra.mode=MULTIRUN")
    set_up.launch("model=m1 seed=0 machine.threads=1", "model=m3 seed=1 machine.threads=1", first=4)
    assert [str(job.folder) for job in set_up.jobs] == ["grid/4_m1_adam_seed0", "grid/5_m3_adam_seed1"]
    assert [job.label for job in set_up.jobs] == ["model=m1 seed=0", "model=m3 seed=1"]
    assert set_up.jobs[1].command == [
        *PROGRAM,
        "--config-name=config",
        "hydra.sweep.dir=grid", "hydra.verbose=false",
        "model=m3", "seed=1", "machine.threads=1",
        "hydra.mode=RUN", "hydra.run.dir='grid/5_m3_adam_seed1'",
    ]  # fmt: skip
    assert set_up.total == 6


def test_folder_names_have_no_special_characters_of_overrides(stage):
    set_up = stage()
    set_up.launch("model=m1 model.dropout=0.1 optim.lr=0.1", "experiment=m3_logged seed=2")
    for job in set_up.jobs:
        assert re.fullmatch(r"[\w./-]+", str(job.folder)), job.folder


@pytest.mark.parametrize(
    ("n_jobs", "overrides", "workers", "omp", "added"),
    [
        (0, ["seed=0"], 1, None, []),  # one job uses the whole machine
        (1, ["seed=0", "seed=1"], 1, None, []),
        (0, ["seed=0", "seed=1"], 2, 2, ["machine.threads=2"]),  # 4 cores
        (0, [f"seed={n}" for n in range(5)], 4, 1, ["machine.threads=1"]),
        (3, [f"seed={n}" for n in range(4)], 3, 1, ["machine.threads=1"]),
        (5, [f"seed={n}" for n in range(5)], 5, 1, ["machine.threads=1"]),
        (2, ["seed=0 machine.threads=3", "seed=1 machine.threads=3"], 2, 2, []),
        (2, ["seed=0 machine.threads=0", "seed=1 machine.threads=0"], 2, 2, []),  # requested: all cores for each
    ],
)
def test_parallel_jobs_share_the_cores(stage, n_jobs, overrides, workers, omp, added):
    set_up = stage(n_jobs=n_jobs)
    returned = set_up.launch(*overrides)
    assert set_up.workers == workers
    assert {job.threads for job in set_up.jobs} == {omp}
    for job, words, result in zip(set_up.jobs, overrides, returned, strict=True):
        assert job.command[5:-2] == [*words.split(), *added]
        assert list(result.overrides) == job.command[5:-2]


def test_hydra_receives_values_and_errors(stage, capsys):
    outcomes = {1: JobResult("", fault="no memory"), 2: JobResult("", fault="seed must be", refused=True)}
    completed, failed, refused = stage(outcomes=outcomes).launch("seed=0", "seed=1", "seed=-1")
    assert completed.status is JobStatus.COMPLETED
    assert completed.return_value == 0.0
    assert "hydra" not in completed.cfg
    assert completed.cfg.seed == 0
    assert completed.hydra_cfg.hydra.job.num == 0
    assert completed.hydra_cfg.hydra.runtime.output_dir == f"{Path.cwd()}/grid/0_m3_adam_seed0"
    assert completed.working_dir == str(Path.cwd())
    for result, message in (
        (failed, "job 2 (seed=1) failed: no memory"),
        (refused, "job 3 (seed=-1) was refused: seed"),
    ):
        assert result.status is JobStatus.FAILED
        with pytest.raises(JobError) as raised:
            _ = result.return_value
        assert str(raised.value).startswith(f"2 of 3 jobs did not finish; {message}")
        assert raised.value.status == 2, "a refused job determines the exit status"
    assert capsys.readouterr() == ("", "")


def test_single_failure_exits_with_1(stage):
    (failed,) = stage(outcomes={0: JobResult("", fault="no memory")}).launch("seed=1")
    with pytest.raises(JobError, match=r"^job 1 \(seed=1\) failed: no memory$") as raised:
        _ = failed.return_value
    assert raised.value.status == 1


@pytest.mark.parametrize("n_jobs", [-1, "two", 1.5])
def test_invalid_number_of_jobs_is_refused(stage, n_jobs):
    with pytest.raises(ConfigError, match=rf"hydra\.launcher\.n_jobs must be .* at least 0, got {n_jobs!r}"):
        stage(n_jobs=n_jobs)


# The program


def start(cwd, *arguments, **more):
    return subprocess.Popen(
        [*PROGRAM, *arguments],
        cwd=cwd, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # Processes that a shell starts in the background ignore SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        **more,
    )  # fmt: skip


def call(cwd, *arguments):
    return finish(start(cwd, *arguments))


def record(folder):
    return json.loads((folder / "result.json").read_text())


def process_of(folder):
    """Return the id of the process whose command line ends with this run folder."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue  # it has ended
        if f"hydra.run.dir='{folder}'".encode() in words:
            return int(path.parent.name)
    raise LookupError(folder)


def wait_for(condition, process):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the condition never became true"
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.process
def test_grid_runs_every_member_once_in_the_given_folders(tmp_path):
    folders = ("hydra.sweep.dir=grid", "hydra.sweep.subdir=${model.name}/${seed}")
    done = call(tmp_path, "-m", *SHORT, *folders, "model=m1,m3")
    assert (done.returncode, done.stderr) == (0, "")
    runs = ["m1/0", "m3/0"]
    for run in runs:
        result = record(tmp_path / "grid" / run)
        assert result["status"] == "completed"
        share = max(1, cores() // min(2, cores()))
        assert result["environment"]["threads"] == share
        assert result["overrides"][: len(SHORT)] == list(SHORT)
        log = (tmp_path / "grid" / run / "log.txt").read_text()
        assert re.search(rf"^completed after 1 epoch, \d+\.\d s · grid/{run}$", log, re.MULTILINE)
    assert done.stdout.splitlines()[-1] == "2 runs in grid"
    assert all(any(line.split()[:1] == [run] for line in done.stdout.splitlines()) for run in runs), done.stdout


@pytest.mark.slow
@pytest.mark.process
def test_killed_job_does_not_stop_the_others(tmp_path):
    grid, epochs = tmp_path / "grid", f"train.epochs={ENDLESS},1,2"
    process = start(
        tmp_path, "-m", *SHORT[:-1], "budget=none", "hydra.sweep.dir=grid", "hydra.launcher.n_jobs=2", epochs
    )
    wait_for((grid / "0_m3_adam_seed0" / "checkpoint.pt").exists, process)
    os.kill(process_of("grid/0_m3_adam_seed0"), signal.SIGKILL)
    done = finish(process)
    statuses = [record(grid / f"{n}_m3_adam_seed{n}")["status"] for n in range(3)]
    assert statuses == ["running", "completed", "completed"]
    assert f"1/3  train.epochs={ENDLESS}   failed: ended by signal 9 (Killed: out of memory?)\n" in done.stdout
    assert done.stdout.splitlines()[-1] == "3 runs in grid"
    assert done.returncode == 1
    assert done.stderr == (
        f"mnist_compact: 1 of 3 jobs did not finish; job 1 (train.epochs={ENDLESS}) failed: "
        "ended by signal 9 (Killed: out of memory?); see grid/0_m3_adam_seed0/log.txt\n"
    )


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize(
    ("number", "to_all", "status"),
    [(signal.SIGINT, False, 130), (signal.SIGINT, True, 130), (signal.SIGTERM, False, 143)],
    ids=["SIGINT to the grid", "Ctrl-C on a terminal", "SIGTERM to the grid"],
)
def test_interrupted_grid_ends_its_jobs_which_save_their_epochs(tmp_path, number, to_all, status):
    endless = (*SHORT[:-1], "budget=none", f"train.epochs={ENDLESS}")
    process = start(
        tmp_path,
        "-m",
        *endless,
        "hydra.sweep.dir=grid",
        "hydra.launcher.n_jobs=2",
        "seed=0,1,2",
        start_new_session=True,
    )
    folders = [tmp_path / "grid" / f"{n}_m3_adam_seed{n}" for n in range(3)]
    wait_for(lambda: all((folder / "checkpoint.pt").exists() for folder in folders[:2]), process)
    under_way = [process_of(folder.relative_to(tmp_path)) for folder in folders[:2]]
    (os.killpg if to_all else os.kill)(process.pid, number)
    done = finish(process)
    assert (done.returncode, done.stderr) == (status, "")
    assert [record(folder)["status"] for folder in folders[:2]] == ["interrupted"] * 2
    assert not folders[2].exists()
    assert not any(Path(f"/proc/{pid}").exists() for pid in under_way)
    assert done.stdout.splitlines()[-1] == "2 runs in grid"


@pytest.mark.slow
@pytest.mark.process
def test_optuna_sweeper_of_hydra_receives_the_scores(tmp_path):
    done = call(
        tmp_path, "-m", *SHORT, "hydra.sweep.dir=grid", "hydra/sweeper=optuna", "hydra.sweeper.direction=maximize",
        "hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=2", "optim.lr=interval(1e-3,1e-1)",
    )  # fmt: skip
    assert done.returncode == 0
    scores = [record(tmp_path / "grid" / f"{n}_m3_adam_seed0")["scores"] for n in range(2)]
    best = max(
        score["accuracy"] for run in scores for score in run if score["split"] != "train" and score["at"] == "last"
    )
    found = (tmp_path / "grid" / "optimization_results.yaml").read_text()
    assert float(re.search(r"best_value: (.*)", found).group(1)) == best
