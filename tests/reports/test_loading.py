"""Discovery of run folders, their kinds by place, and a cache that never hides a change of the files."""

import gc
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mnist_compact.records.discovery import Origin
from mnist_compact.reports import cache
from mnist_compact.reports.page.document import write_page
from mnist_compact.reports.tables import compare_runs, epochs_of, load_runs, reference_comparison

MakeRun = Callable[..., Path]
Settings = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(
    ("path", "origin"),
    [
        ("/w/outputs/runs/2026-01-01/10-00-00_m3_adam_seed0_ab12cd", Origin("run")),
        ("/w/outputs/grids/2026-01-01/10-00-00_ab12cd/0_m3_adam_seed0", Origin("grid")),
        ("/w/outputs/sweeps/under_8k/trials/0012", Origin("trial", study="under_8k", trial=12)),
        ("/w/outputs/sweeps/mine/second/trials/0012", Origin("trial", study="mine/second", trial=12)),
        ("/elsewhere/under_8k/trials/0000", Origin("trial", study="under_8k", trial=0)),
        ("/w/outputs/confirmations/best/seeds/1000", Origin("confirmation", confirmation="best")),
        ("/w/seeds/1000", Origin("run")),
        ("/w/outputs/sweeps/under_8k/trials/kept", Origin("run")),
        ("/x", Origin("run")),
        ("/", Origin("run")),
    ],
)
def test_kind_of_a_run_follows_from_its_folder(path: str, origin: Origin) -> None:
    assert Origin.of(path) == origin


def test_confirmation_in_another_folder_is_recognized(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("mine/best/seeds/1000")
    make_run("mine/other/seeds/1000")
    (tmp_path / "mine" / "best" / "confirmation.json").write_text("{}")
    for root in (tmp_path / "mine", tmp_path / "mine" / "best" / "seeds"):
        first = load_runs(root)[["kind", "confirmation"]].to_numpy().tolist()[0]
        assert first == ["confirmation", "best"]
    (tmp_path / "mine" / "best" / "confirmation.json").write_text('{"ranking": true}')
    assert load_runs(tmp_path / "mine")["kind"].tolist() == ["ranking", "run"]
    assert load_runs(tmp_path / "mine" / "other")["kind"].tolist() == ["run"]


def test_unreadable_runs_have_kind_study_and_trial(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("outputs/sweeps/s/trials/0003")
    (make_run("outputs/sweeps/s/trials/0004") / "result.json").write_text("{")
    table = load_runs(tmp_path)[["kind", "study", "trial", "confirmation", "status"]]
    assert table.to_numpy().tolist() == [
        ["trial", "s", 3, pd.NA, "completed"],
        ["trial", "s", 4, pd.NA, "unreadable"],
    ]


@pytest.mark.parametrize("left", ["log.txt", "metrics.csv", "checkpoint.pt", ".writing.7.ab.result.json"])
def test_run_without_a_record_is_a_row(tmp_path: Path, left: str) -> None:
    folder = tmp_path / "grids" / "day" / "time" / "0_m3"
    folder.mkdir(parents=True)
    (folder / left).write_text("x")
    (row,) = load_runs(tmp_path).to_dict("records")
    assert (row["kind"], row["status"]) == ("grid", "unreadable")
    assert "result.json cannot be read" in row["reason"]


def test_unreadable_folder_is_a_row(make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run("open")
    (tmp_path / "shut").mkdir()
    scandir = os.scandir

    def refusing(path: str) -> Any:
        if path.endswith("shut"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    assert load_runs(tmp_path)["status"].tolist() == ["completed", "unreadable"]
    assert load_runs(tmp_path)["reason"].iloc[1].endswith("shut: the folder cannot be listed (Permission denied)")


@pytest.mark.parametrize(
    "config",
    [{"seed": 2**70}, {"optim": {"name": "sgd", "lr": 2**70}}, {"optim": {"name": "sgd", "lr": 10**400}}],
)
def test_numbers_outside_of_dtypes_do_not_break_the_table(
    make_run: MakeRun, tmp_path: Path, config: dict[str, Any]
) -> None:
    make_run("odd", config=config)
    make_run("good", config={"optim": {"name": "sgd", "lr": 0.5}})
    assert len(load_runs(tmp_path)) == 2


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, "\ud800".encode("utf-8", "surrogatepass"), "1" * 9999]
)
def test_unusual_records_do_not_break_the_table(make_run: MakeRun, tmp_path: Path, text: str | bytes) -> None:
    make_run("good")
    (make_run("odd") / "result.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert load_runs(tmp_path)["status"].tolist() == ["completed", "unreadable"]


def test_damaged_lines_of_metrics_are_skipped(make_run: MakeRun, tmp_path: Path) -> None:
    zeros = "\0" * 200_000
    make_run("end", metrics=f"epoch,test_accuracy\n1,99.0\n{zeros}\n")
    make_run("middle", metrics=f"epoch,test_accuracy\n{zeros}\n2,98.0\n")
    make_run("all", metrics=f"{zeros}\n")
    table = load_runs(tmp_path)  # all, end, middle
    assert table[["status", "epochs_to_converge"]].to_numpy().tolist() == [
        ["completed", pd.NA],
        ["completed", 1],
        ["completed", 2],
    ]


HALF = "\ud800"  # half of a surrogate pair, which is valid in JSON but not in UTF-8


def test_invalid_unicode_is_escaped(make_run: MakeRun, settings: Settings, tmp_path: Path) -> None:
    config = settings(experiment=HALF, optim__lr=HALF)
    config["optim"][HALF] = 3
    make_run("good")
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    make_run(folder.name, config=config, status="failed", reason=f"x{HALF}")
    (make_run(f"odd-{folder.name}") / "result.json").write_text("{")
    frame = load_runs(tmp_path)
    row = frame.set_index("status").loc["failed"]
    assert (row["experiment"], row["reason"], row["optim.lr"]) == ("\\ud800", "x\\ud800", "\\ud800")
    assert row["optim.\\ud800"] == 3
    assert row["run"] == f"{tmp_path}/caf\\udce9"
    assert "caf\\udce9" in frame["reason"].iloc[2]
    assert epochs_of(frame)["run"].tolist() == [str(tmp_path / "good")] * 3
    assert len(reference_comparison(frame)) == len(compare_runs([tmp_path])) == 3
    written = tmp_path / "page.html"
    write_page(frame, [tmp_path], written)
    assert "caf\\\\udce9" in written.read_text(encoding="utf-8")


def test_garbage_collection_is_restored_after_loading_or_an_error(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("good")
    load_runs(tmp_path)
    assert gc.isenabled()
    with pytest.raises(ValueError, match="must be an existing folder"):
        load_runs(tmp_path / "none")
    assert gc.isenabled()


# Cache


@pytest.fixture
def cached_runs(make_run: MakeRun, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of two runs that has been read and cached."""
    monkeypatch.setattr(cache, "WORTH_WRITING", 1)
    monkeypatch.setattr(cache, "SETTLED_NS", -(10**12))  # because recently changed files are not cached
    make_run("o/a", config=settings(optim__lr=0.1))
    make_run("o/b", config=settings(optim__lr=0.2), started_at="2025-11-21T10:00:00+00:00")
    load_runs(tmp_path / "o")
    assert (tmp_path / "o" / cache.FILENAME).exists()
    return tmp_path / "o"


@pytest.fixture
def no_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mnist_compact.records.record.RunRecord.read", lambda folder: pytest.fail(f"{folder} was read"))


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], pd.DataFrame]:
    """The table that is read without a cache."""

    def load(*paths: Path) -> pd.DataFrame:
        with monkeypatch.context() as without:
            without.setattr(cache, "load", lambda root: cache.Known())
            without.setattr(cache, "write", lambda root, known: None)
            return load_runs(*paths)

    return load


def test_cached_table_is_equal_and_files_are_not_read(
    cached_runs: Path, fresh: Callable[..., pd.DataFrame], request: pytest.FixtureRequest
) -> None:
    table = fresh(cached_runs)
    request.getfixturevalue("no_reading")
    pd.testing.assert_frame_equal(load_runs(cached_runs), table)


def _rewrite(folder: Path, **changes: Any) -> None:
    raw = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps(raw | changes, indent=1) + "\n")


def _same_time_and_size(cached_runs: Path) -> None:
    """Write another record with the same size and time stamp, like a copy that preserves times."""
    path = cached_runs / "a" / "result.json"
    stat = path.stat()
    path.write_text(path.read_text().replace('"seconds": 7.5', '"seconds": 8.5'))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


CHANGES: list[Callable[[Path], object]] = [
    lambda cached_runs: _rewrite(cached_runs / "a", status="failed", reason="out of memory"),
    lambda cached_runs: (cached_runs / "a" / "metrics.csv").write_text("epoch,test_accuracy\n1,99.0\n"),
    lambda cached_runs: (cached_runs / "a" / "metrics.csv").unlink(),
    lambda cached_runs: (cached_runs / "a" / "result.json").unlink(),
    lambda cached_runs: (cached_runs / "a" / "result.json").write_text("{"),
    lambda cached_runs: (cached_runs / "a").rename(cached_runs / "c"),
    lambda cached_runs: (cached_runs / "a").rename(cached_runs.parent / "elsewhere"),
    lambda cached_runs: (cached_runs / "a" / "result.json").replace(cached_runs / "b" / "result.json"),
    _same_time_and_size,
]


@pytest.mark.parametrize("change", CHANGES)
def test_changed_files_are_read_again(
    cached_runs: Path, change: Callable[[Path], object], fresh: Callable[..., pd.DataFrame]
) -> None:
    before = load_runs(cached_runs)
    change(cached_runs)
    after = load_runs(cached_runs)
    assert not after.equals(before)
    pd.testing.assert_frame_equal(after, fresh(cached_runs))


def _flip(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content.replace(b"completed", b"complated", 1))


DAMAGES: list[Callable[[Path], object]] = [
    _flip,
    lambda path: path.write_bytes(path.read_bytes()[:-10]),
    lambda path: path.write_bytes(b""),
    lambda path: path.write_bytes(b"\xff\n{"),
    lambda path: path.write_bytes(b"0" * 64 + path.read_bytes()[64:]),  # of another version of the reader
    lambda path: (path.unlink(), path.mkdir()),
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_invalid_cache_is_not_used(
    cached_runs: Path, damage: Callable[[Path], object], fresh: Callable[..., pd.DataFrame]
) -> None:
    damage(cached_runs / cache.FILENAME)
    pd.testing.assert_frame_equal(load_runs(cached_runs), fresh(cached_runs))


@pytest.mark.parametrize("changed", ["reports/cache.py", "reports/cells.py", "records/record.py", "common/nested.py"])
def test_rows_are_read_again_after_a_change_of_the_code(
    cached_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    """A copy of the package simulates the next version of the program: first unchanged, then changed."""
    package = tmp_path / "package"
    shutil.copytree(Path(cache.__file__).parents[1], package, ignore=shutil.ignore_patterns("__pycache__", "networks"))
    monkeypatch.setattr(cache, "__file__", str(package / "reports/cache.py"))
    cache._code.cache_clear()
    assert cache.load(cached_runs).rows
    with (package / changed).open("a") as file:
        file.write("# changed\n")
    cache._code.cache_clear()
    assert not cache.load(cached_runs).rows
    cache._code.cache_clear()


def test_unwritable_folder_is_read(
    cached_runs: Path, monkeypatch: pytest.MonkeyPatch, fresh: Callable[..., pd.DataFrame]
) -> None:
    (cached_runs / cache.FILENAME).unlink()

    def refuse(self: Path, content: bytes) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    pd.testing.assert_frame_equal(load_runs(cached_runs), fresh(cached_runs))
    assert sorted(path.name for path in cached_runs.iterdir()) == ["a", "b"]


def test_caches_with_different_columns_make_one_table(
    cached_runs: Path, make_run: MakeRun, tmp_path: Path, fresh: Callable[..., pd.DataFrame]
) -> None:
    other = make_run("p/x", config={"extra": {"depth": 3}, "seed": 5}, scores=[]).parent
    load_runs(other)
    make_run("o/new", config={"later": 1}, started_at="2025-11-19T10:00:00+00:00")
    for paths in ((cached_runs, other), (other, cached_runs), (cached_runs, tmp_path)):
        pd.testing.assert_frame_equal(load_runs(*paths), fresh(*paths))


def test_recently_changed_files_are_read_again(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "WORTH_WRITING", 1)
    make_run("o/a")
    load_runs(tmp_path)
    assert not (tmp_path / cache.FILENAME).exists()
    assert not cache.settled((time.time_ns(), 0, 1, 1, 0, 0, 0, 0), time.time_ns())
    assert cache.settled((0, 0, 1, time.time_ns(), 0, 0, 0, 0), time.time_ns())


def test_names_with_invalid_unicode_are_cached(
    cached_runs: Path, make_run: MakeRun, request: pytest.FixtureRequest, fresh: Callable[..., pd.DataFrame]
) -> None:
    make_run(f"o/{os.fsdecode(b'caf' + bytes([0xE9]))}")
    table = load_runs(cached_runs)
    request.getfixturevalue("no_reading")
    pd.testing.assert_frame_equal(load_runs(cached_runs), table)


def test_settings_of_deleted_runs_are_not_columns(
    cached_runs: Path, make_run: MakeRun, fresh: Callable[..., pd.DataFrame]
) -> None:
    gone = make_run("o/gone", config={"extra": {"depth": 3}}, scores=[])
    assert "extra.depth" in load_runs(cached_runs)
    _rewrite(cached_runs / "a", seconds=8.5)  # so that its row has all known columns
    assert "extra.depth" in load_runs(cached_runs)
    shutil.rmtree(gone)
    assert "extra.depth" not in load_runs(cached_runs)
    pd.testing.assert_frame_equal(load_runs(cached_runs), fresh(cached_runs))


def test_few_runs_are_not_cached(make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "SETTLED_NS", -(10**12))
    make_run("o/a")
    load_runs(tmp_path)
    assert not (tmp_path / cache.FILENAME).exists()


def test_linked_runs_are_found_once(make_run: Callable[..., Path], tmp_path: Path) -> None:
    """A run outside is named by the link, a run inside by its own path, and a cyclic link ends."""
    elsewhere = make_run("elsewhere/run", seconds=1.0)
    make_run("here/run", seconds=2.0)
    (tmp_path / "here" / "a_link").symlink_to(elsewhere)
    (tmp_path / "here" / "another").symlink_to(tmp_path / "here" / "run")
    (tmp_path / "here" / "circle").symlink_to(tmp_path / "here")
    (tmp_path / "here" / "nowhere").symlink_to(tmp_path / "gone")
    runs = load_runs(tmp_path / "here").set_index("run")["seconds"]
    assert runs.to_dict() == {str(tmp_path / "here" / "a_link"): 1.0, str(tmp_path / "here" / "run"): 2.0}
