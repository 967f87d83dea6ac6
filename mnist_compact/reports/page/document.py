"""One file of everything: data, style and scripts put into page.html."""

import csv
import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_compact.common.atomic import replacing
from mnist_compact.common.statistics import THRESHOLD
from mnist_compact.common.wording import counted
from mnist_compact.reports.page.columns import runs_table
from mnist_compact.reports.page.confirmations import confirmations
from mnist_compact.reports.page.details import details
from mnist_compact.reports.page.studies import OpenExport, studies
from mnist_compact.reports.tables import UNREADABLE, common_folder

if TYPE_CHECKING:
    import pandas as pd

TITLE = "mnist_compact: runs"
CORNER_BELOW = 8000  # parameters; with more than THRESHOLD per cent, what the project is for
SCRIPTS = (
    "js/elements.js",
    "js/filter.js",
    "js/table.js",
    "js/figures.js",
    "js/runs.js",
    "js/size.js",
    "js/run.js",
    "js/charts.js",
    "js/study.js",
    "js/confirmations.js",
    "js/page.js",
)

Json = dict[str, Any]


@dataclass(slots=True, frozen=True)
class PageFilter:
    """Which runs were chosen from: all of them, and the conditions that had to hold."""

    whole: "pd.DataFrame"
    conditions: Sequence[str]

    def told(self, left: int) -> str:
        conditions = " and ".join(f"“{condition}”" for condition in self.conditions)
        return (
            f"Of {counted(len(self.whole), 'run')} the {left:,} for which {conditions}; "
            "a confirmation with one of them is summed up whole."
        )


def write_page(
    frame: "pd.DataFrame", paths: Sequence[Path], out: Path, open_export: OpenExport, choice: PageFilter | None = None
) -> None:
    """The runs of a `load_runs` table and the studies under `paths` as one file that needs nothing else.

    `open_export` gives the study in an exported file; `choice` tells what the runs were chosen from. Raises OSError
    where `out` cannot be written.
    """
    text = page_of(gathered(frame, paths, open_export, choice))
    with replacing(out) as beside:
        beside.write_text(text, encoding="utf-8")


def gathered(
    frame: "pd.DataFrame", paths: Sequence[Path], open_export: OpenExport, choice: PageFilter | None = None
) -> Json:
    """All that the page tells, as JSON's kinds alone."""
    runs = runs_table(frame)
    cells = {column["name"]: column["values"] for column in runs["columns"]}
    found, notes = studies(paths, open_export)
    if choice and choice.conditions:
        notes.insert(0, choice.told(len(frame)))
    unreadable = int((frame["status"] == UNREADABLE).sum())
    if unreadable:
        notes.append(f"Unreadable records: {unreadable}; the column reason tells why.")
    return {
        "made_at": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "folder": common_folder(frame),
        "runs": runs,
        "details": details(list(frame["run"]), [cells[score["column"]] for score in runs["scores"]]),
        "confirmations": confirmations(frame, choice.whole if choice else frame),
        "studies": found,
        "published": published(),
        "threshold": THRESHOLD,
        "corner_below": CORNER_BELOW,
        "notes": notes,
    }


def published() -> list[Json]:
    """Results of others on the test images, a line a figure.

    `at` is "" where it is not told which epoch's it is, `bound` "more than" where that is all that is told.
    """
    text = files("mnist_compact.reports").joinpath("public_results.csv").read_text(encoding="utf-8")
    return [
        {**row, "parameters": int(row["parameters"]), "accuracy": float(row["accuracy"])}
        for row in csv.DictReader(text.splitlines())
    ]


def page_of(data: Json) -> str:
    """The page with these data, style, scripts and the plotting library within."""
    here = files(__package__)
    scripts = [here.joinpath(name).read_text(encoding="utf-8") for name in SCRIPTS]
    parts = {
        "title": html.escape(TITLE),
        "style": here.joinpath("page.css").read_text(encoding="utf-8"),
        "plotly": files("plotly").joinpath("package_data", "plotly.min.js").read_text(encoding="utf-8"),
        "data": _as_json(data),
        "scripts": "\n".join(scripts),
    }
    before, *rest = here.joinpath("page.html").read_text(encoding="utf-8").split("<!--{")
    return before + "".join(parts[name] + after for name, _, after in (piece.partition("}-->") for piece in rest))


def _as_json(data: Json) -> str:
    """JSON that no HTML parser sees an end or a comment in, whatever the names within."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
