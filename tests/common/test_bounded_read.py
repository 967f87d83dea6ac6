"""Files of unknown origin: named pipes, devices, files that are too large or nested too deeply."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from mnist_compact.cli import study
from mnist_compact.common import bounded_read
from mnist_compact.common.errors import ConfigError
from mnist_compact.data.files import _verified
from mnist_compact.data.published import MNIST
from mnist_compact.data.sources import MnistFile, SourceFailed, unpack
from mnist_compact.records.record import RecordError, RunRecord
from mnist_compact.reports.loading import read_runs
from mnist_compact.reports.plots import read_mistakes
from mnist_compact.search.transfer import read as read_study
from mnist_compact.zoo.classifier import load_network

DEEP = "[" * 100_000 + "]" * 100_000
pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")


@pipes
def test_named_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        bounded_read.read_bytes(tmp_path / "pipe")


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no /dev/zero")
def test_endless_device_is_refused():
    with pytest.raises(OSError, match="not a regular file"):
        bounded_read.read_bytes(Path("/dev/zero"))


def test_file_is_read_up_to_the_limit(tmp_path):
    (tmp_path / "file").write_bytes(bytes(bounded_read.MIB))
    assert len(bounded_read.read_bytes(tmp_path / "file", bounded_read.MIB)) == bounded_read.MIB
    (tmp_path / "file").write_bytes(bytes(bounded_read.MIB + 1))
    with pytest.raises(OSError, match="larger than 1 MiB"):
        bounded_read.read_bytes(tmp_path / "file", bounded_read.MIB)


def test_compressed_bomb_is_refused():
    with pytest.raises(ValueError, match="larger than 1 MiB when uncompressed"):
        bounded_read.gunzip(gzip.compress(bytes(bounded_read.MIB + 1)), bounded_read.MIB)


def test_deep_nesting_is_a_value_error():
    with pytest.raises(ValueError, match="nested too deeply"):
        bounded_read.parse_json(DEEP)


@pipes
def test_report_names_a_pipe_and_continues(tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    os.mkfifo(tmp_path / "first" / "result.json")
    os.mkfifo(tmp_path / "second" / "metrics.csv")
    (tmp_path / "second" / "result.json").write_text(DEEP)
    rows = read_runs([tmp_path])
    reasons = [row[rows.names["reason"]] for row in rows.cells]
    assert "not a regular file" in reasons[0]
    assert "nested too deeply" in reasons[1]


@pipes
def test_pipe_as_the_cache_of_reports_is_ignored(tmp_path):
    os.mkfifo(tmp_path / ".runs.cache")
    assert read_runs([tmp_path]).cells == []


def test_deeply_nested_record_is_refused(tmp_path):
    (tmp_path / "result.json").write_text('{"schema_version": 3, "config": ' + DEEP + "}")
    with pytest.raises(RecordError, match="damaged: nested too deeply"):
        RunRecord.read(tmp_path)


@pytest.mark.parametrize("content", [DEEP.encode(), bytes(2 * bounded_read.MIB)])
def test_hostile_exported_study_is_refused(tmp_path, monkeypatch, content):
    monkeypatch.setattr("mnist_compact.common.bounded_read.gunzip.__defaults__", (bounded_read.MIB,))
    path = tmp_path / "hostile.study.json.gz"
    path.write_bytes(gzip.compress(content))
    with pytest.raises(ConfigError, match=r"hostile\.study\.json\.gz .*(nested too deeply|larger than 1 MiB)"):
        read_study(path)


@pipes
def test_list_of_studies_names_pipes_and_continues(tmp_path, capsys):
    for name in ("a.study.json.gz", "study.db"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "b.study.json.gz").write_bytes(gzip.compress(DEEP.encode()))
    study.main(["list", str(tmp_path)])
    errors = capsys.readouterr().err
    assert "a.study.json.gz is not a regular file" in errors
    assert "study.db is not a regular file" in errors
    assert "b.study.json.gz is damaged or not an exported study: nested too deeply" in errors


@pipes
def test_pipe_as_an_exported_study_is_refused(tmp_path):
    os.mkfifo(tmp_path / "a.study.json.gz")
    with pytest.raises(ConfigError, match="not a regular file"):
        read_study(tmp_path / "a.study.json.gz")


@pipes
def test_pipe_as_data_or_weights_is_refused(tmp_path):
    os.mkfifo(tmp_path / MnistFile.TRAIN_LABELS)
    assert _verified(tmp_path, [MnistFile.TRAIN_LABELS], MNIST) == {}
    with pytest.raises(ConfigError, match="not a regular file"):
        load_network(tmp_path / MnistFile.TRAIN_LABELS)


def test_compressed_data_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("mnist_compact.data.sources.SMALL", bounded_read.MIB)
    (tmp_path / f"{MnistFile.TRAIN_LABELS}.gz").write_bytes(gzip.compress(bytes(2 * bounded_read.MIB)))
    with pytest.raises(SourceFailed, match="is damaged"):
        unpack([tmp_path], [MnistFile.TRAIN_LABELS], tmp_path)


def test_mistakes_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("mnist_compact.reports.plots.SMALL", bounded_read.MIB)
    np.savez_compressed(tmp_path / "mistakes.npz", index=np.zeros(bounded_read.MIB))
    with pytest.raises(ValueError, match="larger than 1 MiB when uncompressed"):
        read_mistakes(tmp_path)
