"""The code blocks of README.md and docs/ run, and print what the pages show.

Each page's blocks run in order, in a folder that holds copies of conf/ and sweeps/ with fewer synthetic images.
Commands run within this process, and the processes that they start are forks of it (forked.py):

- ```console: lines `$ command`, each followed by parts of what it prints; `…` stands for anything.
- ```python: a program, or a session with `>>>`, whose output is compared as doctest does (`…` again for anything).
- a block with a title such as ```yaml title="conf/model/mine.yaml" is written to that file.

Other blocks, such as ```text and ```bash, are not run.
"""

import contextlib
import doctest
import io
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
from documents import PAGES, ROOT, blocks_of
from forked import ForkedPopen
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

from mnist_compact.common.errors import EXIT_INTERRUPTED
from mnist_compact.config import schema, sweeps_source
from mnist_compact.reports import plots
from mnist_compact.runs import jobs
from mnist_compact.search import worker_pool

# A grid, a search or a confirmation starts processes.
STARTS_PROCESSES = re.compile(r"mnist_compact -m |mnist_compact\.confirm |\bconfirm\(|\brank\(")
# Pages with several searches or grids one after another, for which the gate has no time.
LONG = {
    f"docs/how-to/{name}.md"
    for name in ("compose-and-add-a-model", "confirm-and-compare", "continue-and-repair", "search")
}
CONSOLE = "console"


def runnable(page):
    """Blocks to run and files to write; test_documented_extensions.py inserts those that change the package."""
    blocks = [block for block in blocks_of(page) if block.title or block.language in (CONSOLE, "python")]
    return [block for block in blocks if not (block.title or "").startswith("mnist_compact/")]


def parameters():
    """One parameter for each page that has something to run."""
    for page in PAGES:
        blocks = runnable(page)
        if any(not block.title for block in blocks):
            starts = any(STARTS_PROCESSES.search(block.text) for block in blocks)
            name = str(page.relative_to(ROOT))
            marks = [pytest.mark.process] if starts else []
            yield pytest.param(page, id=name, marks=[*marks, pytest.mark.slow] if name in LONG else marks)


@pytest.mark.parametrize("page", [*parameters()])
def test_code_blocks_of_a_page_run_and_print_what_is_shown(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # as of a program started there
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for module in (jobs, worker_pool):
        monkeypatch.setattr(module, "subprocess", subprocess_with_forks())
    monkeypatch.setattr(plots, "draw_run", lambda folder: None)  # no page prints a plot, and each takes seconds
    for folder in ("conf", "sweeps"):  # a page may add files to them
        shutil.copytree(ROOT / folder, tmp_path / folder)
    for path in (tmp_path / "conf/data/synthetic.yaml", tmp_path / "sweeps/smoke.yaml"):
        text, count = re.subn(r"\b(train|evaluation)_images: \d+", r"\1_images: 128", path.read_text(encoding="utf-8"))
        assert count == 2
        path.write_text(text, encoding="utf-8")
    for module in (schema, sweeps_source):  # they find both folders by their own file
        name = Path(module.__file__).relative_to(ROOT)
        monkeypatch.setattr(module, "__file__", str(tmp_path / name))
    names = {"__name__": "__main__"}
    for block in runnable(page):
        where = f"{page.relative_to(ROOT)}, line {block.line}"
        if block.title:
            path = tmp_path / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        elif block.language == CONSOLE:
            for command, expected in commands_of(block.text):
                printed = run(command)
                assert shows(printed, expected), f"{where}: {command}\nprinted:\n{printed}\nshown:\n{expected}"
        elif ">>>" in block.text:
            session = block.text.replace("…", "...")
            parsed = doctest.DocTestParser().get_doctest(session, names, where, str(page), block.line)
            report = []
            doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS).run(
                parsed, out=report.append, clear_globs=False
            )
            assert not report, "".join(report)
            names = parsed.globs
        else:
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(block.text, where, "exec"), names)


def subprocess_with_forks():
    """The module `subprocess`, but its Popen forks this process, which has imported torch already."""
    return SimpleNamespace(**{**vars(subprocess), "Popen": ForkedPopen})


def commands_of(text):
    """(command, what is shown under it) for each line that begins with `$ `."""
    command, shown = None, []
    for line in text.replace("\\\n", " ").splitlines():
        if line.startswith("$ "):
            if command is not None:
                yield command, "\n".join(shown)
            command, shown = line.removeprefix("$ "), []
        else:
            shown.append(line)
    yield command, "\n".join(shown)


def run(command):
    """What a command of this project prints, on both streams; `python FILE` runs a file."""
    words = shlex.split(command, comments=True)
    if words[0].startswith("mnist-compact"):
        words[:1] = ["python", "-m", words[0].replace("mnist-compact-", "mnist_compact.").replace("-", "_")]
    assert words[0] == "python", f"a console block may run python and the commands of this project, got {command}"
    printed, typed = io.StringIO(), sys.argv
    hydra, config = GlobalHydra.instance().hydra, HydraConfig.instance().cfg
    GlobalHydra.instance().clear()
    try:
        with (
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(printed),
            mock.patch.dict(os.environ, HYDRA_FULL_ERROR="0"),
            warnings.catch_warnings(),
        ):
            if words[1] == "-m":
                sys.argv = words[2:]
                # As `python -m` does. An import would replace the function mnist_compact.confirm by the module.
                warnings.filterwarnings("ignore", ".* found in sys.modules", RuntimeWarning)
                runpy.run_module(words[2], run_name="__main__")
            else:
                sys.argv = words[1:]
                runpy.run_path(words[1], run_name="__main__")
    except SystemExit as end:
        if end.code == EXIT_INTERRUPTED:
            raise KeyboardInterrupt from end
    finally:
        sys.argv, GlobalHydra.instance().hydra, HydraConfig.instance().cfg = typed, hydra, config
    return printed.getvalue()


def shows(printed, expected):
    """Whether the shown lines are a part of what was printed, spaces at their ends aside."""
    lines = [line.rstrip() for line in printed.splitlines()]
    shown = "\n".join(line.rstrip() for line in expected.strip("\n").splitlines())
    pattern = ".*".join(re.escape(part) for part in shown.split("…"))
    return re.search(pattern, "\n".join(lines), re.DOTALL) is not None


@pytest.mark.parametrize(
    ("printed", "expected", "found"),
    [
        ("a\nb  \nc", "b\nc", True),
        ("a\nb\nc", "a\n…\nc", True),
        ("a\nb\nc", "a\nc", False),
        ("took 3.2 s", "took … s", True),
        ("took 3.2 s", "", True),
    ],
)
def test_shown_lines_are_found_in_the_printed_ones(printed, expected, found):
    assert shows(printed, expected) is found


def test_commands_are_read_with_what_is_shown_under_them():
    assert [*commands_of("$ one \\\n  two\nshown\n$ three\n")] == [("one    two", "shown"), ("three", "")]
