"""Assembly of the page: data, style and scripts are embedded in page.html."""

import html
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_compact.common.atomic import replacing
from mnist_compact.common.html_template import embedded_json, filled
from mnist_compact.common.statistics import THRESHOLD
from mnist_compact.common.wording import counted
from mnist_compact.reports.confirmations import confirmations
from mnist_compact.reports.page.columns import runs_table
from mnist_compact.reports.page.details import details
from mnist_compact.reports.page.studies import studies
from mnist_compact.reports.published import published
from mnist_compact.reports.tables import UNREADABLE, common_folder

if TYPE_CHECKING:
    import pandas as pd

TITLE = "mnist_compact: runs"
CORNER_BELOW = 8000  # parameters; fewer, with an accuracy above THRESHOLD, is the aim of the project
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
    """The selection of the runs on the page.

    Attributes:
        all_runs: The table that the runs were selected from.
        conditions: The conditions that the selected runs satisfy.
    """

    all_runs: "pd.DataFrame"
    conditions: Sequence[str]

    def note(self, left: int) -> str:
        """Describe the selection; `left` is the number of selected runs."""
        conditions = " and ".join(f"“{condition}”" for condition in self.conditions)
        return (
            f"This page shows {left:,} of {counted(len(self.all_runs), 'run')}, selected by {conditions}. "
            "A confirmation with one of them is summarized with all its runs."
        )


@dataclass(slots=True, frozen=True)
class Drawing:
    """A page for drawing digits, which becomes a section of the page of runs.

    Attributes:
        network: How the section names the network.
        page: The page as HTML (`deploy.drawing_page`).
    """

    network: str
    page: str


def write_page(
    frame: "pd.DataFrame",
    paths: Sequence[Path],
    out: Path,
    choice: PageFilter | None = None,
    drawing: Drawing | None = None,
) -> None:
    """Write runs and studies as one self-contained HTML file.

    Args:
        frame: The runs, a `load_runs` table.
        paths: Folders that are searched for studies.
        out: The HTML file.
        choice: The selection of the runs; None: all runs.
        drawing: The section on which a person draws a digit; None: the page has no such section.

    Raises:
        OSError: If `out` cannot be written.
    """
    text = render(page_data(frame, paths, choice, drawing))
    with replacing(out) as temporary:
        temporary.write_text(text, encoding="utf-8")


def page_data(
    frame: "pd.DataFrame", paths: Sequence[Path], choice: PageFilter | None = None, drawing: Drawing | None = None
) -> Json:
    """Collect all data of the page as JSON; the arguments are those of `write_page`."""
    runs = runs_table(frame)
    cells = {column["name"]: column["values"] for column in runs["columns"]}
    found, notes = studies(paths)
    if choice and choice.conditions:
        notes.insert(0, choice.note(len(frame)))
    unreadable = int((frame["status"] == UNREADABLE).sum())
    if unreadable:
        notes.append(f"Unreadable records: {unreadable}. The column reason states why.")
    return {
        "made_at": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "folder": common_folder(frame),
        "runs": runs,
        "details": details(list(frame["run"]), [cells[score["column"]] for score in runs["scores"]]),
        "confirmations": confirmations(frame, choice.all_runs if choice else frame),
        "studies": found,
        "published": published(),
        "drawing": asdict(drawing) if drawing else None,
        "threshold": THRESHOLD,
        "corner_below": CORNER_BELOW,
        "notes": notes,
    }


def render(data: Json) -> str:
    """Return the page as HTML with the data, the style, the scripts and the plotting library embedded."""
    here = files(__package__)
    scripts = [here.joinpath(name).read_text(encoding="utf-8") for name in SCRIPTS]
    parts = {
        "title": html.escape(TITLE),
        "style": here.joinpath("page.css").read_text(encoding="utf-8"),
        "plotly": files("plotly").joinpath("package_data", "plotly.min.js").read_text(encoding="utf-8"),
        "data": embedded_json(data),
        "scripts": "\n".join(scripts),
    }
    return filled(here.joinpath("page.html").read_text(encoding="utf-8"), parts)
