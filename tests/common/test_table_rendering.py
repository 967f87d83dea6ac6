"""Tables for people and for programs: complete, literal, and no wider than the terminal."""

import io
import json

import pandas as pd
import pytest
from rich.console import Console

from mnist_compact.common.tables import to_csv, to_json, to_markdown, to_rich, to_text


def test_control_codes_are_shown_as_blanks() -> None:
    frame = pd.DataFrame({"a\nb": ["x\x1b[31m\ny"]})
    assert to_text(frame).splitlines()[0].split() == ["a", "b"]
    assert "x [31m y" in to_text(frame)


FRAME = pd.DataFrame(
    {
        "run": pd.Series(["a", "b" * 30], dtype="string"),
        "parameters": pd.Series([3928, None], dtype="Int64"),
        "test_accuracy_last": pd.Series([99.4, None], dtype="Float64"),
        "test_loss_last": pd.Series([0.02, 0.5], dtype="Float64"),
        "optim.loss": pd.Series([1e-5, 0.1], dtype="Float64"),
        "model.conv_bias": pd.Series([True, None], dtype="boolean"),
        "started_at": pd.Series(pd.to_datetime(["2025-11-20T10:00:00", None]), dtype="datetime64[us]"),
    }
)


def test_cells_are_shown_with_meaningful_decimals() -> None:
    lines = [line.split(" | ") for line in to_markdown(FRAME).splitlines()]
    assert lines[1] == ["| ---", "---:", "---:", "---:", "---:", "---", "--- |"]
    assert lines[2] == ["| a", "3,928", "99.40", "0.0200", "1e-05", "True", "2025-11-20 10:00:00 UTC |"]
    assert lines[3] == ["| " + "b" * 30, "–", "–", "0.5000", "0.1", "–", "– |"]


def test_csv_has_full_precision_and_empty_missing_values() -> None:
    assert to_csv(FRAME).splitlines()[1:] == [
        "a,3928,99.4,0.02,1e-05,True,2025-11-20 10:00:00+00:00",
        "b" * 30 + ",,,0.5,0.1,,",
    ]


def test_markdown_escapes_its_markup() -> None:
    assert to_markdown(pd.DataFrame({"a|b": ["<b>*x*\n`y`"]})) == ("| a\\|b |\n| --- |\n| \\<b\\>\\*x\\* \\`y\\` |\n")


def test_wide_text_is_never_truncated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    wide = pd.DataFrame({f"c{i}": ["x" * 50] for i in range(20)})
    lines = to_text(wide).splitlines()
    assert len(lines) == 3
    assert lines[2].split() == ["x" * 50] * 20


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_table_wider_than_the_terminal_continues_below(width: int) -> None:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    with console.capture() as capture:
        console.print(to_rich(FRAME, width=width))
    text = capture.get()
    assert max(len(line) for line in text.splitlines()) <= width
    assert "…" not in text
    for whole in ("3,928", "99.40", "0.0200", "1e-05", "2025-11-20"):
        assert text.count(whole) == 1
    assert text.count("b" * 30) == text.count("run")  # every part starts with the runs
    assert (text.count("run") > 1) is (width < 150)


def test_text_longer_than_the_terminal_is_wrapped() -> None:
    console = Console(width=30, file=io.StringIO(), color_system=None)
    with console.capture() as capture:
        console.print(to_rich(pd.DataFrame({"run": ["a"], "reason": ["z" * 100]}), width=30))
    assert capture.get().count("z") == 100


def test_json_has_full_precision_and_null_for_missing_numbers() -> None:
    first, second = json.loads(to_json(FRAME.assign(seconds=[1 / 3, float("inf")])), parse_constant=pytest.fail)
    assert first == {
        **{"run": "a", "parameters": 3928, "test_accuracy_last": 99.4, "test_loss_last": 0.02, "optim.loss": 1e-05},
        **{"model.conv_bias": True, "started_at": "2025-11-20T10:00:00+00:00", "seconds": 1 / 3},
    }
    missing = ("parameters", "test_accuracy_last", "model.conv_bias", "started_at", "seconds")
    assert {name: second[name] for name in missing} == dict.fromkeys(missing)
