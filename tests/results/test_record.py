"""The record on disk: what is written comes back, and what is no record is refused with its name."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mnist_compact.results.record import NetworkFacts, RecordError, RunRecord, Score, Status, objective
from mnist_compact.run_files import RECORD


@pytest.mark.parametrize("status", list(Status))
def test_a_record_comes_back_as_it_was_written(make_run: Callable[..., Path], tmp_path: Path, status: Status) -> None:
    record = RunRecord.read(make_run(status=status, reason="why: ü [x]", finished_at=None))
    assert record.status is status
    assert record.reason == "why: ü [x]"
    assert isinstance(record.scores[0], Score)
    assert isinstance(record.network, NetworkFacts)

    record.write(tmp_path / "again")
    assert RunRecord.read(tmp_path / "again") == record


@pytest.mark.parametrize(
    ("wanted", "accuracy"),
    [
        ({"split": "test"}, 99.0),
        ({"split": "test", "at": "best"}, 99.05),
        ({"split": "train", "at": "best"}, 98.5),
        ({"split": "test", "weights": "averaged"}, None),
        ({"split": "holdout"}, None),
    ],
)
def test_score_answers_exactly_what_was_asked(
    make_run: Callable[..., Path], wanted: dict[str, str], accuracy: float | None
) -> None:
    found = RunRecord.read(make_run()).score(**wanted)
    assert (found.accuracy if found else None) == accuracy


def test_a_folder_without_a_record_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=f"{tmp_path} is not a run folder"):
        RunRecord.read(tmp_path)


def _without(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda raw: raw.pop(key)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw.update(schema_version=4), "schema version 4; this program reads 1, 2, 3"),
        (_without("schema_version"), "schema version None"),
        (_without("status"), "damaged: status must be given"),
        (_without("network"), "damaged.*network"),
        (lambda raw: raw.update(status="splendid"), "damaged.*splendid"),
        (lambda raw: raw["scores"][0].pop("weights"), "damaged: weights must be given"),
    ],
)
def test_a_damaged_record_is_refused_with_the_fault(
    make_run: Callable[..., Path], change: Callable[[dict[str, Any]], None], message: str
) -> None:
    folder = make_run()
    raw = json.loads((folder / RECORD).read_text())
    change(raw)
    (folder / RECORD).write_text(json.dumps(raw))
    with pytest.raises(RecordError, match=message):
        RunRecord.read(folder)


@pytest.mark.parametrize("text", ["", "[]", "null", '{"schema_version": 1', "\x00\x01"])
def test_a_file_that_is_no_record_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / RECORD).write_text(text)
    with pytest.raises(RecordError, match=RECORD):
        RunRecord.read(tmp_path)


def test_a_record_that_json_cannot_hold_leaves_the_old_one(make_run: Callable[..., Path]) -> None:
    folder = make_run()
    record = RunRecord.read(folder)
    record.seconds = float("nan")
    with pytest.raises(ValueError, match="not JSON compliant"):
        record.write(folder)
    assert RunRecord.read(folder).seconds == 7.5
    assert sorted(path.name for path in folder.iterdir()) == ["metrics.csv", RECORD]


def _rewritten(folder: Path, change: Callable[[dict[str, Any]], object]) -> RunRecord:
    raw = json.loads((folder / RECORD).read_text())
    change(raw)
    (folder / RECORD).write_text(json.dumps(raw))
    return RunRecord.read(folder)


def test_keys_of_another_writer_of_this_version_are_passed_over(make_run: Callable[..., Path]) -> None:
    def enriched(raw: dict[str, Any]) -> None:
        for place in (raw, raw["network"], raw["scores"][0]):
            place["surprise"] = 1

    folder = make_run()
    as_written = RunRecord.read(folder)
    assert _rewritten(folder, enriched) == as_written


@pytest.mark.parametrize(
    ("missing", "default"),
    [
        ("overrides", []),
        ("environment", {}),
        ("normalisation", None),
        ("continuations", []),
        ("scores", []),
        ("confusion", None),
        ("started_at", None),
    ],
)
def test_a_missing_key_has_its_default(make_run: Callable[..., Path], missing: str, default: object) -> None:
    assert getattr(_rewritten(make_run(), _without(missing)), missing) == default


def _of_version_1(raw: dict[str, Any]) -> None:
    raw["schema_version"] = 1
    for key in ("evaluated", "normalisation", "continuations"):
        del raw[key]
    for score in raw["scores"]:
        del score["final"]


def test_a_record_of_version_1_says_by_its_names_what_version_2_says_outright(
    make_run: Callable[..., Path], score: Callable[..., Score]
) -> None:
    folder = make_run()
    as_written = RunRecord.read(folder)
    assert _rewritten(folder, _of_version_1) == dataclasses.replace(as_written, normalisation=None)

    averaged = make_run("averaged", scores=[*as_written.scores, score("test", "averaged", "last", 99.1)])
    final = _rewritten(averaged, _of_version_1).final
    assert final is not None
    assert (final.weights, final.accuracy) == ("averaged", 99.1)

    without = make_run("without", scores=[])
    record = _rewritten(without, _of_version_1)
    assert (record.evaluated, record.final) == ("test", None)


def test_a_record_of_version_2_has_what_is_the_machines_elsewhere(make_run: Callable[..., Path]) -> None:
    def of_version_2(raw: dict[str, Any]) -> None:
        raw["schema_version"] = 2
        del raw["config"]["machine"]
        raw["config"]["train"] |= {"threads": 2, "device": "cpu"}
        raw["config"]["data"]["root"] = "/images"

    folder = make_run()
    machine = {"kind": "machine", "name": "auto", "device": "cpu", "threads": 2, "data_root": "/images"}
    expected = RunRecord.read(folder).config | {"machine": machine}
    assert _rewritten(folder, of_version_2).config == expected


def test_of_a_lengthened_run_of_version_1_the_old_average_is_not_final(
    make_run: Callable[..., Path], score: Callable[..., Score]
) -> None:
    """Its averaged epochs, up to the second, lie before its last one, the third."""
    scores = [
        score("test", "raw", "last", 99.0),
        score("test", "averaged", "last", 99.2, epoch=2),
        score("test", "averaged", "best", 99.2, epoch=2),
    ]
    record = _rewritten(make_run(scores=scores), _of_version_1)
    assert [(each.weights, each.at) for each in record.scores] == [("raw", "last"), ("averaged", "best")]
    assert record.final == record.score("test")


def test_a_run_that_diverged_has_no_objective(make_run: Callable[..., Path]) -> None:
    """A sweeper takes that for a failure, whatever the epochs before were worth."""
    assert objective(RunRecord.read(make_run())) == 99.0
    assert objective(RunRecord.read(make_run("diverged", status=Status.DIVERGED))) is None
    assert objective(RunRecord.read(make_run("failed", status=Status.FAILED, scores=[]))) is None
