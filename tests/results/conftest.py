"""Run folders made by hand, without training: records through their own `write`, metrics and mistakes beside them."""

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mnist_compact.results.record import NetworkFacts, RunRecord, Score, Status

CONFIG: dict[str, Any] = {
    "data": {"kind": "mnist", "name": "mnist", "holdout": 0},
    "model": {
        "kind": "layered",
        "name": "m3",
        "dropout": 0.05,
        "layers": {"conv1": {"width": 8}, "conv2": {"width": 16}},
        "order": ["conv", "relu", "norm"],
    },
    "augment": {"name": "rotate", "rotation_deg": 7},
    "optim": {"kind": "adam", "name": "adam", "lr": 0.015, "betas": [0.9, 0.999]},
    "scheduler": {"name": "onecycle", "warmup": None},
    "train": {"name": "default", "epochs": 3, "batch_size": 128, "shuffle": True},
    "budget": {"name": "course", "max_parameters": 8000},
    "machine": {"kind": "machine", "name": "auto"},
    "seed": 0,
    "experiment": None,
}
CONFUSION = np.diag([100] * 10)
CONFUSION[4, 9] = 5
CONFUSION[7, 2] = 1


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
METRICS = """\
epoch,learning_rate,train_loss,train_accuracy,test_loss,test_accuracy,test_correct,seconds
1,0.01,0.5,90.0,0.1,97.0,9700,2.5
2,0.02,0.2,98.5,0.04,99.05,9905,2.5
3,0.01,0.1,98.25,0.05,99.0,9900,2.5
"""


def _settings(**changes: Any) -> dict[str, Any]:
    """CONFIG with values replaced by their dotted keys, `__` standing for the dot: settings(optim__lr=0.1)."""
    config = copy.deepcopy(CONFIG)
    for key, value in changes.items():
        *groups, last = key.split("__")
        place = config
        for group in groups:
            place = place[group]
        place[last] = value
    return config


def _with_final(scores: list[Score], evaluated: str) -> list[Score]:
    """The last one marked as final, that of averaged weights if there is one."""
    ended = [score for score in scores if (score.split, score.at) == (evaluated, "last")]
    final = next((score for score in ended if score.weights == "averaged"), ended[0] if ended else None)
    return [dataclasses.replace(score, final=score is final) for score in scores]


@pytest.fixture
def settings() -> Callable[..., dict[str, Any]]:
    return _settings


@pytest.fixture
def score() -> Callable[..., Score]:
    return _score


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """make_run(name, metrics=…, mistakes=…, **fields of the record) -> the folder tmp_path/name."""

    def make(name: str = "run", *, metrics: str | None = METRICS, mistakes: int | None = None, **fields: Any) -> Path:
        values: dict[str, Any] = {
            "status": Status.COMPLETED,
            "config": _settings(),
            "overrides": ["model=m3"],
            "scores": SCORES,
            "epochs_done": 3,
            "network": NetworkFacts(
                parameters=3928, trainable_parameters=3900, macs=250_000, receptive_field=24, input_shape=[1, 28, 28]
            ),
            "confusion": CONFUSION.tolist(),
            "seconds": 7.5,
            "started_at": "2025-11-20T10:00:00+00:00",
            "finished_at": "2025-11-20T10:00:08+00:00",
            "environment": {"torch": "2.14"},
        }
        values |= fields
        values.setdefault("evaluated", next((each.split for each in values["scores"] if each.split != "train"), "test"))
        values["scores"] = _with_final(values["scores"], values["evaluated"])
        folder = tmp_path / name
        RunRecord(**values).write(folder)
        if metrics is not None:
            (folder / "metrics.csv").write_text(metrics)
        if mistakes is not None:
            _write_mistakes(folder, mistakes)
        return folder

    return make


def _write_mistakes(folder: Path, count: int) -> None:
    """`count` mistakes: image i is a block of brightness that no other shares, labelled 4 and taken for 9."""
    image = np.zeros((count, 28, 28), dtype=np.uint8)
    for i in range(count):
        image[i, 4:24, 10:18] = 255 - i
    np.savez(
        folder / "mistakes.npz",
        index=np.arange(count, dtype=np.int64) * 10,
        label=np.full(count, 4, dtype=np.int64),
        predicted=np.full(count, 9, dtype=np.int64),
        confidence=np.linspace(0.995, 0.4, count, dtype=np.float32),
        image=image,
    )
