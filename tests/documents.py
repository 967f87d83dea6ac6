"""The fenced code blocks of README.md and docs/."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^( *)```(\w+)([^\n]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    language: str
    title: str | None
    text: str
    line: int


def blocks_of(page):
    text = page.read_text(encoding="utf-8")
    for found in BLOCK.finditer(text):
        indent, language, info, body = found.groups()
        title = re.search(r'title="([^"]+)"', info)
        lines = [line.removeprefix(indent) for line in body.splitlines()]
        yield Block(language, title and title[1], "\n".join(lines) + "\n", text.count("\n", 0, found.start()) + 1)
