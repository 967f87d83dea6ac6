"""The reference pages in docs/reference/ agree with the code."""

import ast
import re
from itertools import pairwise
from pathlib import Path

import pytest

from mnist_compact.common import errors
from tools import reference

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def pages():
    return reference.pages()


def test_committed_reference_pages_are_up_to_date(pages):
    committed = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / reference.FOLDER).glob("*.md")}
    assert committed == pages, "run: python -m tools.reference"


@pytest.mark.parametrize("name", ["commands.md", "configuration.md", "exit-codes.md", "python-api.md", "record.md"])
def test_every_row_of_the_reference_has_a_meaning(pages, name):
    """A row without a meaning ends with an empty cell; a table without any meaning has no such column."""
    without = re.findall(r"^(\| \[?`.*\|)  \|$|^\| key \| type \| default (\|)$", pages[name], re.MULTILINE)
    assert not without


@pytest.mark.parametrize("name", ["commands.md", "configuration.md", "exit-codes.md", "python-api.md", "record.md"])
def test_a_comment_above_a_field_is_not_given_to_the_field_before_it(pages, name):
    """A comment alone on its line continues the comment of the line above, not the one for the field below."""
    meanings = re.findall(r"^\| \[?`.*\| (.+) \|$", pages[name], re.MULTILINE)
    joined = [first for first, second in pairwise(meanings) if second[0].isupper() and first.endswith(f" {second}")]
    assert not joined


def test_exit_codes_of_the_page_and_of_the_code_are_equal(pages):
    named = {name: code for name, code in vars(errors).items() if name.startswith("EXIT_")}
    shown = dict(re.findall(r"^\| `(\d+)` \| `(\w+)` \| .+ \|$", pages["exit-codes.md"], re.MULTILINE))
    assert shown == {str(code): name for name, code in named.items()}
    package = {path: path.read_text(encoding="utf-8") for path in (ROOT / "mnist_compact").rglob("*.py")}
    others = [text for path, text in package.items() if path.name != "errors.py"]
    assert not [name for name in named if not any(re.search(rf"\b{name}\b", text) for text in others)], "unused"
    found = {str(path): [*lines_that_exit_with_a_number(text)] for path, text in package.items()}
    assert not {path: lines for path, lines in found.items() if lines}


def lines_that_exit_with_a_number(source):
    """Lines that end the process with a literal number other than 0, which the page would not list."""
    for node in ast.walk(ast.parse(source)):
        called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
        if called in ("sys.exit", "os._exit", "SystemExit", "ExecutionError"):
            literals = [each.value for each in node.args if isinstance(each, ast.Constant)]
            if any(isinstance(value, int) and value != 0 for value in literals):
                yield node.lineno


def test_exit_with_a_literal_number_is_found():
    assert [*lines_that_exit_with_a_number("import sys\nsys.exit(7)\nsys.exit(EXIT_FAILED)\nsys.exit(0)\n")] == [2]
