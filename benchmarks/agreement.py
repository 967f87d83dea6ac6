"""Does the fast training reach the usual accuracy? `python -m benchmarks.agreement [--seeds N] [--epochs N] [--json]`.

experiment=m3_logged is trained by this project, and by the usual loop of torch and torchvision: per-image transforms
behind a DataLoader, plain layers, torch's own Adam and MultiStepLR. The benchmark prints the test accuracy at the last
epoch for each seed, and an exact permutation test of the difference of the two means. Two single-threaded processes run
at a time.
"""

import argparse
import itertools
import json
import multiprocessing
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.setup import configured, images
from benchmarks.timing import Spread, machine_line

SIDES = ("fast", "plain")


def train_fast(seed: int, epochs: int) -> float:
    """Train with this project, and return the test accuracy in per cent."""
    from mnist_compact.cli.run_display import TerminalCallback
    from mnist_compact.runs.trainer import run

    config = configured("experiment=m3_logged", f"seed={seed}", f"train.epochs={epochs}", "machine.threads=1")
    with tempfile.TemporaryDirectory() as folder:
        score = run(config, Path(folder) / "run", TerminalCallback()).score("test")
    assert score is not None
    return score.accuracy


def train_plain(seed: int, epochs: int) -> float:
    """Train the same recipe without this project's training, layers, optimizers and augmentation."""
    import torch
    import torch.nn.functional as F
    from torch.utils.data import DataLoader

    from benchmarks.contenders import PilImages, plain_network, usual_transforms
    from mnist_compact.models.config import CompactConfig

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    config, data = configured("experiment=m3_logged"), images(synthetic=False)
    assert isinstance(config.model, CompactConfig)
    network = plain_network(config.model)
    train = PilImages(data.train, usual_transforms(data))
    loader = DataLoader(train, config.train.batch_size, shuffle=True)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.015, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[8, 10, 12, 14], gamma=0.5)
    for _ in range(epochs):
        network.train()
        for inputs, labels in loader:
            optimizer.zero_grad()
            F.cross_entropy(network(inputs), labels).backward()
            optimizer.step()
        schedule.step()
    network.eval()
    with torch.no_grad():
        parts = [network(data.normalised(part)).argmax(1) for part in data.evaluation.images.split(500)]
    return 100 * (torch.cat(parts) == data.evaluation.labels).float().mean().item()


def train(task: tuple[str, int, int]) -> tuple[str, int, float]:
    side, seed, epochs = task
    accuracy = (train_fast if side == "fast" else train_plain)(seed, epochs)
    return side, seed, accuracy


def permutation_p(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the two-sided p-value: the share of all divisions into two groups whose means differ at least as much."""
    values, observed = [*first, *second], abs(statistics.mean(first) - statistics.mean(second))
    extreme = total = 0
    for chosen in itertools.combinations(range(len(values)), len(first)):
        inside = [values[i] for i in chosen]
        outside = [values[i] for i in range(len(values)) if i not in chosen]
        total += 1
        extreme += abs(statistics.mean(inside) - statistics.mean(outside)) >= observed - 1e-9
    return extreme / total


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.agreement",
        description="Compare the accuracy of this project's training with that of a plain loop.",
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    tasks = [(side, seed, options.epochs) for side in reversed(SIDES) for seed in range(options.seeds)]
    accuracies: dict[str, dict[int, float]] = {side: {} for side in SIDES}
    with multiprocessing.get_context("spawn").Pool(2, maxtasksperchild=1) as pool:
        for side, seed, accuracy in pool.imap_unordered(train, tasks):
            accuracies[side][seed] = accuracy
            print(f"{side} seed {seed}: {accuracy:.2f}", file=sys.stderr, flush=True)
    values = {side: [found[seed] for seed in sorted(found)] for side, found in accuracies.items()}
    p = permutation_p(values["fast"], values["plain"])
    report(values, p, as_json=options.json)
    return 0


def report(values: dict[str, list[float]], p: float, *, as_json: bool) -> None:
    import torch

    from mnist_compact.training.device import describe_environment

    torch.set_num_threads(1)
    environment: dict[str, Any] = describe_environment(torch.device("cpu"))
    if as_json:
        spreads = {side: asdict(Spread.of(found)) for side, found in values.items()}
        print(json.dumps({"environment": environment, "accuracies": values, "spreads": spreads, "p": p}, indent=2))
        return
    print(machine_line(environment))
    for side, found in values.items():
        each = " ".join(f"{accuracy:.2f}" for accuracy in found)
        print(f"{side:6} mean {statistics.mean(found):.3f}  sd {statistics.stdev(found):.3f}  ({each})")
    print(f"difference {statistics.mean(values['fast']) - statistics.mean(values['plain']):+.3f} points, p = {p:.2f}")


if __name__ == "__main__":
    sys.exit(main())
