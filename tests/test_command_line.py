"""The program in separate processes, as users and shells start it; some are killed."""

import csv
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from processes import PATIENCE_S, finish

pytestmark = pytest.mark.process

PROGRAM = (sys.executable, "-m", "mnist_compact")
CONSOLE_SCRIPT = Path(sys.executable).with_name("mnist-compact")

LEFT_OUT = {"HYDRA_FULL_ERROR", "FORCE_COLOR", "TTY_COMPATIBLE", "PYTHONWARNINGS", "COLUMNS"}
ENVIRONMENT = {
    **{key: value for key, value in os.environ.items() if key not in LEFT_OUT},
    "OMP_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
}

SMALL = ("data=synthetic", "data.train_images=256", "train.epochs=2", "machine.threads=1")
TINY = ("data=synthetic", "data.train_images=64", "train.batch_size=32", "train.epochs=1", "machine.threads=1")
# Every feature with state that a resumed run could lose.
STATEFUL = (
    "data=synthetic",
    "data.train_images=512",
    "train.batch_size=32",
    "train.epochs=6",
    "train.average_epochs=3",
    "machine.threads=1",
    "model=m3",
    "model.dropout=0.1",
    "augment=affine",
    "augment.ease_off_epochs=2",
    "optim=adam",
)
EPOCHS = 6  # far more than the kills take, even on a busy machine


def start(cwd, *arguments, program=PROGRAM, environment=(), **more):
    return subprocess.Popen(
        [*program, *arguments],
        cwd=cwd,
        env={**ENVIRONMENT, **dict(environment)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


def call(cwd, *arguments, **more):
    return finish(start(cwd, *arguments, **more))


def succeed(process):
    """Check for exit status 0 and an empty stderr, where warnings would be printed."""
    done = finish(process)
    assert (done.returncode, done.stderr) == (0, "")
    return done


def refused(done):
    """The single error message of a refused call."""
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("mnist_compact: ")
    assert done.stderr.count("mnist_compact: ") == 1
    return done.stderr.removeprefix("mnist_compact: ").removesuffix("\n")


def record(folder):
    return json.loads((folder / "result.json").read_text())


def metrics(folder):
    """Rows of metrics.csv without the column of times."""
    with (folder / "metrics.csv").open(newline="") as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def weights(folder):
    """Contents by name. Names that start with a dot are files that a killed process was writing."""
    return {path.name: path.read_bytes() for path in (folder / "weights").iterdir() if path.name[0] != "."}


def tree(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def run_folders(cwd):
    return sorted(path.parent.relative_to(cwd) for path in cwd.rglob("result.json"))


# A single run


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    """A run that is never interrupted: where it was started, its folder there, and what it printed."""
    cwd = tmp_path_factory.mktemp("single")
    done = succeed(start(cwd, *STATEFUL))
    (folder,) = run_folders(cwd)
    return cwd, folder, done.stdout


def test_run_writes_its_folder(single):
    cwd, folder, _ = single
    assert re.fullmatch(r"outputs/runs/\d{4}-\d\d-\d\d/\d\d-\d\d-\d\d_m3_adam_seed0_[0-9a-f]{6}", folder.as_posix())
    files = {path.relative_to(cwd / folder).as_posix() for path in (cwd / folder).rglob("*") if path.is_file()}
    assert files == {
        "result.json", "config.yaml", "metrics.csv", "layers.csv", "mistakes.npz", "checkpoint.pt",
        "checkpoint.previous.pt", "correct.bits",
        "weights/last.safetensors", "weights/best.safetensors",
        "weights/averaged_last.safetensors", "weights/averaged_best.safetensors",
        "curves.png", "confusion.png", "mistakes.png",
    }  # fmt: skip
    assert {path.relative_to(cwd).parts[0] for path in cwd.rglob("*")} == {"outputs"}


def test_run_records_configuration_and_results(single):
    cwd, folder, _ = single
    result = record(cwd / folder)
    assert result["status"] == "completed"
    assert result["epochs_done"] == EPOCHS
    assert result["overrides"] == [*STATEFUL]
    assert result["network"]["parameters"] == 3_928
    assert [row["epoch"] for row in metrics(cwd / folder)] == [str(1 + index) for index in range(EPOCHS)]
    config = yaml.safe_load((cwd / folder / "config.yaml").read_text())
    assert config == result["config"]
    assert config["data"]["train_images"] == 512


def test_without_a_terminal_only_complete_lines_are_printed(single):
    _, folder, stdout = single
    assert not re.search(r"[\r\x1b\x08]", stdout)
    assert stdout.endswith("\n")
    lines = stdout.splitlines()
    assert [line[:10] for line in lines if line.startswith("epoch")] == [
        f"epoch  {1 + index}/{EPOCHS}" for index in range(EPOCHS)
    ]
    assert any(line.startswith("parameters 3,928: trainable 3,928, not trainable 0") for line in lines)
    assert any(line.startswith(f"completed after {EPOCHS} epochs") and line.endswith(str(folder)) for line in lines)
    assert lines[-1] == "compare with: python -m mnist_compact.report outputs"


@pytest.mark.slow
def test_concurrent_runs_have_separate_folders_and_equal_weights(tmp_path):
    for process in [start(tmp_path, *TINY), start(tmp_path, *TINY)]:
        succeed(process)
    first, second = (tmp_path / folder for folder in run_folders(tmp_path))
    assert [record(folder)["status"] for folder in (first, second)] == ["completed"] * 2
    assert weights(first) == weights(second)


@pytest.mark.slow
def test_diverged_run_is_reported(tmp_path):
    done = call(tmp_path, *TINY, "optim=sgd", "optim.lr=1e30", "train.epochs=3")
    assert (done.returncode, done.stderr) == (3, "")
    (folder,) = run_folders(tmp_path)
    result = record(tmp_path / folder)
    assert result["status"] == "diverged"
    assert re.match(r"the loss was not finite in epoch \d, after \d+ images", result["reason"])
    assert result["reason"] in done.stdout.splitlines()


# A grid


@pytest.mark.slow
def test_grid_has_one_folder_and_ends_with_a_comparison(tmp_path):
    stdout = succeed(start(tmp_path, "-m", *TINY, "model=m1,m3", "seed=0")).stdout
    (grid,) = tmp_path.glob("outputs/grids/*/*")
    runs = [path.name for path in sorted(grid.iterdir()) if path.is_dir()]
    assert runs == ["0_m1_adam_seed0", "1_m3_adam_seed0"]
    assert [record(grid / run)["status"] for run in runs] == ["completed"] * 2
    assert len(run_folders(tmp_path)) == 2
    lines = [line for line in stdout.splitlines() if not line.startswith("model=")]  # progress lines on a slow machine
    ended, table = lines[:2], lines[2:]
    assert sorted(re.sub(r"  +.*", "", line) for line in ended) == ["1/2", "2/2"]
    assert table[-1] == f"2 runs in {grid.relative_to(tmp_path)}"
    for model, parameters in (("m1", "3,576"), ("m3", "3,928")):
        (row,) = (line for line in table if re.search(rf"\b{model}\b", line))
        assert parameters in row, stdout


# Refused commands leave no files


REFUSED = {
    "unknown key": (["optim.lrr=0.1"], ["optim.lrr", "Did you mean 'lr'?", "weight_decay"]),
    "unknown option": (["model=m9"], ["model=m9", "Did you mean 'm", "compact, m1, m2, m3"]),
    "unknown group": (["modle=m3"], ["modle", "Did you mean 'model'?"]),
    "added key": (["+optim.lrr=0.1"], ["optim.lrr", "Did you mean 'lr'?"]),
    "wrong type": (["train.epochs=many"], ["train.epochs", "a whole number, got 'many'"]),
    "unknown choice": (["model.activation=rleu"], ["model.activation", "'rleu'", "relu, leaky_relu, silu"]),
    "out of range": (["model.dropout=1.5"], ["model.dropout must be in [0, 1), got 1.5"]),
    "negative seed": (["seed=-1"], ["seed must be at least 0, got -1"]),
    "too small an image": (["model.layers.conv7.kernel=5"], ["model.layers.conv7.kernel", "4×4", "got 5"]),
    "batch above data": (["train.batch_size=1000000"], ["train.batch_size must be at most the 256", "got 1000000"]),
    "absent GPU": (["machine.device=cuda:7"], ["machine.device must be", "'cuda:7'"]),
    "unknown device": (["machine.device=abacus"], ["machine.device must be auto, cpu", "'abacus'"]),
    "too many parameters": (["model.layers.conv4.width=200"], ["budget.parameters_below", "8,000", "38,508"]),
    "too many epochs": (["train.epochs=16"], ["train.epochs must be at most", "15", "got 16"]),
    "no value": (["optim.lr"], ["'optim.lr' does not have the form key=value"]),
    "open bracket": (["model.order=[conv1"], ["'model.order=[conv1' cannot be read"]),
}


IN_GATE = {"unknown key"}  # the others are tested within one process by cli/test_train.py and config/


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [pytest.param(*case, id=name, marks=[] if name in IN_GATE else pytest.mark.slow) for name, case in REFUSED.items()],
)
def test_invalid_input_is_refused_in_one_line(tmp_path, overrides, expected):
    message = refused(call(tmp_path, *SMALL, *overrides))
    assert "\n" not in message
    assert [words for words in expected if words not in message] == [], message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_unwritable_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("in the way")
    message = refused(call(tmp_path, *TINY, "hydra.run.dir=file/run"))
    assert message == "file/run: Not a directory"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.slow
def test_folder_with_a_run_is_not_overwritten(single):
    cwd, folder, _ = single
    before = tree(cwd)
    message = refused(call(cwd, *SMALL, f"hydra.run.dir={folder}"))
    assert message == f"the run folder must be new, got {folder}, which already contains a run"
    assert tree(cwd) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["model.dropout=1.5", "optim.lr=-1"], ["model.dropout must be", "optim.lr must be"]),
        (["model.layers.conv4.width=200", "train.epochs=16"], ["budget.parameters_below must", "train.epochs must be"]),
    ],
    ids=["settings", "budget"],
)
def test_two_errors_are_reported_together(tmp_path, overrides, expected):
    message = refused(call(tmp_path, *SMALL, *overrides))
    for line, words in zip(message.splitlines(), expected, strict=True):
        assert line.startswith(words)
    assert list(tmp_path.iterdir()) == []


# Commands that do not train


def imported_by(cwd, *arguments):
    """The output of a call, and which slow libraries it imported."""
    code = (
        "import sys\n"
        "from mnist_compact.cli.train import main\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        "slow = {'torch', 'torchvision', 'pandas', 'optuna', 'matplotlib', 'numpy'}\n"
        "print(*sorted(slow & set(sys.modules)), file=sys.stderr)\n"
    )
    done = call(cwd, *arguments, program=(sys.executable, "-c", code))
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr.split()


def test_help_explains_every_group_without_slow_imports(tmp_path):
    from mnist_compact.cli.help import ABOUT_GROUPS

    stdout, slow = imported_by(tmp_path, "--help")
    assert slow == []
    for group, about in ABOUT_GROUPS.items():
        assert re.search(rf"^{group} .+\n +{re.escape(about)}$", stdout, re.MULTILINE), group
    for example in ("model=m3 optim=adam", "-m model=m1,m2,m3 seed=0,1", "resume=", "--cfg job"):
        assert f"python -m mnist_compact {example}" in stdout
    assert "mnist_compact.report" in stdout
    assert list(tmp_path.iterdir()) == []


def test_configuration_is_shown_without_slow_imports(tmp_path):
    stdout, slow = imported_by(tmp_path, "--cfg", "job", "optim.lr=0.025")
    assert slow == []
    config = yaml.safe_load(stdout)
    assert config["optim"]["lr"] == 0.025
    assert set(config) == {
        *("data", "model", "augment", "optim", "scheduler", "train", "machine", "budget", "callbacks", "seed"),
        "experiment",
    }
    assert list(tmp_path.iterdir()) == []


def test_planning_does_not_import_the_compiler(tmp_path):
    """Importing torch's compiler takes half a second in every process that checks a configuration before training."""
    code = (
        "import sys\n"
        "from mnist_compact import compose\n"
        "from mnist_compact.runs.trainer import check\n"
        "for optim in ('adam', 'nadam', 'muon'):\n    check(compose('model=stages', f'optim={optim}'))\n"
        "print('sympy' in sys.modules)\n"
    )
    done = call(tmp_path, program=(sys.executable, "-c", code))
    assert (done.stdout, done.returncode) == ("False\n", 0), done.stderr


@pytest.mark.skipif(not CONSOLE_SCRIPT.exists(), reason="the package is not installed beside this Python")
class TestConsoleScript:
    def test_is_the_module(self, tmp_path):
        arguments = ("--cfg", "job", "model=m1")
        by_name = succeed(start(tmp_path, *arguments, program=(CONSOLE_SCRIPT,)))
        assert by_name.stdout == succeed(start(tmp_path, *arguments)).stdout
        assert "name: m1" in by_name.stdout

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("typed", "offered"),
        [("model=", {"model=compact", "model=m1", "model=m2", "model=m3", "model=stages"}), ("optim.l", {"optim.lr="})],
    )
    def test_completes_words(self, tmp_path, typed, offered):
        line = f"mnist-compact {typed}"
        shell = {"COMP_LINE": line, "COMP_POINT": str(len(line)), "COMP_CWORD": "1"}
        done = succeed(start(tmp_path, "-sc", "query=bash", program=(CONSOLE_SCRIPT,), environment=shell))
        assert set(done.stdout.split()) == offered


# Killed, interrupted, resumed


@pytest.fixture(scope="module")
def whole(single):
    """The folder of the run that is never interrupted."""
    cwd, folder, _ = single
    return cwd / folder


def wait_for(condition, process):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert process.poll() is None, "the process ended before the moment to kill it"
        assert time.monotonic() < deadline, "the condition for the kill never became true"
        time.sleep(0.002)


def epochs_done(folder):
    return record(folder)["epochs_done"] if (folder / "result.json").exists() else 0


def rewritten(folder):
    return (folder / "result.json").stat().st_mtime_ns if (folder / "result.json").exists() else None


def kill(process):
    process.kill()
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == -signal.SIGKILL, "the process ended before it was killed"


def assert_same_run(folder, whole):
    assert weights(folder) == weights(whole)
    assert set(weights(whole)) == {
        "last.safetensors", "best.safetensors", "averaged_last.safetensors", "averaged_best.safetensors",
    }  # fmt: skip
    assert metrics(folder) == metrics(whole)
    assert len(metrics(folder)) == EPOCHS
    of_clock = {"seconds", "started_at", "finished_at", "environment", "overrides", "continuations"}
    ended, expected = ({k: v for k, v in record(path).items() if k not in of_clock} for path in (folder, whole))
    assert ended == expected
    assert ended["status"] == "completed"
    with np.load(folder / "mistakes.npz") as mistakes, np.load(whole / "mistakes.npz") as expected_mistakes:
        assert mistakes.files == expected_mistakes.files
        for name in mistakes.files:
            np.testing.assert_array_equal(mistakes[name], expected_mistakes[name])
    assert {"curves.png", "confusion.png", "mistakes.png"} <= {path.name for path in folder.iterdir()}


# Once after a complete epoch, and repeatedly, starting before the first epoch is complete.
@pytest.mark.parametrize(
    "moments",
    [
        pytest.param([epochs_done], id="once"),
        pytest.param([rewritten, *(epochs_done, rewritten) * 3], id="repeatedly", marks=pytest.mark.slow),
    ],
)
def test_killed_run_ends_like_an_uninterrupted_one(whole, tmp_path, moments):
    folder, line, chance = tmp_path / "run", [*STATEFUL, "hydra.run.dir=run"], random.Random(0)
    for read in moments:
        before = read(folder)
        process = start(tmp_path, *line)
        wait_for(lambda read=read, before=before: read(folder) != before, process)
        if folder.joinpath("checkpoint.pt").exists():
            time.sleep(chance.uniform(0, 0.5))
        kill(process)
        assert record(folder)["status"] == "running"
        line = ["resume=run"]

    done = succeed(start(tmp_path, "resume=run"))
    shown = [line for line in done.stdout.splitlines() if line.startswith("epoch")]
    assert 0 < len(shown) < EPOCHS
    assert_same_run(folder, whole)


@pytest.mark.slow
def test_ctrl_c_keeps_finished_epochs_and_prints_the_resume_command(whole, tmp_path):
    folder = tmp_path / "run"
    # A shell that started the tests in the background makes its children ignore SIGINT.
    process = start(
        tmp_path,
        *STATEFUL,
        "hydra.run.dir=run",
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    wait_for((folder / "checkpoint.pt").exists, process)
    process.send_signal(signal.SIGINT)
    done = finish(process)
    assert (done.returncode, done.stderr) == (130, "")
    assert record(folder)["status"] == "interrupted"
    assert 1 <= record(folder)["epochs_done"] < EPOCHS
    assert done.stdout.splitlines()[-1] == "continue with: python -m mnist_compact resume=run"

    succeed(start(tmp_path, "resume=run"))
    assert_same_run(folder, whole)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["optim.lr=0.1"], "resume accepts only train.epochs (increased) and machine.*, got optim.lr"),
        (
            [f"train.epochs={EPOCHS - 1}"],
            f"train.epochs must be at least the run's {EPOCHS}, got {EPOCHS - 1}",
        ),
        (["train.epochs=16"], "train.epochs must be at most budget.max_epochs = 15, got 16"),
        (["train.epochs=more"], "train.epochs must be a whole number, got 'more'"),
    ],
)
def test_resume_refuses_other_changes(whole, arguments, expected):
    before = tree(whole)
    assert refused(call(whole.parent, f"resume={whole.name}", *arguments)) == expected
    assert tree(whole) == before


@pytest.mark.slow
def test_resume_refuses_a_folder_without_a_run(tmp_path):
    assert refused(call(tmp_path, "resume=nowhere")).startswith("nowhere is not a run folder: result.json cannot be")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_resume_continues_for_more_epochs(single, tmp_path):
    cwd, folder, _ = single
    shutil.copytree(cwd / folder, tmp_path / "run")
    longer = EPOCHS + 1
    stdout = succeed(start(tmp_path, "resume=run", f"train.epochs={longer}")).stdout
    shown = [line[:10] for line in stdout.splitlines() if line.startswith("epoch")]
    assert shown == [f"epoch  {longer}/{longer}"]
    result = record(tmp_path / "run")
    assert result["status"] == "completed"
    assert result["epochs_done"] == result["config"]["train"]["epochs"] == longer
    *before, last = metrics(tmp_path / "run")
    assert before == metrics(cwd / folder)
    assert last["epoch"] == str(longer)
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["train"]["epochs"] == longer
