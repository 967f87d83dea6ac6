"""Standard streams of narrow encodings, closed ones and full ones."""

import io
import subprocess
import sys
from pathlib import Path

import pytest

from mnist_compact.cli import confirm, evaluate, report, study
from mnist_compact.common.command import run_command
from mnist_compact.common.streams import DEGRADE
from mnist_compact.zoo import __main__

CARD = ("--card", "fast")
HAS_FULL_DEVICE = pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")


def printed_in(encoding, monkeypatch, errors="strict"):
    """Return the printed card of a network in this encoding."""
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors=errors)
    monkeypatch.setattr(sys, "stdout", out)
    __main__.main(CARD)
    return out.buffer.getvalue().decode(encoding)


def test_ascii_output_gets_similar_characters(monkeypatch):
    assert "**99.455 +/- 0.051 %** test accuracy" in printed_in("ascii", monkeypatch)


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8"])
def test_wider_output_keeps_its_characters(monkeypatch, encoding):
    assert "**99.455 ± 0.051 %** test accuracy" in printed_in(encoding, monkeypatch)


def test_encoding_errors_chosen_by_the_user_stay(monkeypatch):
    assert "99.455 &#177; 0.051" in printed_in("ascii", monkeypatch, errors="xmlcharrefreplace")


def test_help_can_be_printed_in_ascii(monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    report.main(["--help"])
    assert b"usage: mnist-compact-report" in out.buffer.getvalue()


@pytest.mark.parametrize(
    ("text", "written"),
    [("3×28 ─ é…", b"3x28 - e..."), ("10²", b"102"), ("±1", b"+/-1"), ("漢", b"?"), ("caf\udce9", b"caf\xe9")],
)
def test_degraded_characters(text, written):
    assert text.encode("ascii", DEGRADE) == written


@HAS_FULL_DEVICE
def test_full_output_turns_success_into_failure(monkeypatch, capsys):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(SystemExit) as end:
            run_command("command", lambda: print("figures"))
        assert end.value.code == 1
        assert capsys.readouterr().err == (
            "command: standard output could not be written to (No space left on device)\n"
        )


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="redirects as a POSIX shell does")
@pytest.mark.parametrize("redirect", [">&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_command_with_closed_streams_succeeds(redirect):
    line = f"exec {sys.executable} -m mnist_compact.zoo --card fast {redirect}"
    assert subprocess.run(line, shell=True, timeout=180).returncode == 0


@HAS_FULL_DEVICE
@pytest.mark.parametrize("command", [report.main, study.main, confirm.main, evaluate.main, __main__.main])
def test_help_that_cannot_be_written_fails(monkeypatch, capsys, command):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(SystemExit) as end:
            command(["--help"])
        assert end.value.code == 1
        assert capsys.readouterr().err.endswith(": standard output could not be written to (No space left on device)\n")


@pytest.mark.process
@HAS_FULL_DEVICE
@pytest.mark.parametrize("option", ["-h", "--hydra-help", "--version", "--cfg=job", "--info=defaults"])
def test_option_that_only_prints_fails_without_output(tmp_path, option):
    line = f"exec {sys.executable} -m mnist_compact {option} > /dev/full"
    done = subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert done.stderr == "mnist_compact: standard output could not be written to (No space left on device)\n"


@pytest.mark.slow
@pytest.mark.process
@HAS_FULL_DEVICE
def test_run_with_full_output_completes(tmp_path):
    line = f"exec {sys.executable} -m mnist_compact data=synthetic train=quick machine.threads=1 > /dev/full"
    done = subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "mnist_compact: standard output could not be written to (No space left on device)\n"
    assert '"status": "completed"' in next(tmp_path.rglob("result.json")).read_text()
