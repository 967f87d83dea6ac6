"""The command that exports networks."""

import re
import shutil

import pytest

from mnist_compact.cli import export
from mnist_compact.deploy.graph_files import write_onnx, write_pt2
from mnist_compact.runs.trainer import run
from mnist_compact.zoo.registry import load, names

needs_compiler = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


@pytest.fixture(scope="module")
def folder(configure, recording_callback, tmp_path_factory):
    home = tmp_path_factory.mktemp("run")
    run(configure("model=m3"), home, recording_callback())
    return home


@needs_compiler
@pytest.mark.parametrize(("form", "extra"), [("c", ["--check"]), ("c", []), ("c-int8", [])])
def test_c_files_of_a_run_are_written_and_described(folder, tmp_path, capsys, form, extra):
    out = tmp_path / "made"
    export.main(["--run", str(folder), "--to", form, "--out", str(out), *extra])
    printed = capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == ["main.c", "network.c", "network.h"]
    assert re.search(
        r"flash for weights and tables: [\d,]+ bytes; RAM for maps: [\d,]+ bytes; [\d,]+ multiply", printed
    )
    assert re.search(r"has \d+ of 40 synthetic images correct, the network \d+; same prediction for \d+;", printed)
    assert ("flash with code" in printed) is (form == "c-int8" or bool(extra))


def test_pt2_file_of_a_run_is_written(folder, tmp_path, capsys):
    export.main(["--run", str(folder), "--to", "pt2", "--out", str(tmp_path / "net.pt2")])
    assert "same prediction for 40" in capsys.readouterr().out
    assert (tmp_path / "net.pt2").stat().st_size > 15_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "onnx", "--out", "net.bin"], "--out must end in .onnx with --to onnx, got net.bin"),
        (["--to", "pt2", "--out", "net.pt2", "--check"], "--check is for --to c"),
        (["--to", "torchscript", "--out", "net.pt"], "invalid choice"),
    ],
)
def test_export_refuses_other_requests(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        export.main(["--zoo", "under_8k", *arguments])
    assert message in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]


def test_export_to_c_needs_a_compiler_only_for_the_check(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.delenv("CC", raising=False)
    export.main(["--run", str(folder), "--to", "c", "--out", str(tmp_path / "made")])
    capsys.readouterr()
    with pytest.raises(SystemExit, match="2"):
        export.main(["--run", str(folder), "--to", "c-int8", "--out", str(tmp_path / "other")])
    assert "needs a C compiler" in capsys.readouterr().err


@pytest.mark.mnist
@needs_compiler
@pytest.mark.parametrize(
    "name", [name if name == "under_8k" else pytest.param(name, marks=pytest.mark.slow) for name in names()]
)
def test_every_export_of_the_zoo_predicts_the_same_digits(name, tmp_path):
    """On all 10,000 test images; a difference would raise."""
    from mnist_compact.data.config import MnistConfig
    from mnist_compact.deploy.c_export import write_float

    classifier, data = load(name), MnistConfig(name="mnist").load(print)
    for agreement in (
        write_onnx(classifier, data.evaluation, tmp_path / "net.onnx"),
        write_pt2(classifier, data.evaluation, tmp_path / "net.pt2"),
        write_float(classifier, name, data, tmp_path / "c", check=True).agreement,
    ):
        assert (agreement.images, agreement.different) == (10_000, 0)
        assert agreement.largest_difference < 1e-3
