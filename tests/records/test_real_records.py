"""Reports on folders of real runs: every figure agrees with the record, and every setting has its column."""

import csv
import dataclasses
import io
import math
from enum import Enum

import pandas as pd
import pytest

from mnist_compact.cli.report import main
from mnist_compact.config.conversion import from_record
from mnist_compact.records.metrics import read_metrics
from mnist_compact.records.record import RunRecord
from mnist_compact.records.settings import GROUPS
from mnist_compact.reports.columns import COLUMN_NAMES
from mnist_compact.reports.tables import load_runs
from mnist_compact.runs.trainer import run

MEASURES = ("accuracy", "loss")


def press_ctrl_c(view):
    if view.epoch == 2:
        raise KeyboardInterrupt


RUNS = {  # folder → overrides, and what happens at a step
    "first": (("model=m1", "optim.lr=0.02"), lambda view: None),
    "second": (("model=m1", "optim.lr=0.02", "seed=1"), lambda view: None),
    "averaged": (("model=m3", "train.average_epochs=1", "optim=sgd", "scheduler=step"), lambda view: None),
    "stopped": (("model=m2", "optim=muon"), press_ctrl_c),
    "diverged": (("model=m1", "optim=sgd", "optim.lr=1e30"), lambda view: None),
}


@pytest.fixture(scope="module")
def outputs(configure, recording_callback, tmp_path_factory):
    folder = tmp_path_factory.mktemp("real") / "runs"
    for name, (overrides, at_step) in RUNS.items():
        run(configure(*overrides), folder / name, recording_callback(at_step), overrides=overrides)
    return folder


def settings_of(config):
    """All settings of a configuration by their command-line keys, except the names of the options."""

    def leaves(key, value):
        if dataclasses.is_dataclass(value):
            value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        if isinstance(value, dict):
            for name, part in value.items():
                yield from leaves(f"{key}.{name}" if key else name, part)
        else:
            yield key, value.value if isinstance(value, Enum) else value

    return {key: value for key, value in leaves("", config) if key not in COLUMN_NAMES and not key.endswith(".name")}


def rows_by_folder(outputs):
    frame = load_runs(outputs)
    return {row["run"].rpartition("/")[2]: row for row in frame.to_dict("records")}


def test_every_run_is_a_row_with_the_figures_of_its_record(outputs):
    rows = rows_by_folder(outputs)
    assert {name: row["status"] for name, row in rows.items()} == {
        **dict.fromkeys(("first", "second", "averaged"), "completed"),
        **{"stopped": "interrupted", "diverged": "diverged"},
    }
    for name, row in rows.items():
        record = RunRecord.read(outputs / name)
        network = record.network
        assert (row["parameters"], row["macs"]) == (network.parameters, network.macs)
        assert (row["epochs_done"], row["seconds"]) == (record.epochs_done, record.seconds)
        assert row["seed"] == record.config["seed"]
        assert [row[group] for group in GROUPS] == [record.config[group]["name"] for group in GROUPS]
        score_columns = {column for column in row if column.endswith(("_last", "_best")) and not pd.isna(row[column])}
        for score in record.scores:
            weights = "" if score.weights == "raw" else f"{score.weights}_"
            others = ["epoch"] if score.at == "best" else [] if score.split == "train" else ["calibrated_loss"]
            for measure in (*MEASURES, *others):
                column = f"{score.split}_{weights}{measure}_{score.at}"
                assert row[column] == getattr(score, measure)
                score_columns.remove(column)
        assert score_columns == set()


def test_every_setting_is_a_column_under_its_key(outputs):
    for name, row in rows_by_folder(outputs).items():
        settings = settings_of(from_record(RunRecord.read(outputs / name).config))
        assert len(settings) > 30
        for key, value in settings.items():
            if isinstance(value, list):
                assert all(str(part) in str(row[key]) for part in value)
            elif value is not None:
                assert row[key] == value, key


def test_metrics_agree_with_the_scores_of_the_record(outputs):
    for name in RUNS:
        record, metrics = RunRecord.read(outputs / name), read_metrics(outputs / name)
        assert len(metrics) == record.epochs_done
        for score in record.scores:
            prefix = score.split if score.weights == "raw" else f"{score.split}_averaged"
            (row,) = metrics[metrics["epoch"] == score.epoch].to_dict("records")
            assert row[f"{prefix}_accuracy"] == pytest.approx(score.accuracy)
            assert row[f"{prefix}_loss"] == pytest.approx(score.loss)
            if score.split != "train":
                assert row[f"{prefix}_calibrated_loss"] == pytest.approx(score.calibrated_loss)
                assert 0 < score.calibrated_loss <= score.loss + 1e-6
            assert row[f"{prefix}_correct"] == score.correct


def test_groups_summarize_the_records(outputs, capsys):
    main([str(outputs), "--by", "optim.lr", "--format", "csv"])
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    (pair,) = [row for row in rows if float(row["optim.lr"]) == 0.02]
    last = [RunRecord.read(outputs / name).score("synthetic").accuracy for name in ("first", "second")]
    assert float(pair["synthetic n"]) == 2
    assert float(pair["synthetic mean %"]) == pytest.approx(sum(last) / 2)
    assert float(pair["synthetic sd"]) == pytest.approx(abs(last[0] - last[1]) / math.sqrt(2), abs=1e-6)
    assert (float(pair["synthetic min %"]), float(pair["synthetic max %"])) == (min(last), max(last))


def test_comparison_shows_best_and_last_of_each_run(outputs, capsys):
    main([str(outputs)])
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.split()}
    for name in ("first", "second", "averaged"):
        record = RunRecord.read(outputs / name)
        for split, at in (("train", "best"), ("train", "last"), ("synthetic", "best"), ("synthetic", "last")):
            assert f"{record.score(split, at=at).accuracy:.2f}" in lines[name]
        assert f"{record.network.parameters:,}" in lines[name]
