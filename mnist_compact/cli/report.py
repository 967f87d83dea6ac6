"""The command `python -m mnist_compact.report`: tables and a page of finished, running and failed runs."""

import argparse
import sys
from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_compact.cli.report_options import CONFIGURATION, DEFAULT_PATH, form_of, parser
from mnist_compact.common.command import run_command
from mnist_compact.common.wording import counted

if TYPE_CHECKING:
    import pandas as pd

    from mnist_compact.reports.output import Report


def main(argv: Sequence[str] | None = None) -> None:
    """Print a report on the run folders under the given paths.

    Without options it prints the standard comparison. If there are no runs, it prints one line to stderr, writes
    nothing and exits with 0. An error (a path or column that does not exist, a file that cannot be written) is one line
    on stderr with the exit code 2.

    Args:
        argv: The arguments; None: those of the process.
    """
    run_command("mnist-compact-report", lambda: _run(parser().parse_args(argv)))


def _run(arguments: argparse.Namespace) -> None:
    form = form_of(arguments)
    from mnist_compact.reports.output import Report, write_report

    if arguments.diff:
        from mnist_compact.reports.difference import difference

        write_report(Report(difference(*arguments.diff)), form, arguments.out)
        return
    frame = _found(arguments.paths)
    if frame is None:
        return
    if arguments.page:
        _page(frame, arguments)
        return
    if arguments.frontier:
        _frontier(frame, arguments)
        return
    if not arguments.epochs:
        frame = _matching(frame, arguments.where)
        if frame.empty:
            _report_no_match(arguments)
            return
    report = _report(frame, arguments)
    if report.table.empty and arguments.where and not report.findings:
        _report_no_match(arguments)
        return
    write_report(report, form, arguments.out)


def _names(listed: str) -> list[str]:
    return [name.strip() for name in listed.split(",")]


def _found(paths: list[str]) -> "pd.DataFrame | None":
    """Load all runs. If there are none, print a line to stderr and return None."""
    from mnist_compact.reports.tables import load_runs

    if not paths and not Path(DEFAULT_PATH).exists():
        sys.stderr.write(f"No runs yet: there is no folder {DEFAULT_PATH!r} here.\n")
        return None
    frame = load_runs(*(paths or [DEFAULT_PATH]))
    if frame.empty:
        sys.stderr.write(f"No runs found under {', '.join(paths or [DEFAULT_PATH])}.\n")
        return None
    return frame


def _page(frame: "pd.DataFrame", arguments: argparse.Namespace) -> None:
    from mnist_compact.cli.network_options import named_network
    from mnist_compact.reports.page.document import Drawing, PageFilter, write_page

    shown = _matching(frame, arguments.where)
    if shown.empty:
        _report_no_match(arguments)
        return
    paths = [Path(path) for path in arguments.paths or [DEFAULT_PATH]]
    drawing = None
    if arguments.draw:
        from mnist_compact.deploy.drawing_page import drawing_page

        name, classifier = named_network(arguments.draw)
        drawing = Drawing(name, drawing_page(classifier, name))
    write_page(shown, paths, arguments.page, PageFilter(frame, arguments.where), drawing)
    print(f"{arguments.page}: {counted(len(shown), 'run')}, {arguments.page.stat().st_size / 1e6:.1f} MB")


def _frontier(frame: "pd.DataFrame", arguments: argparse.Namespace) -> None:
    from mnist_compact.reports.frontier import draw_frontier

    shown = _matching(frame, arguments.where)
    if shown.empty:
        _report_no_match(arguments)
        return
    drawn = draw_frontier(shown, frame, arguments.frontier)
    print(f"{arguments.frontier}: {counted(drawn, 'confirmation')}")


def _matching(frame: "pd.DataFrame", conditions: Sequence[str]) -> "pd.DataFrame":
    """Return the rows that satisfy all conditions."""
    from mnist_compact.reports.query import matching

    return reduce(matching, conditions, frame)


def _report_no_match(arguments: argparse.Namespace) -> None:
    sys.stderr.write(f"Nothing matches {' and '.join(arguments.where)}.\n")


def _report(frame: "pd.DataFrame", arguments: argparse.Namespace) -> "Report":
    columns = _names(arguments.columns) if arguments.columns else []
    if arguments.epochs:
        return _epochs(frame, arguments, columns)
    if arguments.by:
        return _groups(frame, arguments, columns)
    return _runs(frame, arguments, columns)


def _runs(frame: "pd.DataFrame", arguments: argparse.Namespace, columns: list[str]) -> "Report":
    from mnist_compact.records.metrics import CONVERGENCE_RULE
    from mnist_compact.reports.column_names import resolve_all
    from mnist_compact.reports.output import Report
    from mnist_compact.reports.tables import UNREADABLE, by_importance, common_folder, reference_comparison

    by = [arguments.sort] if arguments.sort else []
    resolve_all(frame, [*columns, *by])  # reports all unknown names at once
    if by:
        frame = _sorted(frame, *resolve_all(frame, by), descending=arguments.descending)
    if columns:
        return Report(frame[resolve_all(frame, columns)])
    if arguments.all:
        return Report(frame.dropna(axis="columns", how="all"))
    legend, folder, unreadable = [CONVERGENCE_RULE], common_folder(frame), int((frame["status"] == UNREADABLE).sum())
    if folder:
        legend.append(f"Run folders are under {folder}.")
    if unreadable:
        legend.append(f"Unreadable records: {unreadable}. To see why, use --columns run,reason.")
    comparison = reference_comparison(frame)
    return Report(comparison, legend, ranked=by_importance(comparison))


def _groups(frame: "pd.DataFrame", arguments: argparse.Namespace, columns: list[str]) -> "Report":
    from mnist_compact.reports import grouping
    from mnist_compact.reports.column_names import resolve, resolve_all
    from mnist_compact.reports.output import Report

    if arguments.by == CONFIGURATION:
        table, findings = grouping.by_configuration(frame)
    else:
        table, findings = grouping.grouped(frame, resolve_all(frame, _names(arguments.by)))

    def as_column(name: str) -> str:
        return grouping.mean_column(resolve(frame, name)) if name == "accuracy" else name

    sort = as_column(arguments.sort) if arguments.sort else None
    chosen = _chosen(table, [*map(as_column, columns)], sort, descending=arguments.descending)
    return Report(chosen, [grouping.LEGEND], findings)


def _epochs(frame: "pd.DataFrame", arguments: argparse.Namespace, columns: list[str]) -> "Report":
    """Return the table of epochs.

    Conditions that use only columns of runs select runs before epochs are read; the others select epochs.
    """
    from mnist_compact.reports.column_names import SHORT
    from mnist_compact.reports.output import Report
    from mnist_compact.reports.query import names_in
    from mnist_compact.reports.tables import epochs_of

    run_columns = {*frame.columns, *SHORT}
    run_conditions = [condition for condition in arguments.where if run_columns.issuperset(names_in(condition))]
    epoch_conditions = [condition for condition in arguments.where if condition not in run_conditions]
    frame = _matching(frame, run_conditions)
    if frame.empty:
        return Report(frame)
    carried = [*columns, arguments.sort, *(name for condition in epoch_conditions for name in names_in(condition))]
    table = epochs_of(frame, [name for name in carried if name in frame.columns])
    table = _matching(table, epoch_conditions)
    return Report(_chosen(table, columns, arguments.sort, descending=arguments.descending))


def _chosen(table: "pd.DataFrame", columns: list[str], sort: str | None, *, descending: bool) -> "pd.DataFrame":
    """Sort the table and select its columns."""
    from mnist_compact.reports.column_names import check

    check(table.columns, [*columns, *([sort] if sort else [])])
    if sort:
        table = _sorted(table, sort, descending=descending)
    return table[list(dict.fromkeys(columns))] if columns else table


def _sorted(table: "pd.DataFrame", column: str, *, descending: bool) -> "pd.DataFrame":
    return table.sort_values(column, ascending=not descending, na_position="last", kind="stable")
