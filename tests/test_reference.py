"""The reference pages in docs/reference/ agree with the code."""

import re
from pathlib import Path

import pytest

from tools import reference

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def pages():
    return reference.pages()


def test_committed_reference_pages_are_up_to_date(pages):
    committed = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / reference.FOLDER).glob("*.md")}
    assert committed == pages, "run: python -m tools.reference"


@pytest.mark.parametrize("name", ["configuration.md"])
def test_every_key_of_the_reference_has_a_meaning(pages, name):
    without = re.findall(r"^(\| `.*\|)  \|$|^\| key \| type \| default (\|)$", pages[name], re.MULTILINE)
    assert not without
