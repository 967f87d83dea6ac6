"""`python -m mnist_compact.confirm`: one configuration over fresh seeds, with an interval and a verdict."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_compact.commands import conclude
from mnist_compact.faults import EXIT_FAILED, ConfigError, WorkFault
from mnist_compact.results.summary import BAR
from mnist_compact.search.places import SWEEPS, is_below

if TYPE_CHECKING:
    from mnist_compact.confirm.confirmation import Confirmation
    from mnist_compact.confirm.evidence import Evidence
    from mnist_compact.confirm.sources import Source

FOLDER = "outputs/confirmations"
SEEDS, SEEDS_OF_A_RANKING = 20, 3


def main(argv: Sequence[str] | None = None) -> None:
    """Confirm a configuration, or rank a study's best again. The same line goes on after an interruption.

    What cannot be done is said on stderr, with exit code 2; seeds that could not be trained give 1, Ctrl-C 130.
    """
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.jobs < 0:
        parser.error(f"--jobs must be at least 0, got {arguments.jobs}")
    if not 0 <= arguments.bar <= 100:
        parser.error(f"--bar must be per cent, from 0 to 100, got {arguments.bar}")
    if arguments.storage and arguments.trial is None and arguments.study is None:
        parser.error("--storage says where the study of --trial or --study is kept")
    conclude(
        "mnist-compact-confirm",
        lambda: _confirm(arguments) if arguments.study is None else _rank(arguments),
        interrupted="interrupted; the same line goes on",
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mnist-compact-confirm",
        description="One configuration over fresh seeds; or the best of a study, ranked again over several seeds each.",
        epilog="Seeds already trained are not trained again: the same line goes on, a larger --seeds adds to them.",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--run", type=Path, metavar="DIR", help="the configuration of a run folder")
    what.add_argument("--trial", metavar="STUDY:N", help="of a search's trial; STUDY may be an exported file")
    what.add_argument("--experiment", metavar="NAME", help="of conf/experiment/NAME.yaml")
    what.add_argument("--study", metavar="STUDY", help="rank this study's best again on the held-out split")
    parser.add_argument("--top", type=int, default=8, metavar="K", help="with --study: so many trials (default: 8)")
    parser.add_argument(
        "--seeds",
        type=int,
        metavar="N",
        help=f"in all (default: {SEEDS}); with --study in its first round (default: {SEEDS_OF_A_RANKING})",
    )
    parser.add_argument(
        "--split",
        choices=("test", "holdout", "synthetic"),
        help="what is scored: test trains on all 60,000 images (default: test; with --study holdout)",
    )
    parser.add_argument("--jobs", type=int, default=0, metavar="N", help="processes (default: 0, one a core)")
    parser.add_argument("--bar", type=float, default=BAR, help=f"per cent, for the verdict (default: {BAR:.2f})")
    parser.add_argument("--name", help="of the confirmation (default: after what is confirmed)")
    parser.add_argument("--folder", type=Path, default=Path(FOLDER), help=f"of all confirmations (default: {FOLDER})")
    parser.add_argument("--sweeps", type=Path, default=Path(SWEEPS), help=f"where studies lie (default: {SWEEPS})")
    parser.add_argument("--storage", metavar="URL", help="of the study: an Optuna URL or journal:///path")
    parser.add_argument(
        "--versus", metavar="OTHER", help="another confirmation: is the difference shown to be more than noise?"
    )
    parser.add_argument("--save", metavar="NAME", help="write the configuration as experiment NAME, with its evidence")
    parser.add_argument(
        "--export", type=Path, metavar="DIR", help="copy every seed's record below DIR, small enough to commit"
    )
    parser.add_argument("--to", type=Path, metavar="DIR", help="with --save: where (default: conf/experiment)")
    return parser


def _confirm(arguments: argparse.Namespace) -> int:
    from mnist_compact.confirm import crew
    from mnist_compact.confirm.confirmation import begin
    from mnist_compact.confirm.evidence import Comparison, Evidence
    from mnist_compact.confirm.saving import place_of, save
    from mnist_compact.confirm.tables import show

    split, count = arguments.split or "test", SEEDS if arguments.seeds is None else arguments.seeds
    if count < 1:
        raise ConfigError([f"--seeds must be at least 1, got {count}"])
    if arguments.to and arguments.save is None:
        raise ConfigError(["--to says where --save writes, and needs it"])
    # What cannot be written or compared should be known before hours of training.
    if arguments.save is not None:
        place_of(arguments.save, arguments.to)
    folder, confirmation = _place(_source(arguments), split, arguments)
    other = None if arguments.versus is None else _gathered(_other(arguments))
    if other is not None:
        Comparison.check(other, confirmation, confirmation.seeds(count))
    confirmation = begin(confirmation, folder)
    seeds = confirmation.seeds(count)
    faults = crew.train([(folder, seeds)], arguments.jobs)
    evidence = Evidence.gather(folder, seeds)
    show(evidence, arguments.bar)
    for fault in faults:
        sys.stderr.write(f"mnist-compact-confirm: {fault}\n")
    if arguments.export is not None:
        from mnist_compact.confirm.exporting import export

        print(f"records in {export(evidence, folder, arguments.export)}")
    if arguments.save is not None and not faults:
        print(save(evidence, arguments.save, arguments.to, bar=arguments.bar))
    if other is not None:
        print(Comparison.between(evidence, other).told(confirmation.name, other.confirmation.name))
    return EXIT_FAILED if faults else 0


def _rank(arguments: argparse.Namespace) -> int:
    from mnist_compact.confirm.confirmation import begin
    from mnist_compact.confirm.ranking import rank
    from mnist_compact.confirm.sources import best_trials
    from mnist_compact.confirm.tables import show_round

    split = arguments.split or "holdout"
    seeds = SEEDS_OF_A_RANKING if arguments.seeds is None else arguments.seeds
    if split == "test":
        raise ConfigError(["--study ranks on the held-out split: choosing by test images would spoil them"])
    if arguments.top < 1 or seeds < 1:
        raise ConfigError([f"--top and --seeds must be at least 1, got {arguments.top} and {seeds}"])
    unfit = [f"--{word}" for word in ("versus", "save", "to", "export", "name") if getattr(arguments, word) is not None]
    if unfit:
        raise ConfigError([f"{', '.join(unfit)} cannot be used with --study; confirm its winner"])
    sources = best_trials(arguments.study, arguments.top, arguments.sweeps, arguments.storage)
    candidates = [_place(source, split, arguments) for source in sources]
    for folder, candidate in candidates:
        begin(candidate, folder)
    folders = [folder for folder, _ in candidates]
    first = None
    for number, done in enumerate(rank(folders, seeds, arguments.jobs), start=1):
        show_round(number, done.seeds, [evidence for _, evidence in done.standings], arguments.bar)
        first = done.standings[0][1]
    assert first is not None
    if first.failed:
        raise WorkFault("no candidate came through with all its seeds", EXIT_FAILED)
    source = first.confirmation.source
    words = ["python", "-m", "mnist_compact.confirm", "--trial", f"{arguments.study}:{source.rpartition(':')[2]}"]
    for name, usual in {"sweeps": Path(SWEEPS), "folder": Path(FOLDER), "storage": None}.items():
        if getattr(arguments, name) != usual:
            words += [f"--{name}", str(getattr(arguments, name))]
    if split == "synthetic":
        words += ["--split", split]
    where = "On the test images" if split == "holdout" else "With fresh seeds"
    print(f"first: {source}. {where}: {shlex.join(words)}")
    return 0


def _source(arguments: argparse.Namespace) -> "Source":
    from mnist_compact.confirm import sources

    if arguments.run is not None:
        return sources.of_run(arguments.run)
    if arguments.experiment is not None:
        return sources.of_experiment(arguments.experiment)
    return sources.of_trial(arguments.trial, arguments.sweeps, arguments.storage)


def _place(source: "Source", split: str, arguments: argparse.Namespace) -> tuple[Path, "Confirmation"]:
    """Folder and content of a confirmation of `source`, or of its part in a ranking. Nothing is written."""
    from mnist_compact.confirm.confirmation import Confirmation
    from mnist_compact.experiment import check

    ranking = arguments.study is not None
    ending = "-ranking" if ranking else "" if split == "test" else f"-{split}"
    name = f"{source.name}{ending}" if arguments.name is None else arguments.name
    if not is_below(name):
        raise ConfigError([f"--name must be a folder's below {arguments.folder}, got {name!r}"])
    confirmation = Confirmation.of(name, source.told, source.run, split, source.used_seeds, ranking=ranking)
    check(confirmation.run_config(0))
    return arguments.folder / name, confirmation


def _other(arguments: argparse.Namespace) -> Path:
    """`--versus` is a folder, or the name of a confirmation."""
    path = Path(arguments.versus)
    return path if path.is_dir() else Path(arguments.folder, arguments.versus)


def _gathered(folder: Path) -> "Evidence":
    """All seeds of a confirmation that have ended."""
    from mnist_compact.confirm.crew import seeds_of
    from mnist_compact.confirm.evidence import Evidence

    return Evidence.gather(folder, seeds_of(folder))


if __name__ == "__main__":
    main()
