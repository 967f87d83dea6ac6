"""`python -m mnist_compact.report`: tables of finished, running and failed runs."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_compact.faults import nearest

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_PATH = "outputs"
FORMAT_BY_ENDING = {".csv": "csv", ".md": "markdown"}


def main(argv: Sequence[str] | None = None) -> None:
    """Print a report on the run folders under the given paths.

    Without options: the comparison of the reference programme. No run at all is no error: a line on stderr says so,
    nothing is written, and the exit code is 0. What cannot be done (a path or column that does not exist, a file that
    cannot be written) is one line on stderr and exit code 2.
    """
    arguments = _parser().parse_args(argv)
    try:
        _report(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, `head` say, has seen enough; nothing must be flushed at exit
        sys.stdout = None
    except (ValueError, OSError) as error:
        sys.stderr.write(f"mnist-compact-report: {error}\n")
        raise SystemExit(2) from error


def _parser() -> argparse.ArgumentParser:
    from mnist_compact.results.columns import COLUMNS

    names = "\n".join(f"  {column.name:21}{column.about}" for column in COLUMNS)
    parser = argparse.ArgumentParser(
        prog="mnist-compact-report",
        description="Compare the runs found under the given folders; without options as the reference programme does.",
        epilog=f"""columns (for --columns and --sort):
{names}
  SPLIT_[averaged_]accuracy_last, …_best, …_loss_last, …_loss_best, …_epoch_best
                       scores: per cent, nats; SPLIT is train, test, holdout or synthetic
  optim.lr, model.dropout, …
                       every setting, under its key of the command line""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", nargs="*", metavar="PATH", help=f"folders to search (default: {DEFAULT_PATH})")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--all", action="store_true", help="every column in which some run has a value")
    which.add_argument("--columns", metavar="A,B,…", help="exactly these columns")
    parser.add_argument("--sort", metavar="COLUMN", help="order by this column, runs without a value last")
    parser.add_argument("--descending", action="store_true", help="with --sort: largest first")
    parser.add_argument(
        "--format", choices=("table", "markdown", "csv"), help="default: by the ending of --out, or table"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write here instead of printing")
    return parser


def _report(arguments: argparse.Namespace) -> None:
    if arguments.descending and arguments.sort is None:
        raise ValueError("--descending needs --sort COLUMN")
    from mnist_compact.results.tables import load_runs

    if not arguments.paths and not Path(DEFAULT_PATH).exists():
        sys.stderr.write(f"No runs yet: there is no folder {DEFAULT_PATH!r} here.\n")
        return
    paths = arguments.paths or [DEFAULT_PATH]
    frame = load_runs(*paths)
    if frame.empty:
        sys.stderr.write(f"No runs found under {', '.join(paths)}.\n")
        return
    columns = arguments.columns.split(",") if arguments.columns else None
    _check_columns(frame, [*(columns or []), *([arguments.sort] if arguments.sort else [])])
    if arguments.sort:
        frame = frame.sort_values(arguments.sort, ascending=not arguments.descending, na_position="last", kind="stable")
    table, notes = _chosen(frame, columns, everything=arguments.all)
    ending = arguments.out.suffix if arguments.out else ""
    _deliver(table, notes, arguments.format or FORMAT_BY_ENDING.get(ending, "table"), arguments.out)


def _check_columns(frame: "pd.DataFrame", wanted: list[str]) -> None:
    """Raises ValueError naming every column that no run has, each with the nearest one there is."""
    unknown = [name for name in dict.fromkeys(wanted) if name not in frame.columns]
    faults = [f"There is no column {name!r}.{nearest(name, frame.columns)}" for name in unknown]
    if faults:
        raise ValueError(" ".join(faults))


def _chosen(frame: "pd.DataFrame", columns: list[str] | None, *, everything: bool) -> tuple["pd.DataFrame", list[str]]:
    """The table that was asked for and the lines that belong below it."""
    if columns:
        return frame[list(dict.fromkeys(columns))], []
    if everything:
        return frame.dropna(axis="columns", how="all"), []
    from mnist_compact.results.metrics import CONVERGENCE_RULE
    from mnist_compact.results.tables import UNREADABLE, common_folder, reference_comparison

    unreadable = int((frame["status"] == UNREADABLE).sum())
    notes = [CONVERGENCE_RULE]
    folder = common_folder(frame)
    if folder:
        notes.append(f"Run folders are under {folder}.")
    if unreadable:
        notes.append(f"Unreadable records: {unreadable}; --columns run,reason tells why.")
    return reference_comparison(frame), notes


def _deliver(table: "pd.DataFrame", notes: list[str], form: str, out: Path | None) -> None:
    from rich.console import Console
    from rich.text import Text

    from mnist_compact.atomic import replacing
    from mnist_compact.results import rendering

    console = Console()
    if out is None and form == "table" and console.is_terminal:
        console.print(rendering.to_rich(table, width=console.width))
        for note in notes:
            console.print()
            console.print(Text(note, style="dim"))
        return
    if form == "csv":
        text = rendering.to_csv(table)
    else:
        body = rendering.to_markdown(table) if form == "markdown" else rendering.to_text(table)
        text = body + "".join(f"\n{note}\n" for note in notes)
    if out is None:
        sys.stdout.write(text)
        return
    with replacing(out) as path:
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
