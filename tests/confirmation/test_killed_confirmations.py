"""Confirmations in their own processes, killed at random moments: the number of seeds stays exact."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from processes import kill, wait_for

from mnist_compact.common.cpu import cores
from mnist_compact.runs.trainer import run

pytestmark = pytest.mark.process

SEEDS, EPOCHS = 3, 3
FIRST_SEED = 3000
SMALL = ("data=synthetic", "data.train_images=1024", "data.evaluation_images=100", "train.batch_size=32")
LINE = (*(sys.executable, "-m", "mnist_compact.confirm"), *("--run", "past", "--split", "synthetic", "--jobs", "2"))


@pytest.fixture
def folder(configure, recording_callback, tmp_path):
    """A folder that contains a run to confirm."""
    run(configure(*SMALL, f"train.epochs={EPOCHS}", "model=m1"), tmp_path / "past", recording_callback())
    return tmp_path


def start(folder, *more):
    line = [*LINE, "--seeds", str(SEEDS), *more]
    return subprocess.Popen(line, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process):
    output, _ = process.communicate(timeout=600)
    return output


def seed_processes(folder):
    """Process ids of the running seeds that the confirmation of this test has started."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            here = os.path.samefile(process / "cwd", folder)
        except OSError:
            continue
        if b"mnist_compact.cli.confirm_seed" in words and here:
            found.append(int(process.name))
    return found


def check_exact(folder, count=SEEDS):
    seeds = folder / "outputs/confirmations/past-synthetic/seeds"
    assert sorted(path.name for path in seeds.iterdir()) == [str(FIRST_SEED + index) for index in range(count)]
    for home in seeds.iterdir():
        record = json.loads((home / "result.json").read_text())
        assert (record["status"], record["epochs_done"]) == ("completed", EPOCHS)
        assert record["config"]["seed"] == int(home.name)
        assert len((home / "metrics.csv").read_text().splitlines()) == EPOCHS + 1


def completed(folder):
    """The records of seeds that have ended, and when they were written."""
    records = (folder / "outputs/confirmations/past-synthetic/seeds").glob("*/result.json")
    return {path: path.stat().st_mtime_ns for path in records if json.loads(path.read_text())["status"] == "completed"}


def test_killed_confirmation_continues_to_the_exact_count(folder):
    confirmation = start(folder)
    wait_for(lambda: len(completed(folder)) > 0 and seed_processes(folder))
    kill([confirmation.pid, *seed_processes(folder)])
    confirmation.communicate(timeout=180)
    before = completed(folder)
    output = finish(start(folder))
    check_exact(folder)
    assert "mean > 99.40: no" in output
    assert before.items() <= completed(folder).items(), "nothing trained twice"


@pytest.mark.soak
def test_confirmation_killed_at_any_moment_continues(folder):
    generator = random.Random(0)
    for round_number in range(12):
        confirmation = start(folder)
        wait_for(lambda confirmation=confirmation: seed_processes(folder) or confirmation.poll() is not None)
        time.sleep(generator.uniform(0.5, 4.0))
        kill([confirmation.pid, *([] if round_number % 2 else seed_processes(folder))])
        confirmation.communicate(timeout=180)
        wait_for(lambda: not seed_processes(folder))  # they end with their parent
    finish(start(folder))
    check_exact(folder)
    before = completed(folder)
    finish(start(folder, "--seeds", str(SEEDS + 1)))
    check_exact(folder, SEEDS + 1)
    assert before.items() <= completed(folder).items(), "nothing trained twice"


@pytest.mark.slow
def test_parallel_seeds_share_the_cores(folder):
    """All cores for each of them would make them wait for one another in every step."""
    finish(start(folder))
    records = (folder / "outputs/confirmations/past-synthetic/seeds").glob("*/result.json")
    threads = [json.loads(record.read_text())["environment"]["threads"] for record in records]
    assert threads == [max(1, cores() // 2)] * SEEDS


@pytest.mark.slow
def test_seed_is_retried_after_its_process_died(folder):
    confirmation = start(folder)
    wait_for(lambda: seed_processes(folder))
    time.sleep(3)
    wait_for(lambda: kill(seed_processes(folder)[:1]))
    output = finish(confirmation)
    assert confirmation.returncode == 0, output
    check_exact(folder)


@pytest.mark.slow
def test_second_process_is_refused_and_ctrl_c_advises(folder):
    first = start(folder)
    wait_for(lambda: seed_processes(folder))
    second = start(folder)
    output = finish(second)
    assert second.returncode == 2
    assert "another process is training" in output
    first.send_signal(signal.SIGINT)
    output = finish(first)
    assert first.returncode == 130
    assert "rerun the command to continue" in output
    assert not seed_processes(folder)
    assert finish(start(folder))
    check_exact(folder)
