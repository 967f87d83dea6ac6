"""The record on disk: what is written comes back, and what is no record is refused with its name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mnist_compact.results.record import FILENAME, NetworkFacts, RecordError, RunRecord, Score, Status


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
        (lambda raw: raw.update(schema_version=2), "schema version 2; this program reads 1"),
        (_without("schema_version"), "schema version None"),
        (_without("status"), "damaged.*status"),
        (_without("network"), "damaged.*network"),
        (_without("environment"), "damaged.*environment"),
        (lambda raw: raw.update(status="splendid"), "damaged.*splendid"),
        (lambda raw: raw.update(surprise=1), "damaged.*surprise"),
        (lambda raw: raw["scores"][0].pop("weights"), "damaged.*weights"),
    ],
)
def test_a_damaged_record_is_refused_with_the_fault(
    make_run: Callable[..., Path], change: Callable[[dict[str, Any]], None], message: str
) -> None:
    folder = make_run()
    raw = json.loads((folder / FILENAME).read_text())
    change(raw)
    (folder / FILENAME).write_text(json.dumps(raw))
    with pytest.raises(RecordError, match=message):
        RunRecord.read(folder)


@pytest.mark.parametrize("text", ["", "[]", "null", '{"schema_version": 1', "\x00\x01"])
def test_a_file_that_is_no_record_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / FILENAME).write_text(text)
    with pytest.raises(RecordError, match=FILENAME):
        RunRecord.read(tmp_path)


def test_a_record_that_json_cannot_hold_leaves_the_old_one(make_run: Callable[..., Path]) -> None:
    folder = make_run()
    record = RunRecord.read(folder)
    record.seconds = float("nan")
    with pytest.raises(ValueError, match="not JSON compliant"):
        record.write(folder)
    assert RunRecord.read(folder).seconds == 7.5
    assert sorted(path.name for path in folder.iterdir()) == ["metrics.csv", FILENAME]
