"""`python -m mnist_compact.confirm`: one configuration over fresh seeds, with an interval and a verdict."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_compact.commands import conclude
from mnist_compact.confirm import FOLDER, SEEDS, SEEDS_OF_A_RANKING, TOP
from mnist_compact.faults import EXIT_FAILED, ConfigError
from mnist_compact.results.summary import BAR
from mnist_compact.studies.places import SWEEPS

if TYPE_CHECKING:
    from mnist_compact.confirm.conduct import Question
    from mnist_compact.confirm.evidence import Evidence


def main(argv: Sequence[str] | None = None) -> None:
    """Confirm a configuration, or rank a study's best again. The same line goes on after an interruption.

    What cannot be done is said on stderr, with exit code 2; seeds that could not be trained give 1, Ctrl-C 130.
    """
    conclude("mnist-compact-confirm", lambda: _run(argv), interrupted="interrupted; the same line goes on")


def _run(argv: Sequence[str] | None) -> int:
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.jobs < 0:
        parser.error(f"--jobs must be at least 0, got {arguments.jobs}")
    if not 0 <= arguments.bar <= 100:
        parser.error(f"--bar must be per cent, from 0 to 100, got {arguments.bar}")
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
        "--top", type=int, default=TOP, metavar="K", help=f"with --study: so many trials (default: {TOP})"
    )
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
    from mnist_compact.confirm.comparison import Comparison
    from mnist_compact.confirm.conduct import conduct
    from mnist_compact.confirm.plans import Plan
    from mnist_compact.terminal.standings import show

    # What cannot be written or compared should be known before hours of training.
    _check_saving(arguments)
    question = _question(arguments)
    others = [_gathered(_other(word, arguments.folder)) for word in dict.fromkeys(arguments.versus or [])]
    for other in others:
        Comparison.check(other, question.confirmation, question.seeds)
    plan = None
    if arguments.plan is not None:
        if not arguments.plan.exists():
            question.plan().write(arguments.plan)
            print(f"{arguments.plan}: planned, nothing read yet; once it is kept, committed say, the same line goes on")
            return 0
        plan = Plan.read(arguments.plan)
    evidence, faults = conduct(question, arguments.jobs, plan)
    show(evidence)
    for fault in faults:
        sys.stderr.write(f"mnist-compact-confirm: {fault}\n")
    _deliver(evidence, question.folder, arguments, whole=not faults)
    for comparison in evidence.versus_each(others):
        print(comparison.told())
    return EXIT_FAILED if faults else 0


def _check_saving(arguments: argparse.Namespace) -> None:
    from mnist_compact.confirm.saving import place_of

    if arguments.to and arguments.save is None:
        raise ConfigError(["--to says where --save writes, and needs it"])
    if arguments.save is not None:
        place_of(arguments.save, arguments.to)
    if arguments.stop and (arguments.save is not None or arguments.versus is not None):
        raise ConfigError(["--stop early is for candidates: --save and --versus want all seeds, fixed before"])


def _question(arguments: argparse.Namespace) -> "Question":
    from mnist_compact.confirm.conduct import Question, place
    from mnist_compact.confirm.sources import of

    source = of(
        run=arguments.run,
        trial=arguments.trial,
        experiment=arguments.experiment,
        sweeps=arguments.sweeps,
        url=arguments.storage,
    )
    folder, confirmation = place(source, arguments.split or "test", arguments.folder, arguments.name)
    return Question(
        folder=folder,
        confirmation=confirmation,
        count=SEEDS if arguments.seeds is None else arguments.seeds,
        bar=arguments.bar,
        stop_early=arguments.stop is not None,
    )


def _deliver(evidence: "Evidence", folder: Path, arguments: argparse.Namespace, *, whole: bool) -> None:
    if arguments.export is not None:
        from mnist_compact.confirm.exporting import export

        print(f"records in {export(evidence, folder, arguments.export)}")
    if arguments.save is not None and whole:
        from mnist_compact.confirm.saving import save

        print(save(evidence, arguments.save, arguments.to))


def _rank(arguments: argparse.Namespace) -> int:
    from mnist_compact.confirm.ranking import Ranking, rank_study
    from mnist_compact.terminal.standings import show_round

    others = ("versus", "save", "to", "export", "name", "plan", "stop")
    unfit = [f"--{word}" for word in others if getattr(arguments, word) is not None]
    if unfit:
        raise ConfigError([f"{', '.join(unfit)} cannot be used with --study; confirm its winner"])
    split, rounds = arguments.split or "holdout", []
    for each in rank_study(
        arguments.study,
        top=arguments.top,
        seeds=SEEDS_OF_A_RANKING if arguments.seeds is None else arguments.seeds,
        split=split,
        bar=arguments.bar,
        jobs=arguments.jobs,
        among=arguments.folder,
        sweeps=arguments.sweeps,
        url=arguments.storage,
    ):
        rounds.append(each)
        show_round(len(rounds), each.seeds, [evidence for _, evidence in each.standings])
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


def _gathered(folder: Path) -> "Evidence":
    """All seeds of a confirmation that have ended."""
    from mnist_compact.confirm.crew import seeds_of
    from mnist_compact.confirm.evidence import Evidence

    return Evidence.gather(folder, seeds_of(folder))


if __name__ == "__main__":
    main()
