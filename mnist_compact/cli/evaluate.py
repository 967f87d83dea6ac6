"""`python -m mnist_compact.evaluate`: score a trained network and compare the result with its record or model card."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_compact.cli.network_options import WEIGHTS_WITH_ZOO, add_network_options
from mnist_compact.common.command import run_command
from mnist_compact.common.errors import EXIT_FAILED, ConfigError
from mnist_compact.records.discovery import TRIALS
from mnist_compact.search.locate import SWEEPS, study_and_number

if TYPE_CHECKING:
    from mnist_compact.data.datasets import Split
    from mnist_compact.training.evaluation import Evaluation
    from mnist_compact.zoo.classifier import Classifier

ROUNDING = 2  # images that may be classified differently on another processor


def main(argv: Sequence[str] | None = None) -> None:
    """Score a network on a split.

    Args:
        argv: The command line without the name of the program; by default that of the process.

    Raises:
        SystemExit: With code 1 if the figure of the record or the model card is not reproduced, 2 if an argument is
            invalid.
    """
    run_command("mnist-compact-evaluate", lambda: _evaluate(_parser().parse_args(argv)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mnist-compact-evaluate",
        description="Score a trained network class by class, and compare the result with its record or model card.",
    )
    network = add_network_options(parser)
    network.add_argument("--trial", metavar="STUDY:N", help="the last epoch of a trial of a search")
    parser.add_argument(
        "--split",
        choices=("test", "holdout"),
        help="images to score (default: those that the run was scored on); must not be images that it was trained on",
    )
    parser.add_argument(
        "--robust",
        action="store_true",
        help="also measure corrupted images, calibration, abstention and the hardest images (a minute or more)",
    )
    parser.add_argument("--page", type=Path, metavar="FILE", help="with --robust: write an HTML page with the pictures")
    parser.add_argument("--sweeps", type=Path, default=Path(SWEEPS), help=f"folder of all studies (default: {SWEEPS})")
    return parser


def _evaluate(arguments: argparse.Namespace) -> int:
    if arguments.page and not arguments.robust:
        raise ConfigError(["--page needs --robust"])
    return _evaluate_zoo(arguments) if arguments.zoo else _evaluate_run(arguments)


def _evaluate_zoo(arguments: argparse.Namespace) -> int:
    from mnist_compact.config.conversion import from_record
    from mnist_compact.zoo.evaluation import split_of
    from mnist_compact.zoo.registry import card, load

    if arguments.weights:
        raise ConfigError([WEIGHTS_WITH_ZOO])
    about = card(arguments.zoo)
    split = split_of(from_record(about.config).data, arguments.split)
    title, classifier = f"{about.name} of the zoo", load(about.name)
    evaluation = _show(title, classifier, split)
    status = _compare(evaluation, about.correct, "card") if split.name == "test" else 0
    if arguments.robust:
        _measure(title, classifier, split, arguments.page)
    return status


def _evaluate_run(arguments: argparse.Namespace) -> int:
    from mnist_compact.records.record import RunRecord
    from mnist_compact.zoo.classifier import file_of_run, read
    from mnist_compact.zoo.evaluation import config_of_run, split_of

    folder = arguments.run or _folder_of_trial(arguments.trial, arguments.sweeps)
    config = config_of_run(folder)
    file = file_of_run(folder, arguments.weights)
    split = split_of(config.data, arguments.split, config.machine.data_root)
    classifier = read(file)
    evaluation = _show(str(file), classifier, split)
    weights = "averaged" if file.name.startswith("averaged") else "raw"
    recorded = RunRecord.read(folder).score(split.name, weights=weights)
    status = _compare(evaluation, recorded.correct, "record") if recorded is not None else 0
    if arguments.robust:
        _measure(str(file), classifier, split, arguments.page)
    return status


def _folder_of_trial(word: str, sweeps: Path) -> Path:
    study, number = study_and_number(word)
    return sweeps / study / TRIALS / f"{number:04d}"


def _show(name: str, classifier: "Classifier", split: "Split") -> "Evaluation":
    from mnist_compact.common.tables import to_text
    from mnist_compact.zoo.evaluation import by_class, evaluate

    evaluation = evaluate(classifier, split)
    sys.stdout.write(to_text(by_class(evaluation, split)))
    print(f"\n{name}, {sum(parameter.numel() for parameter in classifier.parameters()):,} parameters")
    print(
        f"{split.name} accuracy {evaluation.accuracy:.2f} %: {evaluation.correct:,} of {evaluation.total:,} images; "
        f"log-loss {evaluation.loss:.5f}"
    )
    return evaluation


def _measure(name: str, classifier: "Classifier", split: "Split", page: Path | None) -> None:
    from mnist_compact.common.atomic import replacing
    from mnist_compact.robustness.measures import measure
    from mnist_compact.robustness.report import to_page, to_terminal

    measured = measure(classifier, split, announce=lambda line: print(line, file=sys.stderr, flush=True))
    sys.stdout.write(f"\n{to_terminal(measured)}")
    if page is not None:
        with replacing(page) as temporary:
            temporary.write_text(to_page(measured, split, name), encoding="utf-8")
        print(f"\n{page}")


def _compare(evaluation: "Evaluation", recorded: int, by: str) -> int:
    if evaluation.correct == recorded:
        print(f"the {by} has the same figure")
        return 0
    close = abs(evaluation.correct - recorded) <= ROUNDING
    difference = "within the differences between processors" if close else "not reproduced"
    print(f"the {by} has {recorded:,} correct images: {difference}")
    return 0 if close else EXIT_FAILED
