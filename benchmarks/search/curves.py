"""The recorded curves: every point of the question's grid is trained once, completely. The CSV file is committed."""

import csv
import io
import json
import multiprocessing
import os
import random
import statistics
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from benchmarks.search.question import Point, SearchQuestion
from mnist_compact.common.atomic import replacing
from mnist_compact.common.errors import ConfigError
from mnist_compact.records.record import NetworkFacts, Score, Status
from mnist_compact.runs.trainer import run
from mnist_compact.search.builders import space_of
from mnist_compact.search.snapshot import Composer
from mnist_compact.search.worker import Log
from mnist_compact.training.device import describe_environment

FILE = Path(__file__).with_name("curves.csv")


@dataclass(slots=True, frozen=True)
class Curve:
    parameters: int
    accuracies: tuple[float, ...]  # per cent, on the held-out images, after each epoch
    seconds: tuple[float, ...]  # of each epoch's training and evaluation

    @property
    def epoch_s(self) -> float:
        """Seconds of an epoch in a replay: the median, which ignores temporary slowdowns of the machine."""
        return statistics.median(self.seconds)

    @property
    def trial_s(self) -> float:
        return self.epoch_s * len(self.seconds)


@dataclass(slots=True, frozen=True)
class Curves:
    """`environment` is the recording machine's, as in the record of a run."""

    question: SearchQuestion
    environment: dict[str, Any]
    at: Mapping[Point, Curve]

    @property
    def epochs(self) -> int:
        return len(next(iter(self.at.values())).accuracies)

    def write(self, path: Path) -> None:
        text = io.StringIO()
        head = {"overrides": self.question.overrides, "environment": self.environment}
        text.write(f"# {json.dumps(head)}\n")
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow([*(axis.key for axis in self.question.axes), "parameters", "accuracies", "seconds"])
        for point in self.question.grid():
            if point in self.at:
                curve = self.at[point]
                accuracies = " ".join(f"{accuracy:.3f}" for accuracy in curve.accuracies)
                seconds = " ".join(f"{second:.3f}" for second in curve.seconds)
                rows.writerow([*point, curve.parameters, accuracies, seconds])
        with replacing(path) as temporary:
            temporary.write_text(text.getvalue())

    @classmethod
    def read(cls, path: Path, question: SearchQuestion) -> "Curves":
        """Read recorded curves.

        Raises:
            ConfigError: The file does not exist, or was recorded for another question.
        """
        if not path.exists():
            raise ConfigError([f"{path} does not exist; --record creates it"])
        with path.open(newline="") as file:
            head = json.loads(file.readline().removeprefix("# "))
            rows = list(csv.DictReader(file))
        if head["overrides"] != list(question.overrides):
            raise ConfigError([f"{path} was recorded with {' '.join(head['overrides'])}: give another --curves"])
        points = {tuple(question.overrides_of(point)): point for point in question.grid()}
        at = {}
        for row in rows:
            overrides = tuple(f"{axis.key}={row.get(axis.key)}" for axis in question.axes)
            if overrides not in points:
                raise ConfigError([f"{path} was recorded on another grid: it contains {' '.join(overrides)}"])
            accuracies, seconds = (tuple(map(float, row[name].split())) for name in ("accuracies", "seconds"))
            at[points[overrides]] = Curve(int(row["parameters"]), accuracies, seconds)
        return cls(question, head["environment"], at)


def record(question: SearchQuestion, path: Path, *, at_most: int | None, processes: int) -> Curves:
    """Train the points that are missing in `path`, with one thread each, `processes` at a time.

    The order is random but fixed, so that a temporary slowdown of the machine affects no part of the grid alone.
    The file is complete after every point; after an interruption, rerun the command to continue.
    """
    torch.set_num_threads(1)
    recorded = Curves.read(path, question) if path.exists() else Curves(question, {}, {})
    at, environment = dict(recorded.at), describe_environment(torch.device("cpu"))
    grid = list(question.grid())
    order = random.Random(0).sample(grid, len(grid))
    missing = [point for point in order if point not in at][:at_most]
    os.environ["OMP_NUM_THREADS"] = "1"  # for the processes about to be started
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for point, curve in pool.imap_unordered(train, [(point, question.synthetic) for point in missing]):
            at[point] = curve
            Curves(question, environment, at).write(path)
            result = f"{curve.accuracies[-1]:6.2f} %  {curve.trial_s:5.1f} s  {' '.join(question.overrides_of(point))}"
            print(f"{len(at)}/{len(grid)}  {result}", file=sys.stderr, flush=True)
    return Curves(question, environment, at)


def train(task: tuple[Point, bool]) -> tuple[Point, Curve]:
    point, synthetic = task
    return point, recorder(synthetic).train(point)


@cache
def recorder(synthetic: bool) -> "Recorder":
    """Return the recorder of this process."""
    return Recorder(SearchQuestion.read(synthetic=synthetic))


class Recorder(Log):
    """Trains points of a question like a worker of the search; the images are loaded once."""

    def __init__(self, question: SearchQuestion) -> None:
        snapshot = question.snapshot(sampler="tpe")
        self.question, self.composer = question, Composer(snapshot, space_of(snapshot).fixed)
        self.data = self.composer.run_config([]).load_data(print)

    def on_epoch_end(self, row: dict[str, Any], *, new_best: bool) -> None:
        self.seconds.append(row["seconds"])

    def train(self, point: Point) -> Curve:
        """Train one point.

        Raises:
            RuntimeError: The run is not completed.
        """
        config = self.composer.run_config(self.question.overrides_of(point))
        config.machine.threads = 1
        accuracies: list[float] = []
        self.seconds: list[float] = []

        def note(score: Score, network: NetworkFacts) -> bool:
            accuracies.append(score.accuracy)
            return False

        with tempfile.TemporaryDirectory() as folder:
            record_of_run = run(config, Path(folder) / "run", self, pruning_callback=note, data=self.data)
        if record_of_run.status is not Status.COMPLETED:
            raise RuntimeError(
                f"{' '.join(self.question.overrides_of(point))}: {record_of_run.status}, {record_of_run.reason}"
            )
        return Curve(record_of_run.network.parameters, tuple(accuracies), tuple(self.seconds))
