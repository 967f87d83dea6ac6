"""Writing of a report to a terminal, a pipe or a file, in one of several formats."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_compact.common.atomic import replacing

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

FOR_PROGRAMS = ("csv", "json", "parquet")  # these formats hold only the table


@dataclass(slots=True, frozen=True)
class Report:
    """A table and the lines below it.

    Attributes:
        table: The table.
        legend: Lines that explain the columns.
        findings: Lines that the reader must know about the rows, such as runs that were left out.
        ranked: All columns, the most important first; a narrow terminal shows the first that fit. If it is empty, all
            columns are shown.
    """

    table: "pd.DataFrame"
    legend: Sequence[str] = ()
    findings: Sequence[str] = ()
    ranked: Sequence[str] = ()


def write_report(report: Report, form: str, out: Path | None) -> None:
    """Write a report to a file or print it. If the format holds only the table, the findings go to stderr.

    Args:
        report: The report.
        form: table, csv, markdown, json, parquet or html.
        out: The file; None: print.

    Raises:
        OSError: If `out` cannot be written.
    """
    from mnist_compact.common.tables import on_paper_or_terminal, write_parquet

    if form in FOR_PROGRAMS:
        sys.stderr.write("".join(f"{finding}\n" for finding in report.findings))
    if out is not None:
        with replacing(out) as path:
            if form == "parquet":
                write_parquet(report.table, path)
            else:
                path.write_text(_text(report, form), encoding="utf-8")
    elif form == "table" and (console := on_paper_or_terminal()).is_terminal:
        _show(report, console)
    else:
        sys.stdout.write(_text(report, form))


def _text(report: Report, form: str) -> str:
    from mnist_compact.common import tables

    notes = [*report.legend, *report.findings]
    if form == "csv":
        text = tables.to_csv(report.table)
    elif form == "json":
        text = tables.to_json(report.table)
    elif form == "html":
        text = tables.to_html(report.table, "mnist_compact: runs", notes)
    else:
        body = tables.to_markdown(report.table) if form == "markdown" else tables.to_text(report.table)
        text = body + "".join(f"\n{note}\n" for note in notes)
    return text.encode(errors="replace").decode()  # names of folders need not be valid text


def _show(report: Report, console: "Console") -> None:
    from rich.text import Text

    from mnist_compact.common.tables import columns_that_fit, to_rich

    table, notes = report.table, [*report.legend, *report.findings]
    if report.ranked:
        table = table[columns_that_fit(table, report.ranked, console.width)]
        if hidden := [name for name in report.table.columns if name not in table.columns]:
            notes.append(
                f"Columns that do not fit into this terminal: {', '.join(hidden)}. "
                "To see them, use a wider terminal, --columns or --out FILE."
            )
    console.print(to_rich(table, width=console.width))
    for note in notes:
        console.print()
        console.print(Text(note, style="dim"))
