"""`python -m mnist_compact.confirm`: train one configuration with fresh seeds and test its mean accuracy."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_compact.common.command import run_command
from mnist_compact.common.errors import EXIT_FAILED, ConfigError
from mnist_compact.common.statistics import THRESHOLD
from mnist_compact.confirmation.defaults import FOLDER, RANKED_BY, RANKED_TRIALS, RANKING_SEEDS, SEEDS
from mnist_compact.search.locate import SWEEPS

if TYPE_CHECKING:
    from mnist_compact.confirmation.conduct import ConfirmSpec
    from mnist_compact.confirmation.reranking import Round
    from mnist_compact.confirmation.results import SeedResults


def main(argv: Sequence[str] | None = None) -> None:
    """Confirm a configuration, or rank the best trials of a study over several seeds.

    Args:
        argv: The command line without the name of the program; by default that of the process.

    Raises:
        SystemExit: With a message on stderr and code 2 if an argument is invalid, 1 if seeds could not be trained, 130
            after Ctrl-C.
    """
    run_command("mnist-compact-confirm", lambda: _run(argv), interrupted="interrupted; rerun the command to continue")


def _run(argv: Sequence[str] | None) -> int:
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.jobs < 0:
        parser.error(f"--jobs must be at least 0, got {arguments.jobs}")
    if not 0 <= arguments.threshold <= 100:
        parser.error(f"--threshold must be per cent, from 0 to 100, got {arguments.threshold}")
    if arguments.storage and arguments.trial is None and arguments.study is None:
        parser.error("--storage can only be used with --trial or --study")
    return _confirm(arguments) if arguments.study is None else _rank(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mnist-compact-confirm",
        description="Train one configuration with fresh seeds and test its mean accuracy against a threshold; or, with "
        "--study, rank the best trials of a study over several seeds.",
        epilog="Rerun the command to continue after an interruption. A larger --seeds adds seeds to those already "
        "trained.",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--run", type=Path, metavar="DIR", help="confirm the configuration of a run folder")
    source.add_argument(
        "--trial", metavar="STUDY:N", help="confirm the configuration of a trial; STUDY may be an exported file"
    )
    source.add_argument("--experiment", metavar="NAME", help="confirm the configuration in conf/experiment/NAME.yaml")
    source.add_argument(
        "--study",
        nargs="+",
        metavar="STUDY",
        help="rank the best trials of one or more studies again, on another held-out part",
    )
    parser.add_argument(
        "--top",
        type=int,
        default=RANKED_TRIALS,
        metavar="K",
        help=f"with --study: number of trials in the first round (default: {RANKED_TRIALS})",
    )
    parser.add_argument(
        "--by",
        choices=RANKED_BY,
        default="accuracy",
        help="with --study: sort by mean accuracy (the default), or by the mean log-loss after calibration, which "
        "differs less from seed to seed",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        metavar="N",
        help=f"number of seeds (default: {SEEDS}); with --study: seeds of each trial in the first round (default: "
        f"{RANKING_SEEDS})",
    )
    parser.add_argument(
        "--split",
        choices=("test", "holdout", "synthetic"),
        help="images that are scored; with test, all 60,000 training images are used for training (default: test; with "
        "--study: holdout, or synthetic for a study of synthetic images)",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=0,
        metavar="N",
        help="number of processes side by side (default: 0, one for each core)",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        default=THRESHOLD,
        help=f"accuracy in per cent that the mean is compared with (default: {THRESHOLD:.2f})",
    )
    parser.add_argument("--name", help="name of the confirmation (default: derived from its source)")
    parser.add_argument(
        "--folder", type=Path, default=Path(FOLDER), help=f"folder of all confirmations (default: {FOLDER})"
    )
    parser.add_argument("--sweeps", type=Path, default=Path(SWEEPS), help=f"folder of all studies (default: {SWEEPS})")
    parser.add_argument(
        "--storage", metavar="URL", help="storage of the study, as an Optuna URL or journal:///path (default: --sweeps)"
    )
    parser.add_argument(
        "--versus",
        action="append",
        metavar="OTHER",
        help="test whether the difference to another confirmation is significant; if given several times, p values are "
        "corrected (Holm)",
    )
    parser.add_argument(
        "--stop",
        choices=("early",),
        help="stop when the result is significant or futile, tested after 5, 8, 12, 16 and 20 seeds",
    )
    parser.add_argument(
        "--plan",
        type=Path,
        metavar="FILE",
        help="preregistration: if FILE does not exist, write what will be confirmed and exit; if it exists, confirm "
        "and state whether it was followed",
    )
    parser.add_argument(
        "--callback",
        action="append",
        default=[],
        metavar="NAME",
        help="callback of every seed's run: tensorboard, mlflow or an import path <module>.<class>; repeatable",
    )
    parser.add_argument(
        "--save", metavar="NAME", help="save the configuration with its results as conf/experiment/NAME.yaml"
    )
    parser.add_argument(
        "--export",
        type=Path,
        metavar="DIR",
        help="copy the records of all seeds, without weights, to DIR/confirmations",
    )
    parser.add_argument(
        "--to", type=Path, metavar="DIR", help="with --save: folder to write into (default: conf/experiment)"
    )
    return parser


def _confirm(arguments: argparse.Namespace) -> int:
    from mnist_compact.callbacks.config import named_callbacks
    from mnist_compact.cli.confirmation_display import show
    from mnist_compact.confirmation.comparison import Comparison, compare
    from mnist_compact.confirmation.conduct import conduct
    from mnist_compact.confirmation.preregistration import Preregistration

    # Errors in callbacks, saving or comparing should be reported before hours of training.
    named_callbacks(arguments.callback)
    _check_saving(arguments)
    spec = _spec(arguments)
    others = [_results_in(_folder_of(word, arguments.folder)) for word in dict.fromkeys(arguments.versus or [])]
    for other in others:
        Comparison.check(other, spec.confirmation, spec.seeds)
    plan = None
    if arguments.plan is not None:
        if not arguments.plan.exists():
            spec.preregister().write(arguments.plan)
            print(
                f"{arguments.plan}: preregistration written, no seed trained yet; commit the file, then rerun the "
                "command to confirm"
            )
            return 0
        plan = Preregistration.read(arguments.plan)
    seed_results, errors = conduct(spec, arguments.jobs, plan)
    show(seed_results)
    for error in errors:
        sys.stderr.write(f"mnist-compact-confirm: {error}\n")
    _write_results(seed_results, spec.folder, arguments, complete=not errors)
    for comparison in compare(seed_results, *others):
        print(comparison.describe())
    return EXIT_FAILED if errors else 0


def _check_saving(arguments: argparse.Namespace) -> None:
    from mnist_compact.confirmation.save_experiment import experiment_path

    if arguments.to and arguments.save is None:
        raise ConfigError(["--to can only be used with --save"])
    if arguments.save is not None:
        experiment_path(arguments.save, arguments.to)
    if arguments.stop and (arguments.save is not None or arguments.versus is not None):
        raise ConfigError([f"--stop early cannot be used with --save or --versus, which require all {SEEDS} seeds"])


def _spec(arguments: argparse.Namespace) -> "ConfirmSpec":
    from mnist_compact.confirmation.conduct import ConfirmSpec, prepare
    from mnist_compact.confirmation.sources import of

    source = of(
        run=arguments.run,
        trial=arguments.trial,
        experiment=arguments.experiment,
        sweeps=arguments.sweeps,
        url=arguments.storage,
    )
    folder, confirmation = prepare(source, arguments.split or "test", arguments.folder, arguments.name)
    return ConfirmSpec(
        folder=folder,
        confirmation=confirmation,
        count=SEEDS if arguments.seeds is None else arguments.seeds,
        threshold=arguments.threshold,
        stop_early=arguments.stop is not None,
        callbacks=arguments.callback,
    )


def _write_results(seed_results: "SeedResults", folder: Path, arguments: argparse.Namespace, *, complete: bool) -> None:
    if arguments.export is not None:
        from mnist_compact.confirmation.export import export

        print(f"records in {export(seed_results, folder, arguments.export)}")
    if arguments.save is not None and complete:
        from mnist_compact.confirmation.save_experiment import save

        print(save(seed_results, arguments.save, arguments.to))


def _rank(arguments: argparse.Namespace) -> int:
    from mnist_compact.callbacks.config import named_callbacks
    from mnist_compact.cli.ranking import show_ranking
    from mnist_compact.confirmation.reranking import rank_studies

    others = ("versus", "save", "to", "name", "plan", "stop")
    given = [f"--{word}" for word in others if getattr(arguments, word) is not None]
    if given:
        raise ConfigError([f"{', '.join(given)} cannot be used with --study; use it to confirm the winner"])
    named_callbacks(arguments.callback)
    seeds = RANKING_SEEDS if arguments.seeds is None else arguments.seeds
    rounds = rank_studies(
        arguments.study,
        top=arguments.top,
        seeds=seeds,
        by=arguments.by,
        split=arguments.split,
        threshold=arguments.threshold,
        jobs=arguments.jobs,
        confirmations=arguments.folder,
        sweeps=arguments.sweeps,
        url=arguments.storage,
        callbacks=arguments.callback,
    )
    if arguments.export is not None:
        rounds = _exported(rounds, arguments.export)
    show_ranking(
        rounds,
        top=arguments.top,
        seeds=seeds,
        confirmations=arguments.folder,
        sweeps=arguments.sweeps,
        url=arguments.storage,
    )
    if arguments.export is not None:
        print(f"records in {arguments.export / 'confirmations'}")
    return 0


def _exported(rounds: "Iterator[Round]", to: Path) -> "Iterator[Round]":
    """Export the candidates of each round as it ends, so that an interruption loses none."""
    from mnist_compact.confirmation.export import export

    for each in rounds:
        for candidate in each.candidates:
            export(candidate.results, candidate.folder, to)
        yield each


def _folder_of(word: str, confirmations: Path) -> Path:
    """Return the folder of the confirmation that `--versus` names by its folder or its name."""
    return Path(word) if Path(word).is_dir() else confirmations / word


def _results_in(folder: Path) -> "SeedResults":
    """Return the results of all seeds of a confirmation."""
    from mnist_compact.confirmation.results import SeedResults
    from mnist_compact.confirmation.seed_pool import seeds_of

    return SeedResults.gather(folder, seeds_of(folder))
