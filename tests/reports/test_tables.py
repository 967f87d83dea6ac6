"""Tables of records: every run has a row, and every quantity has its own column."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mnist_compact.records.record import RunRecord, Score, Status
from mnist_compact.reports.cells import config_cells
from mnist_compact.reports.columns import COLUMN_NAMES
from mnist_compact.reports.tables import by_importance, compare_runs, load_runs, reference_comparison

MakeRun = Callable[..., Path]
Settings = Callable[..., dict[str, Any]]
MakeScore = Callable[..., Score]


def test_every_fact_of_a_network_has_its_own_column(make_run: MakeRun, written: Path) -> None:
    folder = make_run(network=dataclasses.replace(RunRecord.read(written).network, trainable_parameters=3900))
    network = dataclasses.asdict(RunRecord.read(folder).network)
    counts = {name: count for name, count in network.items() if isinstance(count, int)}
    assert len(set(counts.values())) == len(counts) > 3
    (row,) = load_runs(folder).to_dict("records")
    assert {name: row[name] for name in counts} == counts


# load_runs: rows


@pytest.mark.parametrize("status", list(Status))
def test_runs_of_every_status_are_rows(make_run: MakeRun, tmp_path: Path, status: Status) -> None:
    make_run(status=status, scores=[], reason="nan in epoch 2", metrics=None)
    (row,) = load_runs(tmp_path).to_dict("records")
    assert (row["status"], row["reason"], row["parameters"]) == (status.value, "nan in epoch 2", 3928)


def test_rows_are_sorted_by_start_and_path_unreadable_last(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("a", started_at="2025-11-20T12:00:00+00:00")
    make_run("deep/er/z", started_at="2025-11-20T12:30:00+01:00")  # 11:30 UTC
    make_run("b", started_at="2025-11-20T12:00:00+00:00")
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "result.json").write_text("{")
    assert [Path(run).name for run in load_runs(tmp_path)["run"]] == ["z", "a", "b", "0"]


def _edit(folder: Path, **changes: Any) -> None:
    raw = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps(raw | changes))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder: (folder / "result.json").write_text('{"schema_version": 1, "sta'), "damaged"),
        (lambda folder: _edit(folder, schema_version=99), "schema version 99"),
        (lambda folder: _edit(folder, network={}), "damaged"),
        (lambda folder: _edit(folder, config=["m3"]), "config is not a mapping"),
        (lambda folder: _edit(folder, seconds="long"), "seconds must be a number of at least 0, got 'long'"),
        (lambda folder: _edit(folder, seconds=float("inf")), "seconds must be a number of at least 0, got inf"),
        (lambda folder: _edit(folder, started_at="yesterday"), "started_at cannot be read"),
        (lambda folder: _edit(folder, config={"seed": True}), "seed cannot be read: True"),
    ],
)
def test_damaged_record_is_a_row(make_run: MakeRun, tmp_path: Path, damage: Callable[[Path], Any], reason: str) -> None:
    make_run("good")
    damage(make_run("bad"))
    good, bad = load_runs(tmp_path).to_dict("records")
    assert good["status"] == "completed"
    assert (Path(bad["run"]).name, bad["status"]) == ("bad", "unreadable")
    assert reason in bad["reason"]
    assert pd.isna(bad["parameters"])


def test_score_of_a_wrong_type_makes_the_record_unreadable(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run()
    raw = json.loads((folder / "result.json").read_text())
    raw["scores"][2]["accuracy"] = "high"
    _edit(folder, scores=raw["scores"])
    assert "scores[2].accuracy must be a number from 0 to 100, got 'high'" in load_runs(tmp_path)["reason"].item()


def test_folder_found_twice_is_one_row(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run("runs/x")
    assert load_runs(tmp_path, folder, tmp_path / "runs")["run"].tolist() == [str(folder)]


def test_runs_are_named_relative_to_the_given_path(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run("outputs/runs/x")
    monkeypatch.chdir(tmp_path)
    assert load_runs("outputs")["run"].tolist() == ["outputs/runs/x"]


def test_folder_without_runs_gives_an_empty_table(make_run: MakeRun, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    empty = load_runs(tmp_path / "empty")
    assert (len(empty), tuple(empty.columns)) == (0, COLUMN_NAMES)
    full = load_runs(make_run())
    assert empty.dtypes.equals(full.dtypes[list(COLUMN_NAMES)])


@pytest.mark.parametrize("table", [load_runs, lambda path: compare_runs([path])])
def test_error_for_a_missing_path_names_it(tmp_path: Path, table: Callable[[Path], Any]) -> None:
    with pytest.raises(ValueError, match="nowhere"):
        table(tmp_path / "nowhere")


# load_runs: columns


def test_columns_have_nullable_dtypes(make_run: MakeRun, tmp_path: Path, settings: Settings) -> None:
    make_run("a", finished_at=None, config=settings(optim__lr=1, model__order=[]))
    make_run("b", config=settings(budget__max_epochs=None, machine__data_root="images"))
    dtypes = load_runs(tmp_path).dtypes.astype(str)
    expected = {
        "run": "string",
        "experiment": "string",
        "seed": "Int64",
        "parameters": "Int64",
        "seconds": "Float64",
        "started_at": "datetime64[us]",
        "finished_at": "datetime64[us]",
        "test_accuracy_last": "Float64",
        "test_epoch_best": "Int64",
        "optim.lr": "Float64",
        "train.batch_size": "Int64",
        "budget.max_epochs": "Int64",
        "model.conv_bias": "boolean",
        "machine.data_root": "string",
        "model.order": "string",
    }
    assert dtypes[list(expected)].to_dict() == expected


def test_settings_have_the_keys_of_the_command_line(make_run: MakeRun) -> None:
    (row,) = load_runs(make_run()).to_dict("records")
    assert (row["model"], row["optim"], row["augment"], row["budget"]) == ("m3", "adam", "jitter_rotate", "mission")
    assert row["seed"] == 0
    assert pd.isna(row["experiment"])
    assert (row["optim.lr"], row["model.layers.conv1.width"]) == (0.015, 8)
    assert row["model.order"] == "[conv1,conv2,conv3,conv4,conv5,conv6,conv7]"
    assert not {"model.kind", "model.name", "seed.name"} & row.keys()


def test_column_of_numbers_and_text_is_text(make_run: MakeRun, tmp_path: Path, settings: Settings) -> None:
    make_run("a", config=settings(machine__data_root=3))
    make_run("b", config=settings(machine__data_root="images"))
    assert load_runs(tmp_path)["machine.data_root"].tolist() == ["3", "images"]


@pytest.mark.parametrize(
    ("config", "cells"),
    [
        ({"augment": None}, {}),
        ({"optim": {"name": "sgd", "kind": "sgd"}}, {}),
        ({"threads": 2}, {"threads": 2}),
        ({"data": {"mean": []}}, {"data.mean": "[]"}),
        ({"data": {"extra": {}}}, {"data.extra": "{}"}),
        ({"model": {"blocks": [{"width": 8}, [1]]}}, {"model.blocks": '[{"width":8},[1]]'}),
        ({"model": {"head": {"kind": "gap", "name": "x"}}}, {"model.head.kind": "gap", "model.head.name": "x"}),
    ],
)
def test_config_cells(config: dict[str, Any], cells: dict[str, Any]) -> None:
    assert config_cells(config) == cells


def test_every_split_weights_and_epoch_has_its_own_column(make_run: MakeRun, score: MakeScore) -> None:
    kinds = [
        (split, weights, at)
        for split in ("train", "test", "holdout", "synthetic")
        for weights in ("raw", "averaged")
        for at in ("last", "best")
    ]
    scores = [score(*kind, 90 + i / 10, loss=i / 100, epoch=i + 1) for i, kind in enumerate(kinds)]
    (row,) = load_runs(make_run(scores=scores)).to_dict("records")
    for i, (split, weights, at) in enumerate(kinds):
        stem = split if weights == "raw" else f"{split}_averaged"
        assert row[f"{stem}_accuracy_{at}"] == 90 + i / 10
        assert row[f"{stem}_loss_{at}"] == i / 100
        assert row.get(f"{stem}_epoch_{at}") == (i + 1 if at == "best" else None)


def test_columns_of_other_splits_are_empty(make_run: MakeRun, tmp_path: Path, score: MakeScore) -> None:
    make_run("a", scores=[score("test", "raw", "last", 99.1)])
    make_run("b", scores=[score("holdout", "raw", "last", 98.7)])
    table = load_runs(tmp_path)[["test_accuracy_last", "holdout_accuracy_last"]]
    assert table.to_numpy().tolist() == [[99.1, pd.NA], [pd.NA, 98.7]]


def test_status_is_important_unless_every_run_is_completed(make_run: MakeRun) -> None:
    whole = reference_comparison(load_runs(make_run("a"), make_run("b")))
    assert by_importance(whole)[:2] == ["run", "test accuracy last %"]
    assert sorted(by_importance(whole)) == sorted(whole.columns)
    cut = reference_comparison(load_runs(make_run("c", status="interrupted")))
    assert by_importance(cut)[:2] == ["run", "status"]
