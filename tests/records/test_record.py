"""The record on disk: it is read as it was written, and other files are refused by name."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mnist_compact.common.run_files import CORRECT, RECORD
from mnist_compact.records.record import NetworkFacts, RecordError, RunRecord, Score, Status, objective


@pytest.mark.parametrize("status", list(Status))
def test_record_is_read_as_it_was_written(make_run: Callable[..., Path], tmp_path: Path, status: Status) -> None:
    record = RunRecord.read(make_run(status=status, reason="why: ü [x]", finished_at=None))
    assert record.status is status
    assert record.reason == "why: ü [x]"
    assert isinstance(record.scores[0], Score)
    assert isinstance(record.network, NetworkFacts)

    record.write(tmp_path / "again")
    assert RunRecord.read(tmp_path / "again") == record


@pytest.mark.parametrize(
    ("criteria", "accuracy"),
    [
        ({"split": "test"}, 99.0),
        ({"split": "test", "at": "best"}, 99.05),
        ({"split": "train", "at": "best"}, 98.5),
        ({"split": "test", "weights": "averaged"}, None),
        ({"split": "holdout"}, None),
    ],
)
def test_score_matches_split_weights_and_epoch(
    make_run: Callable[..., Path], criteria: dict[str, str], accuracy: float | None
) -> None:
    found = RunRecord.read(make_run()).score(**criteria)
    assert (found.accuracy if found else None) == accuracy


def test_error_for_a_folder_without_a_record_names_it(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=f"{tmp_path} is not a run folder"):
        RunRecord.read(tmp_path)


def _without(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda raw: raw.pop(key)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw.update(schema_version=4), "schema version 4; this program reads 1, 2, 3"),
        (_without("schema_version"), "schema version None"),
        (_without("status"), "damaged: the record lacks status"),
        (_without("network"), "damaged.*network"),
        (lambda raw: raw.update(status="splendid"), "damaged.*splendid"),
        (lambda raw: raw["scores"][0].pop("weights"), "scores.0. lacks weights"),
    ],
)
def test_error_for_a_damaged_record_names_the_fault(
    make_run: Callable[..., Path], change: Callable[[dict[str, Any]], None], message: str
) -> None:
    folder = make_run()
    raw = json.loads((folder / RECORD).read_text())
    change(raw)
    (folder / RECORD).write_text(json.dumps(raw))
    with pytest.raises(RecordError, match=message):
        RunRecord.read(folder)


def _final(raw: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(score for score in raw["scores"] if score["final"])
    return found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw.update(schema_version=True), "schema version True"),
        (lambda raw: raw.update(epochs_done=-1), "epochs_done must be a whole number of at least 0, got -1"),
        (lambda raw: raw.update(seconds=float("nan")), "seconds must be a number of at least 0, got nan"),
        (lambda raw: raw["network"].update(parameters="few"), "network.parameters must be a whole .* got 'few'"),
        (lambda raw: _final(raw).update(epoch=1e300), r"scores\[2\].epoch must be a whole number .* 1, got 1e\+300"),
        (lambda raw: _final(raw).update(epoch=True), r"scores\[2\].epoch must be .* got True"),
        (lambda raw: _final(raw).update(correct=-5), r"scores\[2\].correct must be a whole .* at least 0, got -5"),
        (lambda raw: _final(raw).update(total=0), r"scores\[2\].total must be a whole .* at least 1, got 0"),
        (lambda raw: _final(raw).update(accuracy=100.5), r"accuracy must be a number from 0 to 100, got 100.5"),
        (lambda raw: _final(raw).update(loss=None), r"scores\[2\].loss must be a number of at least 0, got None"),
        (lambda raw: _final(raw).update(weights=1), r"scores\[2\].weights must be a text, got 1"),
        (lambda raw: _final(raw).update(final="yes"), r"scores\[2\].final must be true or false, got 'yes'"),
        (lambda raw: raw.update(scores={}), "scores must be a list, got {}"),
        (lambda raw: raw.update(scores=[[]]), r"scores\[0\] must be a mapping, got \[\]"),
        (lambda raw: raw["network"].clear(), "damaged: network lacks input_shape, macs, parameters, rec"),
        (_without("config"), "damaged: the record lacks config$"),
        (_without("evaluated"), "damaged: the record lacks evaluated$"),
    ],
)
def test_values_of_wrong_kind_or_range_are_named(
    make_run: Callable[..., Path], change: Callable[[dict[str, Any]], object], message: str
) -> None:
    with pytest.raises(RecordError, match=message):
        _rewritten(make_run(), change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda raw: _final(raw).update(accuracy=99.9),
            "test accuracy .raw weights, last epoch. is 99.9 %",
        ),
        (
            lambda raw: raw["scores"][0].update(correct=3),
            "train accuracy .* is 98.25 % beside 3 correct of 10,000",
        ),
        (lambda raw: _final(raw).update(total=50), "is 99 % beside 9,900 correct of 50 images"),
        (lambda raw: raw["scores"][3].update(final=True), "2 scores are marked as final"),
        (
            lambda raw: raw["confusion"][4].__setitem__(4, 0),
            "confusion matrix has 8,910 correct of 9,010 images",
        ),
    ],
)
def test_record_that_contradicts_itself_is_refused(
    make_run: Callable[..., Path], change: Callable[[dict[str, Any]], object], message: str
) -> None:
    with pytest.raises(RecordError, match=f"contradicts itself: .*{message}"):
        _rewritten(make_run(), change)


@pytest.mark.parametrize(("right", "images"), [(9_901, 10_000), (9_900, 10_008)])
def test_completed_record_must_agree_with_its_bits(make_run: Callable[..., Path], right: int, images: int) -> None:
    folder = make_run()
    (folder / CORRECT).write_bytes(np.packbits(np.arange(10_000) < 9_900).tobytes())
    RunRecord.read(folder)
    (folder / CORRECT).write_bytes(np.packbits(np.arange(images) < right).tobytes())
    message = f"correct.bits marks {right:,} images as correct, in {images // 8:,} bytes, beside"
    with pytest.raises(RecordError, match=message):
        RunRecord.read(folder)
    unfinished = json.loads((folder / RECORD).read_text()) | {"status": "running"}
    (folder / RECORD).write_text(json.dumps(unfinished))
    assert RunRecord.read(folder).status == "running"  # it may have been killed between the two files


@pytest.mark.parametrize("text", ["", "[]", "null", '{"schema_version": 1', "\x00\x01"])
def test_file_without_a_record_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / RECORD).write_text(text)
    with pytest.raises(RecordError, match=RECORD):
        RunRecord.read(tmp_path)


def test_record_that_json_cannot_hold_keeps_the_old_one(make_run: Callable[..., Path]) -> None:
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


def test_unknown_keys_of_this_version_are_ignored(make_run: Callable[..., Path]) -> None:
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
def test_missing_key_has_its_default(make_run: Callable[..., Path], missing: str, default: object) -> None:
    assert getattr(_rewritten(make_run(), _without(missing)), missing) == default


def _of_version_1(raw: dict[str, Any]) -> None:
    raw["schema_version"] = 1
    for key in ("evaluated", "normalisation", "continuations"):
        del raw[key]
    for score in raw["scores"]:
        del score["final"]


def test_record_of_version_1_is_migrated_by_the_names_of_its_splits(
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


def test_record_of_version_2_is_migrated_to_the_group_machine(make_run: Callable[..., Path]) -> None:
    def of_version_2(raw: dict[str, Any]) -> None:
        raw["schema_version"] = 2
        del raw["config"]["machine"]
        raw["config"]["train"] |= {"threads": 2, "device": "cpu"}
        raw["config"]["data"]["root"] = "/images"

    folder = make_run()
    machine = {"kind": "machine", "name": "auto", "device": "cpu", "threads": 2, "data_root": "/images"}
    expected = RunRecord.read(folder).config | {"machine": machine}
    assert _rewritten(folder, of_version_2).config == expected


def test_old_average_of_lengthened_version_1_run_is_not_final(
    make_run: Callable[..., Path], score: Callable[..., Score]
) -> None:
    """The average ended with the second epoch, and the last epoch is the third."""
    scores = [
        score("test", "raw", "last", 99.0),
        score("test", "averaged", "last", 99.2, epoch=2),
        score("test", "averaged", "best", 99.2, epoch=2),
    ]
    record = _rewritten(make_run(scores=scores, confusion=None), _of_version_1)
    assert [(each.weights, each.at) for each in record.scores] == [("raw", "last"), ("averaged", "best")]
    assert record.final == record.score("test")


def test_diverged_run_has_no_objective(make_run: Callable[..., Path]) -> None:
    """A sweeper treats this as a failure, independent of the scores of earlier epochs."""
    assert objective(RunRecord.read(make_run())) == 99.0
    assert objective(RunRecord.read(make_run("diverged", status=Status.DIVERGED))) is None
    assert objective(RunRecord.read(make_run("failed", status=Status.FAILED, scores=[]))) is None
