"""The report command: its formats, its columns and its error messages."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from mnist_compact.cli.report import main
from mnist_compact.reports.tables import load_runs

MakeRun = Callable[..., Path]
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def outputs(make_run: MakeRun, settings: Callable[..., dict[str, object]], tmp_path: Path) -> str:
    make_run("runs/first", config=settings(optim__lr=0.1))
    make_run("runs/second", config=settings(optim__lr=0.2), started_at="2025-11-21T10:00:00+00:00")
    return str(tmp_path / "runs")


def _rows(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


def _refused(capsys: Capture, *arguments: str) -> str:
    """The single line on stderr with which the command refuses its arguments."""
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    message = capsys.readouterr()
    assert message.out == ""
    assert message.err.count("\n") == 1
    return message.err


# Output


def test_default_output_is_the_comparison_with_its_footer(outputs: str, capsys: Capture) -> None:
    main([outputs])
    message = capsys.readouterr()
    lines = message.out.splitlines()
    first = next(line for line in lines if line.lstrip().startswith("first"))
    cells = "first m3 0 3,928 24×24 98.50 98.25 99.05 99.00 2 adam onecycle jitter_rotate 3 completed"
    assert " ".join(first.split()) == cells
    assert "Epochs to converge: the first epoch whose evaluation accuracy (raw weights) lies within 0.1" in message.out
    assert f"Run folders are under {outputs}." in lines
    assert message.err == ""


def test_default_path_is_outputs(make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run("outputs/runs/x")
    monkeypatch.chdir(tmp_path)
    main(["--out", "report.csv"])
    assert [row[0] for row in _rows((tmp_path / "report.csv").read_text())] == ["run", "x"]


def test_unreadable_records_are_counted(outputs: str, capsys: Capture) -> None:
    (Path(outputs) / "first" / "result.json").write_text("{")
    main([outputs])
    assert "Unreadable records: 1." in capsys.readouterr().out


def test_narrow_terminal_shows_the_columns_that_fit(
    outputs: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "70"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    main([outputs])
    text = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert max(len(line) for line in text.splitlines()) <= 70
    assert text.count("second") == 1, "one line per run"
    shown, _, hidden = text.partition("Columns that do not fit into this terminal: ")
    assert ("last %" in shown, "best %" in shown) == (True, False)
    assert "scheduler" in hidden
    assert "scheduler" not in shown
    assert "Epochs to converge" in text


def test_closed_pipe_is_not_an_error(outputs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    pipe = os.fdopen(writer, "w")
    monkeypatch.setattr(sys, "stdout", pipe)
    main([outputs, "--format", "csv"])
    sys.stdout.flush()  # as at exit
    with pytest.raises(BrokenPipeError):  # the pipe was really broken
        os.write(writer, b"more")
    pipe.close()


def test_csv_output_is_only_the_table(outputs: str, capsys: Capture) -> None:
    main([outputs, "--format", "csv"])
    rows = _rows(capsys.readouterr().out)
    assert [row[0] for row in rows] == ["run", "first", "second"]
    assert {len(row) for row in rows} == {len(rows[0])}


def test_json_output_is_only_the_table(outputs: str, capsys: Capture) -> None:
    main([outputs, "--all", "--format", "json"])
    rows = json.loads(capsys.readouterr().out)
    assert [Path(row["run"]).name for row in rows] == ["first", "second"]
    assert [row["optim.lr"] for row in rows] == [0.1, 0.2]
    assert (rows[1]["started_at"], rows[1]["parameters"]) == ("2025-11-21T10:00:00+00:00", 3928)
    assert isinstance(rows[0]["model.conv_bias"], bool)


def test_out_with_json_ending_writes_json(outputs: str, tmp_path: Path) -> None:
    main([outputs, "--columns", "run,reason", "--out", str(tmp_path / "runs.json")])
    assert json.loads((tmp_path / "runs.json").read_text())[0] == {"run": f"{outputs}/first", "reason": None}


def test_columns_are_printed_in_the_requested_order(outputs: str, capsys: Capture) -> None:
    main([outputs, "--columns", "optim.lr,status,optim.lr", "--format", "csv"])
    assert capsys.readouterr().out == "optim.lr,status\n0.1,completed\n0.2,completed\n"


def test_all_prints_every_column_with_a_value(outputs: str, capsys: Capture) -> None:
    main([outputs, "--all", "--format", "csv"])
    header = _rows(capsys.readouterr().out)[0]
    frame = load_runs(outputs)
    assert header == [name for name in frame if frame[name].notna().any()]
    assert "optim.lr" in header
    assert "reason" not in header


@pytest.mark.parametrize(
    ("options", "order"),
    [
        ([], ["first", "second", "third"]),
        (["--sort", "optim.lr", "--descending"], ["second", "first", "third"]),
        (["--sort", "seconds"], ["third", "first", "second"]),
        (["--sort", "test_accuracy_last"], ["first", "second", "third"]),  # no value: last
        (["--sort", "test_accuracy_last", "--descending"], ["first", "second", "third"]),
    ],
)
def test_sort(
    make_run: MakeRun,
    settings: Callable[..., dict[str, object]],
    outputs: str,
    capsys: Capture,
    options: list[str],
    order: list[str],
) -> None:
    make_run(
        "runs/third",
        scores=[],
        seconds=1.0,
        config=settings(optim__lr=0.05),
        started_at="2025-11-22T10:00:00+00:00",
    )
    main([outputs, "--format", "csv", *options])
    assert [row[0] for row in _rows(capsys.readouterr().out)[1:]] == order


@pytest.mark.parametrize(
    ("name", "options", "beginning"),
    [
        ("new/report.csv", [], "run,model"),
        ("report.md", [], "| run | model"),
        ("report.txt", [], " "),
        ("report", [], " "),
        ("report.xlsx", ["--format", "csv"], "run,model"),
        ("report.md", ["--format", "csv"], "run,model"),
    ],
)
def test_format_of_out_follows_its_file_ending(
    outputs: str, tmp_path: Path, capsys: Capture, name: str, options: list[str], beginning: str
) -> None:
    main([outputs, "--out", str(tmp_path / name), *options])
    assert (tmp_path / name).read_text().startswith(beginning)
    assert capsys.readouterr() == ("", "")


# Queries


@pytest.fixture
def mixed(
    make_run: MakeRun, settings: Callable[..., dict[str, object]], score: Callable[..., object], tmp_path: Path
) -> str:
    """Two plain runs with different seeds, a trial that is scored on its held-out part, and a failed run."""
    for seed, accuracy in enumerate([99.0, 99.5]):
        make_run(f"o/runs/{seed}", config=settings(seed=seed), scores=[score("test", "raw", "last", accuracy)])
    make_run("o/sweeps/s/trials/0000", config=settings(optim__lr=0.5), scores=[score("holdout", "raw", "last", 98.0)])
    make_run("o/sweeps/s/trials/0001", status="failed", scores=[], reason="no memory")
    return str(tmp_path / "o")


@pytest.mark.parametrize(
    ("options", "printed"),
    [
        (["--where", "kind == 'trial'", "--columns", "trial,status"], "trial,status\n0,completed\n1,failed\n"),
        (
            ["--where", "kind == 'run'", "--sort", "accuracy", "--descending", "--columns", "seed,accuracy"],
            "seed,test_accuracy_last\n1,99.5\n0,99.0\n",
        ),
        (
            ["--where", "kind == 'run'", "--where", "accuracy > 99.2", "--columns", "loss,seed"],
            "test_loss_last,seed\n0.05,1\n",
        ),
        (
            ["--by", "kind,optim.lr", "--columns", "kind,test n,holdout mean %", "--sort", "test n"],
            "kind,test n,holdout mean %\ntrial,0,98.0\nrun,2,\n",
        ),
        (
            ["--by", "--where", "kind == 'run'", "--columns", "model,accuracy", "--sort", "accuracy"],
            "model,test mean %\nm3,99.25\n",
        ),
        (
            ["--epochs", "--where", "kind == 'trial' and trial == 0", "--columns", "trial,epoch,test_accuracy"],
            "trial,epoch,test_accuracy\n0,1,97.0\n0,2,99.05\n0,3,99.0\n",
        ),
        (
            [
                "--epochs",
                "--where",
                "kind == 'run'",
                "--where",
                "accuracy > 99.2",
                "--columns",
                "epoch,test_accuracy_last",
            ],
            "epoch,test_accuracy_last\n1,99.5\n2,99.5\n3,99.5\n",
        ),
        (
            [
                "--epochs",
                "--where",
                "epoch > 1 and optim.lr > 0.1",
                "--columns",
                "epoch",
                "--sort",
                "epoch",
                "--descending",
            ],
            "epoch\n3\n2\n",
        ),
    ],
)
def test_report_answers_query(mixed: str, capsys: Capture, options: list[str], printed: str) -> None:
    main([mixed, "--format", "csv", *options])
    assert capsys.readouterr().out == printed


def test_hidden_columns_are_named_below_the_table(mixed: str, tmp_path: Path, capsys: Capture) -> None:
    message = "Left out, because only completed runs count: 1 failed."
    main([mixed, "--by", "kind"])
    text = capsys.readouterr()
    assert message in text.out
    assert "Student's 95 % interval" in text.out
    assert text.err == ""
    main([mixed, "--by", "kind", "--out", str(tmp_path / "t.csv")])
    assert capsys.readouterr() == ("", f"{message}\n")


def test_no_matching_run_is_a_message_and_not_an_error(mixed: str, tmp_path: Path, capsys: Capture) -> None:
    main([mixed, "--where", "parameters < 0", "--out", str(tmp_path / "t.csv")])
    assert capsys.readouterr() == ("", "Nothing matches parameters < 0.\n")
    assert not (tmp_path / "t.csv").exists()


@pytest.mark.parametrize(
    "conditions",
    [
        ["--where", "accuracy > 99"],
        ["--columns", "run,accuracy"],
        ["--sort", "accuracy"],
        ["--by", "configuration", "--sort", "accuracy"],
        ["--epochs", "--where", "test_loss < 1"],
    ],
)
def test_conditions_without_a_match_are_named(outputs: str, capsys: Capture, conditions: list[str]) -> None:
    main([outputs, "--where", "optim == 'lion'", *conditions])
    printed = capsys.readouterr()
    assert (printed.out, printed.err.startswith("Nothing matches optim == 'lion'")) == ("", True)


def test_condition_after_one_that_matches_nothing_is_checked(outputs: str, capsys: Capture) -> None:
    message = _refused(capsys, outputs, "--where", "optim == 'lion'", "--where", "epoch > 1")
    assert "There is no column 'epoch'." in message


def test_diff_shows_two_runs_side_by_side(mixed: str, capsys: Capture) -> None:
    main(["--diff", f"{mixed}/runs/0", f"{mixed}/runs/1", "--format", "csv"])
    rows = _rows(capsys.readouterr().out)
    assert rows[0] == ["key", "A", "B"]
    assert ["seed", "0", "1"] in rows
    assert ["test_accuracy_last", "99.0", "99.5"] in rows


def test_diff_names_the_runs_of_a_grid(mixed: str, capsys: Capture) -> None:
    message = _refused(capsys, "--diff", f"{mixed}/runs", f"{mixed}/runs/1")
    assert f"{mixed}/runs is not a run folder, but contains 2 runs. Choose one of them: " in message
    assert message.endswith(f"{mixed}/runs/0, {mixed}/runs/1\n")


def test_html_is_one_page_with_every_cell_as_text(mixed: str, make_run: MakeRun, tmp_path: Path) -> None:
    make_run("o/runs/<script>alert(1)</script>".replace("/script", "|script"), reason="a & b")
    main([mixed, "--all", "--out", str(tmp_path / "t.html")])
    page = (tmp_path / "t.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "&lt;script&gt;alert(1)" in page
    assert "a &amp; b" in page
    assert "<script" not in page
    assert "http" not in page
    assert page.count("<tr>") == 6
    for alone, aligned in (("run", False), ("parameters", True)):
        main([mixed, "--columns", alone, "--out", str(tmp_path / "t.html")])
        assert ("text-align: right" in (tmp_path / "t.html").read_text(encoding="utf-8")) is aligned


def test_parquet_keeps_dtypes(mixed: str, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    main([mixed, "--all", "--out", str(tmp_path / "t.parquet")])
    table, frame = pd.read_parquet(tmp_path / "t.parquet"), load_runs(mixed)
    in_utc = dict.fromkeys(("started_at", "finished_at"), "datetime64[us, UTC]")
    assert table.dtypes.astype(str).to_dict() == frame[[*table]].dtypes.astype(str).to_dict() | in_utc
    assert table["optim.lr"].tolist() == frame["optim.lr"].tolist()
    main(["--diff", f"{mixed}/runs/0", f"{mixed}/runs/1", "--out", str(tmp_path / "d.parquet")])
    assert len(pd.read_parquet(tmp_path / "d.parquet")) > 10


def test_parquet_without_pyarrow_names_what_to_install(
    mixed: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mnist_compact.cli.report_options.find_spec", lambda name: None)
    assert "pip install -e '.[parquet]'" in _refused(capsys, mixed, "--out", "t.parquet")


# Refused arguments


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--sort", "accuracy"],
            "holdout_accuracy_last (runs: 1) or test_accuracy_last (runs: 2), which must not be mixed",
        ),
        (["--where", "accuracy > 99"], "which must not be mixed"),
        (["--by", "modle"], "There is no column 'modle'. Did you mean 'model'?"),
        (["--by", "model", "--columns", "test meen %"], "'test meen %'. Did you mean 'test mean %'?"),
        (["--by", "model", "--sort", "loss"], "There is no column 'loss'."),
        (["--epochs", "--columns", "run,accuracy"], "There is no column 'accuracy'. Did you mean 'test_accuracy'?"),
        (["--epochs", "--where", "epoch > 1 and accuracy > 99"], "There is no column 'accuracy'."),
        (["--all", "--columns", "run"], "--all and --columns"),
        (["--diff", "a", "b"], "--diff takes two run folders and cannot be combined with PATH"),
        (["--format", "parquet"], "--format parquet requires --out FILE"),
        (
            ["--out", "runs.xlsx"],
            "--out must end in .txt, .csv, .md, .json, .parquet, .html, .htm, or be combined with --format",
        ),
    ],
)
def test_invalid_queries_are_refused_with_a_message(
    mixed: str, capsys: Capture, options: list[str], message: str
) -> None:
    assert message in _refused(capsys, mixed, *options)


def test_folder_without_runs_is_a_message_and_not_an_error(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    main([str(tmp_path), "--out", str(tmp_path / "report.csv")])
    assert capsys.readouterr() == ("", f"No runs found under {tmp_path}.\n")
    monkeypatch.chdir(tmp_path)
    main([])
    assert capsys.readouterr() == ("", "No runs yet: there is no folder 'outputs' here.\n")
    assert list(tmp_path.iterdir()) == []


def test_unknown_columns_are_named_with_suggestions(outputs: str, capsys: Capture) -> None:
    line = _refused(capsys, outputs, "--columns", "run,test_acuracy_last,zzzz", "--sort", "optim.rl")
    assert "'test_acuracy_last'. Did you mean 'test_accuracy_last'?" in line
    assert "There is no column 'zzzz'. There" in line
    assert "'optim.rl'. Did you mean 'optim.lr'?" in line


def test_missing_path_is_refused(tmp_path: Path, capsys: Capture) -> None:
    assert "nowhere" in _refused(capsys, str(tmp_path / "nowhere"))


def test_unwritable_output_file_is_refused(outputs: str, tmp_path: Path, capsys: Capture) -> None:
    assert str(tmp_path) in _refused(capsys, outputs, "--out", str(tmp_path))


def test_descending_without_sort_is_refused(outputs: str, capsys: Capture) -> None:
    assert "--descending requires --sort" in _refused(capsys, outputs, "--descending")


@pytest.mark.process
def test_help_names_the_columns_without_heavy_imports() -> None:
    code = """
import sys
from mnist_compact.report import main
try:
    main(["--help"])
finally:
    assert not {"pandas", "matplotlib", "torch", "numpy", "rich"} & sys.modules.keys()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "receptive_field" in done.stdout
    assert "With --epochs they are valid only in conditions" in done.stdout


NASTY = "[bold]x[/bold] [/] :smile:"


def test_names_with_brackets_print_literally(make_run: MakeRun, tmp_path: Path, capsys: Capture) -> None:
    make_run("runs/" + NASTY.replace("/", "|"), reason=NASTY)
    main([str(tmp_path / "runs"), "--columns", "run,reason"])
    message = capsys.readouterr().out
    assert NASTY in message
    assert NASTY.replace("/", "|") in message
