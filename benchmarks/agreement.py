"""Does faster training reach the usual accuracy? `python -m benchmarks.agreement [--versus plain|bfloat16] …`.

With `--versus plain`, experiment=m3_logged is trained by this project, and by the usual loop of torch and torchvision:
per-image transforms behind a DataLoader, plain layers, torch's own Adam and MultiStepLR; both are scored on the test
images. With `--versus bfloat16`, an experiment is trained by this project in float32 and in bfloat16, with averaged
weights where it has them, and scored on held-out images, because the result may decide how later searches train. The
benchmark prints the accuracy and the calibrated log-loss of each seed at the last epoch, and an exact permutation test
of the difference of the two means. Two single-threaded processes run at a time.
"""

import argparse
import itertools
import json
import math
import multiprocessing
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.setup import configured, images
from benchmarks.timing import machine_line
from mnist_compact.common.statistics import Summary

EXPERIMENT = "m3_logged"
COMPARED = {"plain": ("ours", "plain"), "bfloat16": ("float32", "bfloat16")}  # --versus → the two sides


@dataclass(frozen=True, slots=True)
class Task:
    side: str
    experiment: str
    seed: int
    epochs: int | None  # None: as many as the experiment has


@dataclass(frozen=True, slots=True)
class Scores:
    accuracy: float  # per cent
    calibrated_loss: float | None  # nats; the plain loop does not measure it


def train_ours(task: Task) -> Scores:
    """Train with this project, in bfloat16 if the side is named so, on held-out images if precisions are compared."""
    from mnist_compact.callbacks.callback import Callback
    from mnist_compact.runs.trainer import run

    chosen = [f"experiment={task.experiment}", f"seed={task.seed}", "machine.threads=1"]
    if task.side in COMPARED["bfloat16"]:
        chosen += ["data=holdout", f"train.precision={task.side}"]
    if task.epochs is not None:
        chosen += [f"train.epochs={task.epochs}"]
    config = configured(*chosen)
    with tempfile.TemporaryDirectory() as folder:
        record = run(config, Path(folder) / "run", Callback())  # which prints nothing
    weights = "averaged" if config.train.average_epochs else "raw"
    score = record.score(config.data.role, weights=weights)
    assert score is not None
    return Scores(score.accuracy, score.calibrated_loss)


def train_plain(task: Task) -> Scores:
    """Train the recipe of m3_logged without this project's training, layers, optimizers and augmentation."""
    import torch
    import torch.nn.functional as F
    from torch.utils.data import DataLoader

    from benchmarks.contenders import PilImages, plain_network, usual_transforms
    from mnist_compact.models.config import CompactConfig

    torch.set_num_threads(1)
    torch.manual_seed(task.seed)
    config, data = configured(f"experiment={EXPERIMENT}"), images(synthetic=False)
    assert isinstance(config.model, CompactConfig)
    network = plain_network(config.model)
    train = PilImages(data.train, usual_transforms(data))
    loader = DataLoader(train, config.train.batch_size, shuffle=True)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.015, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[8, 10, 12, 14], gamma=0.5)
    for _ in range(config.train.epochs if task.epochs is None else task.epochs):
        network.train()
        for inputs, labels in loader:
            optimizer.zero_grad()
            F.cross_entropy(network(inputs), labels).backward()
            optimizer.step()
        schedule.step()
    network.eval()
    with torch.no_grad():
        parts = [network(data.normalised(part)).argmax(1) for part in data.evaluation.images.split(500)]
    accuracy = 100 * (torch.cat(parts) == data.evaluation.labels).float().mean().item()
    return Scores(accuracy, None)


def train(task: Task) -> tuple[Task, Scores]:
    return task, (train_plain if task.side == "plain" else train_ours)(task)


def permutation_p(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the two-sided p-value: the share of all divisions into two groups whose means differ at least as much."""
    values, n = [*first, *second], len(first)
    everything = math.fsum(values)

    def distance(inside: float) -> float:
        return abs(inside / n - (everything - inside) / len(second))

    observed = distance(math.fsum(first)) - 1e-9 * max(map(abs, values))
    extreme = [distance(math.fsum(chosen)) >= observed for chosen in itertools.combinations(values, n)]
    return sum(extreme) / len(extreme)


def compared(first: Sequence[float], second: Sequence[float]) -> dict[str, Any]:
    """Return the difference of two means, its 95 % interval (Student's t of the pairs of seeds) and the p-value."""
    pairs = Summary.of([b - a for a, b in zip(first, second, strict=True)], least=-math.inf, most=math.inf)
    return {"difference": pairs.mean, "low": pairs.low, "high": pairs.high, "p": permutation_p(first, second)}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.agreement",
        description="Compare the accuracy of this project's training with that of a plain loop, or two precisions.",
    )
    parser.add_argument("--versus", choices=COMPARED, default="plain", help="default: plain")
    parser.add_argument(
        "--experiment", default=EXPERIMENT, metavar="NAME", help=f"only with --versus bfloat16 (default: {EXPERIMENT})"
    )
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="seeds of each side (default: 5)")
    parser.add_argument("--epochs", type=int, metavar="N", help="default: as many as the experiment has")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.versus == "plain" and options.experiment != EXPERIMENT:
        parser.error(f"the plain loop trains {EXPERIMENT} only")
    if options.seeds < 2:
        parser.error(f"--seeds must be at least 2, got {options.seeds}")
    sides = COMPARED[options.versus]
    tasks = [
        Task(side, options.experiment, seed, options.epochs)
        for seed in range(options.seeds)
        for side in reversed(sides)
    ]
    found: dict[str, dict[int, Scores]] = {side: {} for side in sides}
    with multiprocessing.get_context("spawn").Pool(2, maxtasksperchild=1) as pool:
        for task, scores in pool.imap_unordered(train, tasks):
            found[task.side][task.seed] = scores
            print(f"{task.side} seed {task.seed}: {scores.accuracy:.2f}", file=sys.stderr, flush=True)
    report({side: [scores[seed] for seed in sorted(scores)] for side, scores in found.items()}, as_json=options.json)
    return 0


def report(found: dict[str, list[Scores]], *, as_json: bool) -> None:
    import torch

    from mnist_compact.training.device import describe_environment

    torch.set_num_threads(1)
    environment: dict[str, Any] = describe_environment(torch.device("cpu"))
    columns = {"accuracy": {side: [score.accuracy for score in scores] for side, scores in found.items()}}
    if "plain" not in found:
        columns["calibrated_loss"] = {
            side: [score.calibrated_loss for score in scores if score.calibrated_loss is not None]
            for side, scores in found.items()
        }
    results = {name: compared(*values.values()) for name, values in columns.items()}
    if as_json:
        seeds = {side: [asdict(score) for score in scores] for side, scores in found.items()}
        print(json.dumps({"environment": environment, "seeds": seeds, "results": results}, indent=2))
        return
    print(machine_line(environment))
    for name, values in columns.items():
        digits = 2 if name == "accuracy" else 4
        print("accuracy, %" if name == "accuracy" else "calibrated log-loss, nats")
        for side, each in values.items():
            print(
                f"{side:9} mean {statistics.mean(each):.{digits + 1}f}  sd {statistics.stdev(each):.{digits + 1}f}  "
                f"({' '.join(f'{value:.{digits}f}' for value in each)})"
            )
        result = results[name]
        print(
            f"{' - '.join(reversed(values))}: {result['difference']:+.{digits + 1}f}, 95 % interval "
            f"{result['low']:+.{digits + 1}f} to {result['high']:+.{digits + 1}f}, p = {result['p']:.2f}"
        )


if __name__ == "__main__":
    sys.exit(main())
