"""What `python -m mnist_compact.report` can be asked, and which of it goes together. Light: it is there for --help."""

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
    made = argparse.ArgumentParser(
        prog="mnist-compact-report",
        description="Compare the runs found under the given folders; without options as the reference programme does.",
        epilog=_epilog(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("paths", nargs="*", metavar="PATH", help=f"folders to search (default: {DEFAULT_PATH})")
    what = made.add_mutually_exclusive_group()
    what.add_argument("--all", action="store_true", help="every column in which some run has a value")
    what.add_argument(
        "--by",
        nargs="?",
        const=CONFIGURATION,
        metavar="A,B,…",
        help="completed runs summed up (n, mean, sd, min, max, 95 %% interval, share over 99.40 %%) in groups alike in "
        f"these columns; without any, or {CONFIGURATION}: a group a configuration, alike in all but the seed",
    )
    what.add_argument("--epochs", action="store_true", help="a row an epoch: run and the columns of metrics.csv")
    what.add_argument(
        "--page", type=Path, metavar="FILE", help="one HTML file to explore without a network: runs, curves, studies"
    )
    what.add_argument("--diff", nargs=2, metavar=("A", "B"), help="two run folders: what differs, and what came of it")
    made.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="CONDITION",
        help="only the runs (with --epochs also: epochs) for which it holds; several are applied in turn",
    )
    made.add_argument("--columns", metavar="A,B,…", help="exactly these columns; with --epochs, of the runs too")
    made.add_argument("--sort", metavar="COLUMN", help="order by this column, rows without a value last")
    made.add_argument("--descending", action="store_true", help="with --sort: largest first")
    made.add_argument(
        "--format", choices=tuple(dict.fromkeys(FORMAT_BY_ENDING.values())), help="default: by --out's ending, or table"
    )
    made.add_argument("--out", type=Path, metavar="FILE", help="write here instead of printing")
    return made


def _epilog() -> str:
    from mnist_compact.reports.columns import COLUMNS

    names = "\n".join(f"  {column.name:21}{column.about}" for column in COLUMNS)
    return f"""columns (for --columns, --sort, --where and --by):
{names}
  SPLIT_[averaged_]accuracy_last, …_best, …_loss_last, …_loss_best, …_epoch_best
                       scores: per cent, nats; SPLIT is train, test, holdout, fashion_test or synthetic
  accuracy, loss       the final score's: the last epoch's on the evaluated split, of averaged weights once there are
                       any. Stands for one of the columns above, and is refused where the completed runs end with
                       different ones; with --by, the mean of the accuracies; with --epochs for conditions that choose
                       runs alone: --columns and --sort name the epoch's (test_accuracy) or the run's column
  optim.lr, model.dropout, …
                       every setting, under its key of the command line

conditions:
  'optim == "adam" and optim.lr > 0.01', 'status in ["failed", "stopped"]', '"under_8k" in run', 'not model.conv_bias',
  'started_at >= "2025-11-20"', 'experiment is None'. A missing value matches no comparison.
"""


def form_of(arguments: argparse.Namespace) -> str:
    """The format to write. Raises UserError for options that do not go together, and for one that is not installed."""
    form: str = arguments.format or _format_of(arguments.out)
    if arguments.descending and arguments.sort is None:
        raise UserError("--descending needs --sort COLUMN")
    if arguments.all and arguments.columns:
        raise UserError("--all and --columns are not allowed together")
    if arguments.diff and (arguments.paths or arguments.where or arguments.columns or arguments.sort):
        raise UserError("--diff takes two run folders; PATH, --where, --columns and --sort do not go with it")
    if arguments.page and (arguments.columns or arguments.sort or arguments.format or arguments.out):
        raise UserError("--page takes PATH and --where; --columns, --sort, --format and --out do not go with it")
    if form == "parquet" and arguments.out is None:
        raise UserError("--format parquet needs --out FILE")
    if form == "parquet" and find_spec("pyarrow") is None:
        raise UserError("--format parquet needs pyarrow: pip install -e '.[parquet]'")
    return form


def _format_of(out: Path | None) -> str:
    if out is None or not out.suffix:
        return "table"
    if out.suffix not in FORMAT_BY_ENDING:
        raise UserError(f"--out must end in {', '.join(FORMAT_BY_ENDING)}, or have --format beside it, got {out}")
    return FORMAT_BY_ENDING[out.suffix]
