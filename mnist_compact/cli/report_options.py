"""The options of `python -m mnist_compact.report` and their valid combinations; light, so that --help is fast."""

import argparse
from importlib.util import find_spec
from pathlib import Path

from mnist_compact.common.errors import UserError

DEFAULT_PATH = "outputs"
FORMAT_BY_ENDING = {
    ".txt": "table",
    ".csv": "csv",
    ".md": "markdown",
    ".json": "json",
    ".parquet": "parquet",
    ".html": "html",
    ".htm": "html",
}
CONFIGURATION = "config"


def parser() -> argparse.ArgumentParser:
    """Create the parser of the command line."""
    made = argparse.ArgumentParser(
        prog="mnist-compact-report",
        description="Compare the runs under the given folders. Without options it prints the standard comparison.",
        epilog=_epilog(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("paths", nargs="*", metavar="PATH", help=f"folders to search (default: {DEFAULT_PATH})")
    what = made.add_mutually_exclusive_group()
    what.add_argument("--all", action="store_true", help="show every column that has a value")
    what.add_argument(
        "--by",
        nargs="?",
        const=CONFIGURATION,
        metavar="A,B,…",
        help="summarize completed runs (n, mean, sd, min, max, 95 %% interval, share above 99.40 %%) in groups with "
        f"equal values in these columns; without columns, or with {CONFIGURATION}: one row per configuration",
    )
    what.add_argument("--epochs", action="store_true", help="show one row per epoch with the columns of metrics.csv")
    what.add_argument(
        "--page",
        type=Path,
        metavar="FILE",
        help="write an interactive HTML page of runs, curves and studies that needs no network",
    )
    what.add_argument(
        "--frontier",
        type=Path,
        metavar="FILE",
        help="draw the mean test accuracy of each confirmation, with its interval, over the number of parameters "
        "beside published results, as a PNG file",
    )
    what.add_argument(
        "--diff",
        nargs=2,
        metavar=("A", "B"),
        help="compare two run folders: differences of their settings, and their results",
    )
    made.add_argument(
        "--draw",
        metavar="NETWORK",
        help="with --page: add a section on which a person draws a digit and sees the answer of this network: a run "
        "folder, a file of weights, or a name of the zoo",
    )
    made.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="CONDITION",
        help="select only the runs (with --epochs also the epochs) that satisfy this condition; can be repeated",
    )
    made.add_argument(
        "--columns", metavar="A,B,…", help="show exactly these columns; with --epochs also columns of the runs"
    )
    made.add_argument("--sort", metavar="COLUMN", help="sort by this column, rows without a value last")
    made.add_argument("--descending", action="store_true", help="with --sort: the largest value first")
    made.add_argument(
        "--format",
        choices=tuple(dict.fromkeys(FORMAT_BY_ENDING.values())),
        help="default: by the ending of --out, otherwise table",
    )
    made.add_argument("--out", type=Path, metavar="FILE", help="write to this file instead of printing")
    return made


def _epilog() -> str:
    from mnist_compact.reports.columns import COLUMNS

    names = "\n".join(f"  {column.name:21}{column.about}" for column in COLUMNS)
    return f"""columns (for --columns, --sort, --where and --by):
{names}
  SPLIT_[averaged_]accuracy_last, …_best, …_loss_last, …_loss_best, …_calibrated_loss_last, …_epoch_best
                       scores in per cent or nats; SPLIT is train, test, holdout, fashion_test, …, synthetic
  accuracy, loss, calibrated_loss
                       short names for the final score: the last epoch on the evaluated split, with averaged weights if
                       there are any. An error if the completed runs have different kinds of final score. With --by,
                       accuracy means the mean. With --epochs they are valid only in conditions that select runs; use
                       the columns of the epoch (test_accuracy) or of the run in --columns and --sort
  optim.lr, model.dropout, …
                       every setting under its key on the command line

conditions:
  'optim == "adam" and optim.lr > 0.01', 'status in ["failed", "stopped"]', '"under_8k" in run', 'not model.conv_bias',
  'started_at >= "2025-11-20"', 'experiment is None'. A missing value satisfies no comparison.
"""


def form_of(arguments: argparse.Namespace) -> str:
    """Return the format of the output.

    Raises:
        UserError: If options cannot be combined, or the format needs a package that is not installed.
    """
    form: str = arguments.format or _format_of(arguments.out)
    if arguments.descending and arguments.sort is None:
        raise UserError("--descending requires --sort COLUMN")
    if arguments.all and arguments.columns:
        raise UserError("--all and --columns cannot be combined")
    if arguments.diff and (arguments.paths or arguments.where or arguments.columns or arguments.sort):
        raise UserError("--diff takes two run folders and cannot be combined with PATH, --where, --columns or --sort")
    if arguments.page and (arguments.columns or arguments.sort or arguments.format or arguments.out):
        raise UserError(
            "--page takes PATH, --where and --draw and cannot be combined with --columns, --sort, --format or --out"
        )
    if arguments.frontier and (arguments.columns or arguments.sort or arguments.format or arguments.out):
        raise UserError(
            "--frontier takes PATH and --where and cannot be combined with --columns, --sort, --format or --out"
        )
    if arguments.draw and not arguments.page:
        raise UserError("--draw requires --page FILE")
    if form == "parquet" and arguments.out is None:
        raise UserError("--format parquet requires --out FILE")
    if form == "parquet" and find_spec("pyarrow") is None:
        raise UserError("--format parquet requires pyarrow: pip install -e '.[parquet]'")
    return form


def _format_of(out: Path | None) -> str:
    if out is None or not out.suffix:
        return "table"
    if out.suffix not in FORMAT_BY_ENDING:
        raise UserError(f"--out must end in {', '.join(FORMAT_BY_ENDING)}, or be combined with --format, got {out}")
    return FORMAT_BY_ENDING[out.suffix]
