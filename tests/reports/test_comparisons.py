"""Comparisons of runs: the table of the reference programme, and the differences within a multirun."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mnist_compact.config.composition import compose
from mnist_compact.config.schema import to_record
from mnist_compact.records.record import NetworkFacts, Score, Status
from mnist_compact.reports.tables import common_folder, compare_runs, load_runs, reference_comparison

MakeRun = Callable[..., Path]
Settings = Callable[..., dict[str, Any]]
MakeScore = Callable[..., Score]


# the comparison of the reference programme


def test_comparison_has_columns_of_the_reference_programme(make_run: MakeRun) -> None:
    folder = make_run("m3-run")
    table = reference_comparison(load_runs(folder))
    assert table.to_dict("records") == [
        {
            "run": "m3-run",
            "model": "m3",
            "seed": 0,
            "parameters": 3928,
            "receptive field": "24×24",
            "train accuracy best %": 98.5,
            "train accuracy last %": 98.25,
            "test accuracy best %": 99.05,
            "test accuracy last %": 99.0,
            "epochs to converge": 2,
            "optimizer": "adam",
            "scheduler": "onecycle",
            "augmentation": "jitter_rotate",
            "epochs": 3,
            "status": "completed",
        }
    ]


def test_comparison_has_columns_per_split_and_weights(make_run: MakeRun, tmp_path: Path, score: MakeScore) -> None:
    both = [score("holdout", "raw", "last", 98.0), score("test", "raw", "last", 99.0)]
    make_run("a", scores=both)
    make_run("b", scores=[score("test", "averaged", "last", 99.5)])
    make_run("c", scores=[score("train", "raw", "last", 97.0)])
    table = reference_comparison(load_runs(tmp_path))
    scores = {
        "train accuracy last %": [pd.NA, pd.NA, 97.0],
        "holdout accuracy last %": [98.0, pd.NA, pd.NA],
        "test accuracy last %": [99.0, pd.NA, pd.NA],
        "test averaged accuracy last %": [pd.NA, 99.5, pd.NA],
    }
    assert [name for name in table if "accuracy" in name] == list(scores)
    assert {name: [*table[name]] for name in scores} == scores


def test_comparison_names_experiments_if_there_are_any(make_run: MakeRun, settings: Settings) -> None:
    table = reference_comparison(load_runs(make_run(config=settings(experiment="champion"))))
    assert table["experiment"].tolist() == ["champion"]


def test_comparison_keeps_unreadable_runs_and_accepts_no_runs(make_run: MakeRun, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert reference_comparison(load_runs(tmp_path / "empty")).empty
    (make_run("x") / "result.json").write_text("{")
    table = reference_comparison(load_runs(tmp_path))
    assert table[["run", "parameters", "receptive field", "status"]].to_numpy().tolist() == [
        ["x", pd.NA, pd.NA, "unreadable"]
    ]


@pytest.mark.parametrize(
    ("runs", "folder"),
    [
        (["outputs/a", "outputs/b/c"], "outputs"),
        (["outputs/a"], "outputs"),
        (["a", "b/c"], ""),
        (["/x/a", "y/a"], ""),
        ([], ""),
    ],
)
def test_common_folder(runs: list[str], folder: str) -> None:
    assert common_folder(pd.DataFrame({"run": pd.Series(runs, dtype="string")})) == folder


# the comparison within a multirun


def test_compare_runs_shows_differences_and_results(make_run: MakeRun, tmp_path: Path, settings: Settings) -> None:
    folders = [
        make_run("0", config=settings(optim__lr=0.1)),
        make_run("1", config=settings(optim__lr=0.2), seconds=9.0),
    ]
    table = compare_runs(folders)
    assert list(table) == [
        "run",
        "optim.lr",
        "test_accuracy_last",
        "test_accuracy_best",
        "parameters",
        "seconds",
        "status",
    ]
    assert table[["run", "optim.lr", "seconds"]].to_numpy().tolist() == [["0", 0.1, 7.5], ["1", 0.2, 9.0]]


def test_compare_runs_lists_only_the_name_of_other_options(make_run: MakeRun, settings: Settings) -> None:
    sgd = settings(seed=1)
    sgd["optim"] = to_record(compose("optim=sgd"))["optim"]
    folders = [make_run("0"), make_run("1", config=sgd)]
    assert list(compare_runs(folders))[1:3] == ["optim", "seed"]
    folders.append(make_run("2", config=settings(optim__lr=0.3)))
    assert list(compare_runs(folders))[1:4] == ["optim", "seed", "optim.lr"]


def test_unreadable_run_does_not_make_settings_differ(make_run: MakeRun) -> None:
    folders = [make_run("0"), make_run("1")]
    (folders[1] / "result.json").write_text("{")
    table = compare_runs(folders)
    assert list(table)[:2] == ["run", "test_accuracy_last"]
    assert table["status"].tolist() == ["completed", "unreadable"]


def test_run_without_any_score_is_compared(make_run: MakeRun) -> None:
    facts = NetworkFacts(parameters=1, trainable_parameters=1, macs=1, receptive_field=1, input_shape=[1, 28, 28])
    table = compare_runs([make_run("0", status=Status.FAILED, scores=[], metrics=None, network=facts)])
    assert table.to_dict("records") == [{"run": "0", "parameters": 1, "seconds": 7.5, "status": "failed"}]
