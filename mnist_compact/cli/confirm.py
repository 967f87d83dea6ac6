"""`python -m mnist_compact.confirm`: one configuration over fresh seeds, with an interval and a verdict."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_compact.common.command import run_command
from mnist_compact.common.errors import EXIT_FAILED, ConfigError
from mnist_compact.common.statistics import THRESHOLD
from mnist_compact.confirmation.defaults import FOLDER, RANKED_TRIALS, RANKING_SEEDS, SEEDS
from mnist_compact.search.locate import SWEEPS

if TYPE_CHECKING:
    from mnist_compact.confirmation.conduct import ConfirmSpec
    from mnist_compact.confirmation.results import SeedResults


def main(argv: Sequence[str] | None = None) -> None:
    """Confirm a configuration, or rank a study's best again. The same line goes on after an interruption.

    What cannot be done is said on stderr, with exit code 2; seeds that could not be trained give 1, Ctrl-C 130.
    """
    run_command("mnist-compact-confirm", lambda: _run(argv), interrupted="interrupted; the same line goes on")


def _run(argv: Sequence[str] | None) -> int:
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.jobs < 0:
        parser.error(f"--jobs must be at least 0, got {arguments.jobs}")
    if not 0 <= arguments.threshold <= 100:
        parser.error(f"--threshold must be per cent, from 0 to 100, got {arguments.threshold}")
    if arguments.storage and arguments.trial is None and arguments.study is None:
        parser.error("--storage says where the study of --trial or --study is kept")
    return _confirm(arguments) if arguments.study is None else _rank(arguments)


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
    what.add_argument("--study", metavar="STUDY", help="rank this study's best again on another held-out part")
    parser.add_argument(
        "--top",
        type=int,
        default=RANKED_TRIALS,
        metavar="K",
        help=f"with --study: so many trials (default: {RANKED_TRIALS})",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        metavar="N",
        help=f"in all (default: {SEEDS}); with --study in its first round (default: {RANKING_SEEDS})",
    )
    parser.add_argument(
        "--split",
        choices=("test", "holdout", "synthetic"),
        help="what is scored: test trains on all 60,000 images (default: test; with --study holdout)",
    )
    parser.add_argument("--jobs", type=int, default=0, metavar="N", help="processes (default: 0, one a core)")
    parser.add_argument(
        "--threshold", type=float, default=THRESHOLD, help=f"per cent, for the verdict (default: {THRESHOLD:.2f})"
    )
    parser.add_argument("--name", help="of the confirmation (default: after what is confirmed)")
    parser.add_argument("--folder", type=Path, default=Path(FOLDER), help=f"of all confirmations (default: {FOLDER})")
    parser.add_argument("--sweeps", type=Path, default=Path(SWEEPS), help=f"where studies lie (default: {SWEEPS})")
    parser.add_argument("--storage", metavar="URL", help="of the study: an Optuna URL or journal:///path")
    parser.add_argument(
        "--versus",
        action="append",
        metavar="OTHER",
        help="another confirmation: is the difference shown to be more than noise? Several times: by Holm's correction",
    )
    parser.add_argument(
        "--stop",
        choices=("early",),
        help="for candidates: look after 5, 8, 12, 16 and 20 seeds, and end once they tell or the mean is not above",
    )
    parser.add_argument(
        "--plan",
        type=Path,
        metavar="FILE",
        help="write what will be confirmed, and end; where FILE is there, confirm and say whether it was followed",
    )
    parser.add_argument("--save", metavar="NAME", help="write the configuration as experiment NAME, with its evidence")
    parser.add_argument(
        "--export", type=Path, metavar="DIR", help="copy every seed's record below DIR, small enough to commit"
    )
    parser.add_argument("--to", type=Path, metavar="DIR", help="with --save: where (default: conf/experiment)")
    return parser


def _confirm(arguments: argparse.Namespace) -> int:
    from mnist_compact.cli.confirmation_display import show
    from mnist_compact.confirmation.comparison import Comparison, compare
    from mnist_compact.confirmation.conduct import conduct
    from mnist_compact.confirmation.preregistration import Preregistration

    # What cannot be written or compared should be known before hours of training.
    _check_saving(arguments)
    spec = _spec(arguments)
    others = [_gathered(_other(word, arguments.folder)) for word in dict.fromkeys(arguments.versus or [])]
    for other in others:
        Comparison.check(other, spec.confirmation, spec.seeds)
    plan = None
    if arguments.plan is not None:
        if not arguments.plan.exists():
            spec.plan().write(arguments.plan)
            print(f"{arguments.plan}: planned, nothing read yet; once it is kept, committed say, the same line goes on")
            return 0
        plan = Preregistration.read(arguments.plan)
    seed_results, faults = conduct(spec, arguments.jobs, plan)
    show(seed_results)
    for fault in faults:
        sys.stderr.write(f"mnist-compact-confirm: {fault}\n")
    _deliver(seed_results, spec.folder, arguments, whole=not faults)
    for comparison in compare(seed_results, *others):
        print(comparison.told())
    return EXIT_FAILED if faults else 0


def _check_saving(arguments: argparse.Namespace) -> None:
    from mnist_compact.confirmation.save_experiment import place_of

    if arguments.to and arguments.save is None:
        raise ConfigError(["--to says where --save writes, and needs it"])
    if arguments.save is not None:
        place_of(arguments.save, arguments.to)
    if arguments.stop and (arguments.save is not None or arguments.versus is not None):
        raise ConfigError(["--stop early is for candidates: --save and --versus want all seeds, fixed before"])


def _spec(arguments: argparse.Namespace) -> "ConfirmSpec":
    from mnist_compact.confirmation.conduct import ConfirmSpec, place
    from mnist_compact.confirmation.sources import of

    source = of(
        run=arguments.run,
        trial=arguments.trial,
        experiment=arguments.experiment,
        sweeps=arguments.sweeps,
        url=arguments.storage,
    )
    folder, confirmation = place(source, arguments.split or "test", arguments.folder, arguments.name)
    return ConfirmSpec(
        folder=folder,
        confirmation=confirmation,
        count=SEEDS if arguments.seeds is None else arguments.seeds,
        threshold=arguments.threshold,
        stop_early=arguments.stop is not None,
    )


def _deliver(seed_results: "SeedResults", folder: Path, arguments: argparse.Namespace, *, whole: bool) -> None:
    if arguments.export is not None:
        from mnist_compact.confirmation.export import export

        print(f"records in {export(seed_results, folder, arguments.export)}")
    if arguments.save is not None and whole:
        from mnist_compact.confirmation.save_experiment import save

        print(save(seed_results, arguments.save, arguments.to))


def _rank(arguments: argparse.Namespace) -> int:
    from mnist_compact.cli.confirmation_display import show_round
    from mnist_compact.confirmation.reranking import Ranking, rank_study

    others = ("versus", "save", "to", "export", "name", "plan", "stop")
    unfit = [f"--{word}" for word in others if getattr(arguments, word) is not None]
    if unfit:
        raise ConfigError([f"{', '.join(unfit)} cannot be used with --study; confirm its winner"])
    split, rounds = arguments.split or "holdout", []
    for each in rank_study(
        arguments.study,
        top=arguments.top,
        seeds=RANKING_SEEDS if arguments.seeds is None else arguments.seeds,
        split=split,
        threshold=arguments.threshold,
        jobs=arguments.jobs,
        among=arguments.folder,
        sweeps=arguments.sweeps,
        url=arguments.storage,
    ):
        rounds.append(each)
        show_round(len(rounds), each.seeds, [seed_results for _, seed_results in each.standings])
    ranking = Ranking(arguments.study, rounds)
    words = ["python", "-m", "mnist_compact.confirm", "--trial", ranking.trial]
    for name, usual in {"sweeps": Path(SWEEPS), "folder": Path(FOLDER), "storage": None}.items():
        if getattr(arguments, name) != usual:
            words += [f"--{name}", str(getattr(arguments, name))]
    if split == "synthetic":
        words += ["--split", split]
    where = "On the test images" if split == "holdout" else "With fresh seeds"
    print(f"first: {ranking.first.confirmation.source}. {where}: {shlex.join(words)}")
    return 0


def _other(word: str, among: Path) -> Path:
    """`--versus` is a folder, or the name of a confirmation."""
    return Path(word) if Path(word).is_dir() else among / word


def _gathered(folder: Path) -> "SeedResults":
    """All seeds of a confirmation that have ended."""
    from mnist_compact.confirmation.results import SeedResults
    from mnist_compact.confirmation.seed_pool import seeds_of

    return SeedResults.gather(folder, seeds_of(folder))
