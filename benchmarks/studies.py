"""Measure the commands on a large study: `python -m benchmarks.studies [--quick] [--json] [--check]`.

A study of 20,000 trials on synthetic images, each with twelve parameters and a curve of fifteen epochs, is written to
an exported file. The benchmark measures whole processes: the import of the file, `study show`, and a search that
continues the study, until the folder of its next trial exists.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import hydra
import optuna
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState, create_trial

from benchmarks.timing import Must, Spread, machine_line, verdict
from mnist_compact.config.registration import register
from mnist_compact.config.schema import configuration_folder
from mnist_compact.search.builders import space_of
from mnist_compact.search.counts import quieten
from mnist_compact.search.snapshot import take_snapshot
from mnist_compact.search.transfer import export_study, write

TRIALS = 20_000
EPOCHS = 15
LIMITS = {"import": 60.0, "show": 10.0, "first trial": 15.0}  # seconds
WORDS = [
    *("sweeps=smoke", "augment=affine", "train.batch_size=choice(32,64)", "train.label_smoothing=interval(0,0.1)"),
    *(f"augment.{key}=interval(0,0.1)" for key in ("shift_fraction", "scale_fraction", "shear")),
    *("model.layers.conv2.width=range(4,12)", "optim.weight_decay=interval(0,0.01)"),
]


def exported(path: Path, trials: int) -> None:
    """Write the study, named `large`, to an exported file."""
    write(path, export_study(synthetic_study(trials), "large"))


def synthetic_study(trials: int) -> InMemoryStorage:
    """Create a study of complete trials with random points and scores, named `large`."""
    quieten()
    register()
    with hydra.initialize_config_dir(str(configuration_folder())):
        overrides = ["sweeps=smoke"]
        config = hydra.compose("config", overrides=overrides, return_hydra_config=True)
    frozen = take_snapshot(config.hydra.sweeper, WORDS)
    storage = InMemoryStorage()
    study = optuna.create_study(study_name="large", storage=storage, direction="maximize")
    study.set_metric_names(["accuracy"])
    study.set_user_attr("frozen", frozen)
    for trial in _trials(frozen, trials):
        study.add_trial(trial)
    study.set_user_attr("founded", True)
    return storage


def _trials(frozen: dict[str, Any], count: int) -> Any:
    space, generator = space_of(frozen), random.Random(0)
    for number in range(count):
        branch = generator.choice(space.branches)
        chosen = {
            parameter.name: _drawn(parameter.distribution, generator)
            for parameter in (*space.parameters, *branch.parameters)
        }
        chosen["optim"] = branch.name
        distributions = {p.name: p.distribution for p in (*space.parameters, *branch.parameters)}
        scores = [generator.uniform(50, 99) for _ in range(EPOCHS)]
        yield create_trial(
            state=TrialState.COMPLETE,
            value=scores[-1],
            params=chosen,
            distributions=distributions,
            intermediate_values=dict(enumerate(scores, 1)),
            user_attrs={
                "overrides": [f"{name.rpartition(':')[2]}={value}" for name, value in chosen.items()],
                "folder": f"trials/{number:04d}",
                "attempts": 1,
                "parameters": generator.randint(2000, 7999),
                "seconds": 100.0,
                "scored": "synthetic, raw weights, epoch 15",
            },
        )


def _drawn(distribution: Any, generator: random.Random) -> Any:
    if isinstance(distribution, optuna.distributions.CategoricalDistribution):
        return generator.choice(distribution.choices)
    if isinstance(distribution, optuna.distributions.IntDistribution):
        return generator.randrange(distribution.low, distribution.high + 1, distribution.step)
    return generator.uniform(distribution.low, distribution.high)


def measure(folder: Path, trials: int) -> tuple[dict[str, float], dict[str, float]]:
    """Measure an import, `study show`, and a continued search until its next trial starts.

    Returns:
        The seconds of each, and the CPU seconds of its processes. Those of the search include its end.
    """
    file = folder / "large.study.json.gz"
    exported(file, trials)
    study = [sys.executable, "-m", "mnist_compact.study"]
    seconds, cpu = {}, {}
    used = _cpu_of_children()
    for name, command in {"import": [*study, "import", file.name], "show": [*study, "show", "large"]}.items():
        start = time.perf_counter()
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        seconds[name] = time.perf_counter() - start
        cpu[name], used = _cpu_of_children() - used, _cpu_of_children()
    home = folder / "outputs/sweeps/large"
    settings = [f"hydra.sweeper.n_trials={trials + 1}", "hydra.sweeper.n_jobs=1"]
    line = [sys.executable, "-m", "mnist_compact", f"resume={home}", *settings]
    start = time.perf_counter()
    search = subprocess.Popen(line, cwd=folder, stdout=subprocess.DEVNULL)
    try:
        while not any(home.glob("trials/*")):
            if search.poll() is not None:
                raise SystemExit("the search has ended without a trial")
            time.sleep(0.05)
        seconds["first trial"] = time.perf_counter() - start
    finally:
        search.terminate()
        search.wait()
    cpu["first trial"] = _cpu_of_children() - used
    return seconds, cpu


def _cpu_of_children() -> float:
    """Return the CPU seconds of all processes that have ended and been waited for, also by one of them."""
    times = os.times()
    return times.children_user + times.children_system


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies", description="Time a large study.")
    parser.add_argument("--quick", action="store_true", help=f"1,000 trials instead of {TRIALS:,}")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a time is above its limit")
    options = parser.parse_args()
    trials = 1000 if options.quick else TRIALS
    with tempfile.TemporaryDirectory() as name:
        seconds, cpu = measure(Path(name), trials)
    import torch

    from mnist_compact.training.device import describe_environment

    environment = describe_environment(torch.device("cpu"))
    limits = [Must(key, Spread.of([seconds[key]]), limit) for key, limit in LIMITS.items()]
    if options.json:
        print(
            json.dumps({"environment": environment, "trials": trials, "seconds": seconds, "cpu_seconds": cpu}, indent=2)
        )
    else:
        print(f"{machine_line(environment)}\n{trials:,} trials; seconds of whole processes")
        print(*(must.text() for must in limits), sep="\n")
        print("CPU seconds:", ", ".join(f"{key} {value:.1f}" for key, value in cpu.items()))
    return verdict(limits, check=options.check)


if __name__ == "__main__":
    sys.exit(main())
