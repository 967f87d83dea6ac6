"""`python -m mnist_compact.study`: export, import, collect, list, show and watch studies."""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_compact.common.command import run_command
from mnist_compact.common.errors import EXIT_FAILED, ConfigError
from mnist_compact.common.wording import counted
from mnist_compact.records.discovery import DATABASE, EXPORTED, is_below
from mnist_compact.search.locate import SWEEPS, database_of, files, from_file, storage_of, studies_at, studies_in

if TYPE_CHECKING:
    import pandas as pd
    from optuna.study import Study

FEWEST = 3  # least number of trials for a rank correlation


def main(argv: Sequence[str] | None = None) -> None:
    """Export, import, collect, list, show or watch studies.

    The exit code of `collect` is 1 if run folders are missing. Errors of the user, such as a missing study or a damaged
    file, are printed on stderr, with exit code 2.
    """
    run_command("mnist-compact-study", lambda: _run(_parser().parse_args(argv)))


def _run(arguments: argparse.Namespace) -> int | None:
    if "name" in arguments and arguments.command != "import":
        _accept_folder(arguments)
    if arguments.command == "collect":
        return _collect(arguments)
    {"export": _export, "import": _import, "list": _list, "show": _show, "watch": _watch}[arguments.command](arguments)
    return None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mnist-compact-study", description="Export, import, collect, list, show and watch the studies of searches."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    location = argparse.ArgumentParser(add_help=False)
    location.add_argument(
        "--folder", type=Path, default=Path(SWEEPS), help=f"the folder that contains the studies (default: {SWEEPS})"
    )
    location.add_argument(
        "--storage", metavar="URL", help=f"an Optuna URL or journal:///path instead of NAME/{DATABASE}"
    )

    export = commands.add_parser("export", parents=[location], help="write a study to one small file")
    export.add_argument("name", metavar="NAME", help="the study to export, or its folder")
    export.add_argument("--out", type=Path, metavar="FILE", help=f"default: NAME{EXPORTED}")

    import_parser = commands.add_parser("import", parents=[location], help="import an exported study, to continue it")
    import_parser.add_argument("file", type=Path, metavar="FILE", help="an exported study")
    import_parser.add_argument("--name", help="the study's new name (default: the exported name)")

    collect = commands.add_parser(
        "collect", parents=[location], help="copy the run folders of other machines into the study's folder"
    )
    collect.add_argument("name", metavar="NAME", help="the study, or its folder")
    collect.add_argument(
        "--from",
        dest="sources",
        type=Path,
        nargs="+",
        required=True,
        metavar="DIR",
        help="the study's folders of the other machines, or copies of them",
    )

    list_parser = commands.add_parser("list", help="list studies")
    list_source = list_parser.add_mutually_exclusive_group()
    list_source.add_argument(
        "paths", nargs="*", default=[], metavar="PATH", help=f"folders to search, or files (default: {SWEEPS})"
    )
    list_source.add_argument("--storage", metavar="URL", help="an Optuna URL or journal:///path instead")

    show = commands.add_parser("show", parents=[location], help="show what a study searched and found")
    show.add_argument("name", metavar="NAME", help=f"a study, its folder, or a file that ends in {EXPORTED}")
    show.add_argument("--top", type=int, default=10, metavar="K", help="number of best trials to list (default: 10)")
    show.add_argument("--format", choices=("table", "markdown", "csv"), default="table", help="csv: only the trials")

    watch = commands.add_parser("watch", parents=[location], help="display a search that another process runs")
    watch.add_argument("name", metavar="NAME", help="the study to display, or its folder")
    return parser


def _accept_folder(arguments: argparse.Namespace) -> None:
    """Accept the folder of a study, whose path the shell completes, in place of the study's name."""
    given = Path(arguments.name)
    if given.name != arguments.name and not arguments.storage and (given / DATABASE).is_file():
        arguments.folder, arguments.name = given.parent, given.name


def _export(arguments: argparse.Namespace) -> None:
    from mnist_compact.search.transfer import export_study, write

    path = arguments.out or Path(f"{arguments.name}{EXPORTED}")
    with storage_of(arguments.name, arguments.folder, arguments.storage) as storage:
        exported = export_study(storage, arguments.name)
    write(path, exported)
    print(f"{path}: {counted(len(exported['trials']), 'trial')}, {path.stat().st_size / 1000:,.1f} kB")


def _import(arguments: argparse.Namespace) -> None:
    from mnist_compact.search.importing import import_file

    for line in import_file(arguments.file, arguments.folder, arguments.storage, arguments.name):
        print(line)


def _collect(arguments: argparse.Namespace) -> int:
    from mnist_compact.search.collecting import collect_trials
    from mnist_compact.search.transfer import load

    if not is_below(arguments.name):
        raise ConfigError([f"NAME must be that of a folder in {arguments.folder}, got {arguments.name!r}"])
    with storage_of(arguments.name, arguments.folder, arguments.storage) as storage:
        study = load(storage, arguments.name)
        lines, complete = collect_trials(study, arguments.folder / arguments.name, arguments.sources)
    print("\n".join(lines))
    return 0 if complete else EXIT_FAILED


def _list(arguments: argparse.Namespace) -> None:
    import pandas as pd

    from mnist_compact.search.storage_urls import shown

    if arguments.storage:
        searched = shown(arguments.storage)
        with studies_at(arguments.storage) as studies:
            rows = _rows(studies, searched)
    elif arguments.paths or Path(SWEEPS).exists():
        paths = arguments.paths or [SWEEPS]
        searched = ", ".join(paths)
        rows = _rows_of_files(dict.fromkeys(file for path in paths for file in files(Path(path))))
    else:
        sys.stderr.write(f"No studies yet: there is no folder {SWEEPS!r} here.\n")
        return
    if not rows:
        sys.stderr.write(f"No studies found in {searched}.\n")
        return
    _print([pd.DataFrame(rows)], "table")


def _rows_of_files(paths: Iterable[Path]) -> list[dict[str, Any]]:
    """Return the rows of all studies; name files that cannot be read on stderr."""
    rows = []
    for path in paths:
        try:
            with studies_in(path) as studies:
                rows += _rows(studies, str(path))
        except ConfigError as error:
            sys.stderr.write(f"mnist-compact-study: {error}\n")
    return rows


def _rows(studies: "list[Study]", path: str) -> list[dict[str, Any]]:
    from mnist_compact.search.summary import counts

    return [{"study": study.study_name, **counts(study), **_best(study), "in": path} for study in studies]


def _best(study: "Study") -> dict[str, str]:
    from mnist_compact.search.summary import best, objectives

    found, names = best(study), objectives(study)
    if not found:
        return {"best": ""}
    return {"best": f"{names[0]} {found[0].values[0]:.6g}" if len(names) == 1 else f"Pareto set of {len(found)}"}


def _show(arguments: argparse.Namespace) -> None:
    from mnist_compact.search.transfer import load

    if arguments.top < 1:
        raise ConfigError([f"--top must be at least 1, got {arguments.top}"])
    if arguments.name.endswith(EXPORTED):
        _print_study(from_file(Path(arguments.name)), arguments.top, arguments.format)
        return
    with storage_of(arguments.name, arguments.folder, arguments.storage) as storage:
        _print_study(load(storage, arguments.name), arguments.top, arguments.format)


def _watch(arguments: argparse.Namespace) -> None:
    from mnist_compact.cli.watch import watch
    from mnist_compact.search.transfer import load

    url = arguments.storage or f"sqlite:///{database_of(arguments.folder, arguments.name)}"
    with storage_of(arguments.name, arguments.folder, arguments.storage) as storage:
        watch(load(storage, arguments.name), arguments.folder / arguments.name, url)


def _print_study(study: "Study", top: int, form: str) -> None:
    import pandas as pd

    from mnist_compact.search.summary import best, counts, objectives, row, settings, shared_and_distinct

    columns = dict.fromkeys(["trial", *objectives(study), "parameters", "seconds", "point"])
    trials = best(study)[:top]
    table = pd.DataFrame([row(study, trial) for trial in trials], columns=list(columns))
    table["parameters"] = table["parameters"].astype("Int64")
    if form == "csv":
        _print([table], form)
        return
    shared, table["point"] = shared_and_distinct(trials)
    numbers = counts(study)
    proposed = sum(numbers.values()) - numbers["waiting"]
    share = f" ({numbers['refused'] / proposed:.0%} of {counted(proposed, 'proposal')})" if proposed else ""
    kinds = ", ".join(f"{count} {kind}" for kind, count in numbers.items())
    lines = settings(study)
    if lines and form == "markdown":
        lines = ["```", *lines, "```"]
    head = [f"study {study.study_name!r}: {kinds}{share}", *(["\n".join(lines)] if lines else [])]
    body = [
        "No trial is complete." if table.empty else table,
        *([f"shared by all of these: {shared}"] if shared else []),
    ]
    _print([*head, *body, *_rank_correlations(study)], form)


def _rank_correlations(study: "Study") -> "list[pd.DataFrame | str]":
    """Correlate the scores at each epoch with the final scores: a high correlation makes pruning there reliable."""
    import pandas as pd

    from mnist_compact.search.summary import curves

    n, pairs = curves(study)
    if n < FEWEST:
        return []
    rows = []
    for epoch, points in pairs.items():
        scores = pd.DataFrame(points, columns=["early", "final"])
        # Spearman's coefficient is Pearson's of the ranks. method="spearman" would warn of constant scores.
        found = scores["early"].rank().corr(scores["final"].rank()) if len(points) >= FEWEST else None
        rows.append({"epoch": epoch, "n": len(points), "rank correlation": found})
    frame = pd.DataFrame(rows).astype({"rank correlation": float}).round(3)
    trials = counted(n, "complete trial")
    return [f"Spearman rank correlation of the score at an epoch with the final score; {trials}.", frame]


def _print(parts: "Sequence[pd.DataFrame | str]", form: str) -> None:
    """Print tables and paragraphs with a blank line between them."""
    from rich.text import Text

    from mnist_compact.common import tables

    console = tables.on_paper_or_terminal()
    if form == "table" and console.is_terminal:
        for i, part in enumerate(parts):
            if i:
                console.print()
            console.print(Text(part) if isinstance(part, str) else tables.to_rich(part, width=console.width))
        return
    render = {"table": tables.to_text, "markdown": tables.to_markdown, "csv": tables.to_csv}[form]
    sys.stdout.write("\n".join(f"{part}\n" if isinstance(part, str) else render(part) for part in parts))
