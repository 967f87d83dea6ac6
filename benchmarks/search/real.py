"""Run both sweepers on the question's space, one after the other: time, epochs, use of the cores, overhead."""

import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import optuna
import torch
from optuna.trial import FrozenTrial

from benchmarks.contenders import Ours
from benchmarks.search.question import SearchQuestion, pruner_overrides
from benchmarks.setup import configured, images
from mnist_compact.common.cpu import cores
from mnist_compact.common.run_files import RECORD
from mnist_compact.data.published import TRAIN_IMAGES
from mnist_compact.records.record import RunRecord, objective
from mnist_compact.search.counts import quieten
from mnist_compact.search.storage import open_storage
from mnist_compact.training.device import prepare

ROOT = Path(__file__).parents[2]
M3_EPOCHS = 15


@dataclass(slots=True, frozen=True)
class Outcome:
    """`training_s` is the time of training and evaluation of all trials, `cpu_s` that of all its processes."""

    name: str
    wall_s: float
    cpu_s: float
    trials: int
    epochs: int
    training_s: float
    best: float

    @property
    def utilisation(self) -> float:
        """The share of the cores' time that was used."""
        return self.cpu_s / (self.wall_s * cores())

    def text(self) -> str:
        trained = self.training_s / (self.wall_s * cores())
        return (
            f"{self.name:6} {self.wall_s:6.0f} s  {self.trials} trials, {self.epochs} epochs  best {self.best:.2f} %  "
            f"of the cores' time {self.utilisation:.0%} used, {trained:.0%} within trials' epochs"
        )


@dataclass(slots=True, frozen=True)
class Comparison:
    stock: Outcome
    ours: Outcome
    overhead_s: float  # per trial of ours, beyond training and evaluation
    m3_trial_s: float  # 15 epochs of experiment=m3_reference on one thread

    @property
    def overhead_percent(self) -> float:
        return 100 * self.overhead_s / self.m3_trial_s


def compare(
    question: SearchQuestion,
    *,
    sampler: str,
    stock_sampler: str,
    pruner: str | None,
    launcher: str,
    trials: int,
    steps: int,
) -> Comparison:
    """Run both sweepers; `launcher` is the stock sweeper's.

    Raises:
        CalledProcessError: A search fails.
    """
    m3_trial_s = m3_trial(steps, synthetic=question.synthetic)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shared = [f"hydra.sweeper.n_trials={trials}", f"hydra.sweeper.n_jobs={cores()}", *question.arguments()]
        stock = [
            *("hydra/sweeper=optuna", f"hydra/sweeper/sampler={stock_sampler}", "hydra.sweeper.sampler.seed=0"),
            *("hydra.sweeper.direction=maximize", f"hydra.sweep.dir={folder}/stock", f"hydra/launcher={launcher}"),
        ]
        ours = [
            *("hydra/sweeper=compact", f"hydra/sweeper/sampler={sampler}"),
            *("hydra.sweeper.study_name=ours", f"hydra.sweeper.folder={folder}"),
            *pruner_overrides(pruner),
        ]
        return Comparison(
            measured("stock", [*stock, *shared], folder / "stock"),
            measured("ours", [*ours, *shared], folder / "ours" / "trials"),
            overhead(trials_of(folder / "ours")),
            m3_trial_s,
        )


def measured(name: str, arguments: list[str], runs: Path) -> Outcome:
    """Run a search to its end; `runs` contains the folders of its trials."""
    command = [sys.executable, "-m", "mnist_compact", "-m", *arguments]
    cpu, start = children_cpu_s(), time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, timeout=7200)
    wall_s, cpu_s = time.perf_counter() - start, children_cpu_s() - cpu
    records = [RunRecord.read(path.parent) for path in runs.glob(f"*/{RECORD}")]
    return Outcome(
        name,
        wall_s,
        cpu_s,
        trials=len(records),
        epochs=sum(record.epochs_done for record in records),
        training_s=sum(record.seconds for record in records),
        best=max(score for record in records if (score := objective(record)) is not None),
    )


def children_cpu_s() -> float:
    """Return the CPU seconds of all child processes that have ended, including their own child processes."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def trials_of(folder: Path) -> list[FrozenTrial]:
    quieten()
    return optuna.load_study(study_name=folder.name, storage=open_storage(f"sqlite:///{folder}/study.db")).trials


def overhead(trials: Iterable[FrozenTrial]) -> float:
    """Return the seconds per trial in which a worker neither trained nor evaluated, from first proposal to end."""
    by_worker: dict[str, list[FrozenTrial]] = defaultdict(list)
    for trial in trials:
        by_worker[trial.user_attrs["lease"]["worker"]].append(trial)
    spent, count = 0.0, 0
    for trials_of_worker in by_worker.values():
        begin = min(trial.datetime_start for trial in trials_of_worker if trial.datetime_start)
        end = max(trial.datetime_complete for trial in trials_of_worker if trial.datetime_complete)
        spent += (end - begin).total_seconds() - sum(trial.user_attrs["seconds"] for trial in trials_of_worker)
        count += len(trials_of_worker)
    return spent / count


def m3_trial(steps: int, *, synthetic: bool) -> float:
    """Estimate the seconds of 15 epochs of experiment=m3_reference on one thread, from `steps` and one evaluation."""
    prepare(1, torch.device("cpu"))
    torch.manual_seed(0)
    config = configured()
    ours = Ours(config, images(synthetic=synthetic), steps)
    ours.train()
    step_ms, evaluation_ms = ours.train(), ours.evaluate()
    return M3_EPOCHS * (TRAIN_IMAGES / config.train.batch_size * step_ms + evaluation_ms) / 1000
