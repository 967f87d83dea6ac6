"""The command that exports networks."""

import re
import shutil

import pytest
from family import mnist

from mnist_compact.cli import export
from mnist_compact.deploy.c_export import write_float
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


FORMS = {
    "onnx": lambda classifier, data, folder: write_onnx(classifier, data.evaluation, folder / "net.onnx"),
    "pt2": lambda classifier, data, folder: write_pt2(classifier, data.evaluation, folder / "net.pt2"),
    "c": lambda classifier, data, folder: write_float(classifier, "net", data, folder / "c", check=True).agreement,
}


@pytest.mark.mnist
@needs_compiler
@pytest.mark.parametrize(
    ("name", "form", "images"),
    [
        ("under_8k", "c", 1_000),
        *(pytest.param(name, form, 10_000, marks=pytest.mark.slow) for name in names() for form in FORMS),
    ],
)
def test_every_export_of_the_zoo_predicts_the_same_digits(name, form, images, tmp_path):
    """On test images; a difference would raise."""
    agreement = FORMS[form](load(name), mnist(images), tmp_path)
    assert (agreement.images, agreement.different) == (images, 0)
    assert agreement.largest_difference < 1e-3
