"""Published results of others, which pictures and pages show beside those of this project."""

import csv
from importlib.resources import files
from typing import Any

Json = dict[str, Any]


def published() -> list[Json]:
    """Return published results of others on the test images, one entry per figure.

    `at` is the epoch choice (last or best), or "" if the source does not state it; `bound` is "more than" if the source
    states only a lower bound.
    """
    text = files("mnist_compact.reports").joinpath("public_results.csv").read_text(encoding="utf-8")
    return [
        {**row, "parameters": int(row["parameters"]), "accuracy": float(row["accuracy"])}
        for row in csv.DictReader(text.splitlines())
    ]
