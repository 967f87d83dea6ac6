"""Fake sbatch, squeue and scancel that run the tasks of job arrays as processes of this machine.

`FakeSlurm` writes three scripts, each of which runs this file with its own name and arguments. A task has a folder with
its state, and a process that runs it as slurmd does.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from processes import wait_for


class FakeSlurm:
    """A cluster with one place for each of the first `places` tasks of an array; the others stay pending."""

    def __init__(self, folder, places):
        self.tasks, self.programs = folder / "tasks", folder / "bin"
        self.tasks.mkdir(parents=True)
        self.programs.mkdir()
        for name in ("sbatch", "squeue", "scancel"):
            path = self.programs / name
            path.write_text(f'#!/bin/sh\nexec {sys.executable} {__file__} {self.tasks} {places} {name} "$@"\n')
            path.chmod(0o755)

    def states(self):
        """Task → state and number of restarts."""
        return {task.name: ((task / "state").read_text(), restarts_of(task)) for task in self.tasks.glob("*_*")}

    def preempt(self, task):
        """End a running task by SIGTERM, and start it again, as with `--requeue`."""
        (self.tasks / task / "preempted").touch()
        os.kill(int((self.tasks / task / "pid").read_text()), signal.SIGTERM)

    def close(self):
        """Kill what a failed test has left."""
        for task in self.tasks.glob("*_*"):
            (task / "cancelled").touch()
            with suppress(OSError, ValueError):
                os.kill(int((task / "pid").read_text()), signal.SIGKILL)
        wait_for(lambda: all(state in ("COMPLETED", "CANCELLED", "FAILED") for state, _ in self.states().values()))


def restarts_of(task):
    return int((task / "restarts").read_text())


def write(path, text):
    """Replace the file in one step, because another process may read it."""
    path.with_suffix(".new").write_text(text)
    path.with_suffix(".new").replace(path)


def sbatch(tasks, places, *words):
    given = {key: value for key, _, value in (word.partition("=") for word in words if word.startswith("--"))}
    command = [word for word in words if not word.startswith("--")]
    job = 100 + len(list(tasks.glob("*_0")))
    first, last = map(int, given["--array"].split("-"))
    for index in range(first, last + 1):
        task = tasks / f"{job}_{index}"
        task.mkdir()
        for name, text in {"state": "PENDING", "name": given["--job-name"], "restarts": "0"}.items():
            write(task / name, text)
        output, log = given["--output"].replace("%a", str(index)), subprocess.DEVNULL
        subprocess.Popen(
            [sys.executable, __file__, str(tasks), places, "task", str(task), output, *command],
            **{"cwd": given["--chdir"], "start_new_session": True, "stdin": log, "stdout": log, "stderr": log},
        )
    print(job)


def squeue(tasks, places, *words):
    for task in tasks_named(tasks, words):
        print(task.name, (task / "state").read_text())


def scancel(tasks, places, *words):
    for task in tasks_named(tasks, words):
        (task / "cancelled").touch()
        if (task / "state").read_text() == "RUNNING":
            with suppress(ProcessLookupError):
                os.kill(int((task / "pid").read_text()), signal.SIGTERM)


def tasks_named(tasks, words):
    (name,) = (word.removeprefix("--name=") for word in words if word.startswith("--name="))
    return [task for task in sorted(tasks.glob("*_*")) if (task / "name").read_text() == name]


def task(tasks, places, home, output, *command):
    """Run one task until it ends without being preempted."""
    home, index = Path(home), home.rpartition("_")[2]
    while int(index) >= int(places) and not (home / "cancelled").exists():
        time.sleep(0.1)
    code = 0
    while not (home / "cancelled").exists():
        restarts = {"SLURM_RESTART_COUNT": str(restarts_of(home))} if restarts_of(home) else {}
        env = {**os.environ, "SLURM_ARRAY_TASK_ID": index, **restarts}
        with open(output, "ab") as log:
            process = subprocess.Popen(["bash", *command], env=env, stdout=log, stderr=log)
        write(home / "pid", str(process.pid))
        write(home / "state", "RUNNING")
        code = process.wait()
        if not (home / "preempted").exists():
            break
        (home / "preempted").unlink()
        write(home / "restarts", str(restarts_of(home) + 1))
        write(home / "state", "PENDING")
    write(home / "state", "CANCELLED" if (home / "cancelled").exists() else "FAILED" if code else "COMPLETED")


if __name__ == "__main__":
    _, folder, places, program, *words = sys.argv
    {"sbatch": sbatch, "squeue": squeue, "scancel": scancel, "task": task}[program](Path(folder), places, *words)
