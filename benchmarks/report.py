"""The time to load 10,000 runs into a table: `python -m benchmarks.report [--quick] [--json] [--check]`.

The run folders are generated in a temporary folder, as searches write them; files that no table reads are empty.
It measures seconds of `load_runs` in a process that has imported pandas: cold, without its cache and including writing
it, and warm, with the cache. The lower bound lists the folders and reads the two files of each run without parsing
them. "command, warm" is a whole process that prints a report. In all cases the files are in the system's file cache.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.timing import Must, Spread, interleave, machine_line, paired, timed, verdict
from mnist_compact.common.run_files import CHECKPOINT, CONFIG, LAYERS, METRICS, MISTAKES, RECORD, WEIGHTS
from mnist_compact.records.record import NetworkFacts, RunRecord, Score, Status
from mnist_compact.reports import cache
from mnist_compact.reports.tables import load_runs

EPOCHS = 15
TRAIN_IMAGES = 50_000
OTHER_FILES = (CHECKPOINT, CONFIG, LAYERS, MISTAKES, f"{WEIGHTS}/last.safetensors")
RUNS = 10_000
LIMITS_S = {"cold": 5.0, "warm": 1.0}


def make_runs(folder: Path, runs: int) -> None:
    """Create the folders of `runs` trials below `folder`, some of them pruned, failed or running."""
    draw = random.Random(0)
    for number in range(runs):
        run_folder = folder / "sweeps" / f"study{number // 1000}" / "trials" / f"{number % 1000:04}"
        (run_folder / WEIGHTS).mkdir(parents=True)
        for name in OTHER_FILES:
            (run_folder / name).touch()
        rows = [_metrics(epoch, draw) for epoch in range(1, EPOCHS + 1)]
        lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
        (run_folder / METRICS).write_text("".join(f"{line}\n" for line in lines))
        record = _record(number, rows, draw)
        (run_folder / RECORD).write_text(json.dumps(asdict(record), indent=1) + "\n")


def _metrics(epoch: int, draw: random.Random) -> dict[str, float]:
    row: dict[str, float] = {"epoch": epoch, "learning_rate": draw.random() / 100}
    for prefix, total in (("train", TRAIN_IMAGES), ("holdout", 10_000), ("holdout_averaged", 10_000)):
        correct = round(total * (0.97 + 0.001 * epoch + 0.01 * draw.random()))
        row |= {f"{prefix}_loss": draw.random(), f"{prefix}_accuracy": 100 * correct / total}
        row[f"{prefix}_correct"] = correct
    return {**row, "seconds": 9 + draw.random()}


def _record(number: int, rows: list[dict[str, float]], draw: random.Random) -> RunRecord:
    return RunRecord(
        status=draw.choices(list(Status), weights=[1, 80, 15, 1, 1, 2])[0],
        config=_config(number, draw),
        overrides=[f"seed={number}", "optim=adam"],
        evaluated="holdout",
        scores=[
            Score(
                split=split,
                weights=weights,
                at=at,
                epoch=int(row["epoch"]),
                accuracy=row[f"{prefix}_accuracy"],
                loss=row[f"{prefix}_loss"],
                correct=int(row[f"{prefix}_correct"]),
                total=TRAIN_IMAGES if split == "train" else 10_000,
                final=(weights, at) == ("averaged", "last"),
            )
            for split, weights, prefix in (
                ("train", "raw", "train"),
                ("holdout", "raw", "holdout"),
                ("holdout", "averaged", "holdout_averaged"),
            )
            for at, row in (("last", rows[-1]), ("best", draw.choice(rows)))
        ],
        epochs_done=EPOCHS,
        network=NetworkFacts(
            parameters=draw.randrange(3_000, 8_000),
            trainable_parameters=3_000,
            macs=draw.randrange(100_000, 900_000),
            receptive_field=24,
            input_shape=[1, 28, 28],
        ),
        confusion=_confusion(int(rows[-1]["holdout_averaged_correct"]), draw),
        seconds=sum(row["seconds"] for row in rows),
        started_at=f"2025-11-{1 + number % 28:02}T10:{number % 60:02}:00+00:00",
        finished_at=f"2025-11-{1 + number % 28:02}T11:{number % 60:02}:00+00:00",
        environment={"versions": {"torch": "2.14.1", "numpy": "2.4.6"}, "threads": 1, "git_commit": "0" * 40},
    )


def _confusion(correct: int, draw: random.Random) -> list[list[int]]:
    """Return a confusion matrix of 10,000 images."""
    matrix = [[correct // 10 if column == row else 0 for column in range(10)] for row in range(10)]
    matrix[0][0] += correct % 10
    for _ in range(10_000 - correct):
        row = draw.randrange(10)
        matrix[row][(row + draw.randrange(1, 10)) % 10] += 1
    return matrix


def _config(number: int, draw: random.Random) -> dict[str, Any]:
    """Return a configuration of the size of the `compact` models."""
    layer = {"kernel": 3, "padding": 1, "stride": 1, "kind": "conv", "residual": False, "pool": "none", "enabled": True}
    names = [f"conv{i}" for i in range(1, 8)]
    return {
        "data": {"kind": "holdout", "name": "holdout", "held_out": 10_000, "split_seed": 0},
        "model": {
            "kind": "compact",
            "name": "compact",
            "layers": {name: {"width": draw.randrange(4, 17), **layer} for name in names},
            "order": names,
            "activation": draw.choice(["relu", "silu"]),
            "dropout": draw.random() / 10,
            "head": {"kind": "conv1x1", "hidden": 0, "bias": True},
        },
        "augment": {"kind": "augment", "name": "affine", "rotation_deg": 15 * draw.random(), "shear": 0.1},
        "optim": {"kind": "adam", "name": "adam", "lr": draw.random() / 10, "beta1": 0.9, "eps": 1e-8},
        "scheduler": {"kind": "onecycle", "name": "onecycle", "warmup_fraction": draw.random()},
        "train": {"kind": "train", "name": "standard", "epochs": EPOCHS, "batch_size": 128, "average_epochs": 3},
        "budget": {"kind": "budget", "name": "mission", "parameters_below": 8_000, "max_epochs": 15},
        "machine": {"kind": "machine", "name": "auto", "device": "auto", "threads": 0, "data_root": None},
        "seed": number,
        "experiment": None,
    }


def read_files(folder: Path) -> int:
    """Read the two files of each run that a table needs; return the number of bytes."""
    size = 0
    for path, _, names in os.walk(folder):
        for name in {METRICS, RECORD}.intersection(names):
            size += len(Path(path, name).read_bytes())
    return size


def contenders(folder: Path) -> dict[str, Callable[[], float]]:
    def cold() -> int:
        (folder / cache.FILENAME).unlink(missing_ok=True)
        return len(load_runs(folder))

    def command() -> None:
        line = [sys.executable, "-m", "mnist_compact.report", str(folder), "--by", "study"]
        subprocess.run(line, check=True, stdout=subprocess.DEVNULL, timeout=300)

    work: dict[str, Callable[[], object]] = {
        "lower bound": lambda: read_files(folder),
        "cold": cold,
        "warm": lambda: len(load_runs(folder)),
        "command, warm": command,
    }
    return {name: timed(call) for name, call in work.items()}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.report", description="The time to load runs into a table."
    )
    parser.add_argument("--quick", action="store_true", help="2 rounds, not 9")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a limit is exceeded")
    options = parser.parse_args()
    rounds = 2 if options.quick else 9
    with tempfile.TemporaryDirectory() as name:
        make_runs(Path(name), RUNS)
        samples = interleave(contenders(Path(name)), rounds)
    import torch

    from mnist_compact.training.device import describe_environment

    environment = describe_environment(torch.device("cpu"))
    limits = [Must(f"{key}, s", Spread.of(samples[key]), limit) for key, limit in LIMITS_S.items()]
    if options.json:
        record = {"environment": environment, "limits": [must.record() for must in limits], "samples_s": samples}
        print(json.dumps(record, indent=2, ensure_ascii=False))
    else:
        print(f"{machine_line(environment)}\n{rounds} rounds of {RUNS:,} runs; seconds, median [lowest–highest]")
        for key, times in samples.items():
            bound = samples["lower bound"]
            ratio = "" if key == "lower bound" else f"   relative to the lower bound {paired(times, bound).text()}"
            print(f"{key:13} {Spread.of(times).text():>18}{ratio}")
        print(*(must.text() for must in limits), sep="\n")
    return verdict(limits, check=options.check)


if __name__ == "__main__":
    sys.exit(main())
