"""docs/exports.md has the figures of every network of the zoo."""

import re

from mnist_compact.zoo.registry import card, names
from tools.exports import PAGE


def test_page_has_every_network_in_every_form():
    rows = [re.split(r"\s*\|\s*", line)[1:-1] for line in PAGE.read_text(encoding="utf-8").splitlines() if "|" in line]
    header, _, *body = rows
    found = {(row[0].replace("\\", ""), row[1]): dict(zip(header, row, strict=True)) for row in body}
    assert [*found] == [(name, form) for name in names() for form in ("ONNX", "C, float", "C, 8 bits")]
    for (name, form), row in found.items():
        assert row["correct in PyTorch"] == f"{card(name).correct:,}"
        if form != "C, 8 bits":
            assert (row["same"], row["correct"]) == ("10,000", row["correct in PyTorch"])
