"""Fixtures that make run folders with chosen figures: one real run, changed by the classes that wrote it."""

import copy
import csv
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mnist_compact.callbacks.callback import Callback
from mnist_compact.config.composition import compose
from mnist_compact.data.datasets import Datasets, Split, make_synthetic
from mnist_compact.records.record import RunRecord, Score, Status
from mnist_compact.runs.artifacts import write_metrics, write_mistakes
from mnist_compact.runs.trainer import run
from mnist_compact.training.evaluation import Evaluation

OVERRIDES = (
    *("model=m3", "optim=adam", "optim.lr=0.015", "scheduler=onecycle", "augment=jitter_rotate"),
    *("train.epochs=3", "machine.threads=1", "machine.device=cpu"),
)


def _confusion(final: Score) -> list[list[int]]:
    """A matrix with the counts of the score: 4 is predicted as 9 five times, 7 as 2 once, the rest 0 as 6."""
    matrix = np.diag([final.correct // 10] * 10)
    matrix[0, 0] += final.correct % 10
    wrong = final.total - final.correct
    matrix[4, 9] = min(wrong, 5)
    matrix[7, 2] = min(wrong - matrix[4, 9], 1)
    matrix[0, 6] = wrong - matrix[4, 9] - matrix[7, 2]
    counts: list[list[int]] = matrix.tolist()
    return counts


def _score(split: str, weights: str, at: str, accuracy: float, *, epoch: int = 3, loss: float = 0.05) -> Score:
    return Score(
        split=split,
        weights=weights,
        at=at,
        epoch=epoch,
        accuracy=accuracy,
        loss=loss,
        correct=round(accuracy * 100),
        total=10_000,
    )


SCORES = [
    _score("train", "raw", "last", 98.25),
    _score("train", "raw", "best", 98.5, epoch=2),
    _score("test", "raw", "last", 99.0),
    _score("test", "raw", "best", 99.05, epoch=2, loss=0.04),
]
FIGURES = {  # columns of metrics.csv, one value per epoch
    "learning_rate": (0.01, 0.02, 0.01),
    "train_loss": (0.5, 0.2, 0.1),
    "train_accuracy": (90.0, 98.5, 98.25),
    "test_loss": (0.1, 0.04, 0.05),
    "test_accuracy": (97.0, 99.05, 99.0),
    "test_correct": (9700, 9905, 9900),
    "seconds": (2.5, 2.5, 2.5),
}


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a real run: three epochs on synthetic images that are labelled as the MNIST test images."""
    folder = tmp_path_factory.mktemp("written") / "run"
    data = make_synthetic(128, 40, seed=0)
    images = dataclasses.replace(data, evaluation=dataclasses.replace(data.evaluation, name="test"))
    run(compose(*OVERRIDES), folder, Callback(), overrides=OVERRIDES, data=images)
    return folder


@pytest.fixture
def settings(written: Path) -> Callable[..., dict[str, Any]]:
    """The run's configuration with replaced values; `__` stands for the dot of a key: settings(optim__lr=0.1)."""
    recorded = RunRecord.read(written).config

    def changed(**changes: Any) -> dict[str, Any]:
        config = copy.deepcopy(recorded)
        for key, value in changes.items():
            *groups, last = key.split("__")
            place = config
            for group in groups:
                place = place[group]
            assert last in place, f"no run has {key}"
            place[last] = value
        return config

    return changed


def _with_final(scores: list[Score], evaluated: str) -> list[Score]:
    """The scores, with the score at the last epoch marked as final, that of averaged weights if there is one."""
    ended = [score for score in scores if (score.split, score.at) == (evaluated, "last")]
    final = next((score for score in ended if score.weights == "averaged"), ended[0] if ended else None)
    return [dataclasses.replace(score, final=score is final) for score in scores]


@pytest.fixture
def score() -> Callable[..., Score]:
    return _score


@pytest.fixture
def make_run(tmp_path: Path, written: Path) -> Callable[..., Path]:
    """make_run(name, metrics=…, mistakes=…, **fields of the record) creates the run folder tmp_path/name.

    `metrics` is the text of metrics.csv, None for no file; by default the file has FIGURES.
    """

    def make(name: str = "run", *, metrics: str | None = "", mistakes: int | None = None, **fields: Any) -> Path:
        values: dict[str, Any] = {
            "status": Status.COMPLETED,
            "scores": SCORES,
            "seconds": 7.5,
            "started_at": "2025-11-20T10:00:00+00:00",
            "finished_at": "2025-11-20T10:00:08+00:00",
        }
        values |= fields
        values.setdefault("evaluated", next((each.split for each in values["scores"] if each.split != "train"), "test"))
        values["scores"] = _with_final(values["scores"], values["evaluated"])
        final = next((each for each in values["scores"] if each.final), None)
        values.setdefault("confusion", final and _confusion(final))
        folder = tmp_path / name
        dataclasses.replace(RunRecord.read(written), **values).write(folder)
        if metrics:
            (folder / "metrics.csv").write_text(metrics)
        elif metrics is not None:
            write_metrics(folder, _rows(written))
        if mistakes is not None:
            _write_mistakes(folder, mistakes)
        return folder

    return make


def _rows(written: Path) -> list[dict[str, Any]]:
    with (written / "metrics.csv").open() as file:
        rows: list[dict[str, Any]] = [*csv.DictReader(file)]
    for epoch, row in enumerate(rows):
        assert row.keys() > FIGURES.keys()
        row |= {name: figures[epoch] for name, figures in FIGURES.items()}
    return rows


def _write_mistakes(folder: Path, count: int) -> None:
    """Write `count` mistakes: image i is a block of a unique brightness, labelled 4 and predicted as 9."""
    wrong = torch.arange(count) * 10
    image = torch.zeros(10 * count, 28, 28, dtype=torch.uint8)
    image[wrong, 4:24, 10:18] = (255 - torch.arange(count, dtype=torch.uint8)).view(-1, 1, 1)
    label = torch.full((10 * count,), 4)
    predicted, confidence = label.clone(), torch.ones(10 * count)
    predicted[wrong], confidence[wrong] = 9, torch.linspace(0.995, 0.4, count)
    split = Split("test", image, label)
    write_mistakes(folder, Datasets(split, split, 0.0, 1.0), Evaluation(0.05, 0.05, 9 * count, predicted, confidence))
