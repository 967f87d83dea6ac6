"""`python -m mnist_compact.evaluate`: a trained network scored once more, and set beside what its record says."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_compact.common.command import run_command
from mnist_compact.common.errors import EXIT_FAILED, ConfigError
from mnist_compact.records.discovery import TRIALS
from mnist_compact.search.locate import SWEEPS, study_and_number

if TYPE_CHECKING:
    from mnist_compact.data.datasets import Split
    from mnist_compact.training.evaluation import Evaluation
    from mnist_compact.zoo.classifier import Classifier

ROUNDING = 2  # images that another processor's sums may decide otherwise


def main(argv: Sequence[str] | None = None) -> None:
    """Score a network on a split.

    A figure of the record or the card that does not come out again gives exit code 1, what cannot be done 2.
    """
    run_command("mnist-compact-evaluate", lambda: _evaluate(_parser().parse_args(argv)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mnist-compact-evaluate",
        description="Score a trained network once more, class by class, beside what its record or card says.",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--zoo", metavar="NAME", help="a network that comes along (python -m mnist_compact.zoo)")
    what.add_argument("--run", type=Path, metavar="DIR", help="a run folder's last epoch")
    what.add_argument("--trial", metavar="STUDY:N", help="a search's trial")
    parser.add_argument(
        "--split",
        choices=("test", "holdout"),
        help="default: the one that the run was scored on; images that it was trained on are refused",
    )
    parser.add_argument("--weights", choices=("raw", "averaged"), help="of a run (default: averaged if there are any)")
    parser.add_argument("--sweeps", type=Path, default=Path(SWEEPS), help=f"where studies lie (default: {SWEEPS})")
    return parser


def _evaluate(arguments: argparse.Namespace) -> int:
    return _evaluate_zoo(arguments) if arguments.zoo else _evaluate_run(arguments)


def _evaluate_zoo(arguments: argparse.Namespace) -> int:
    from mnist_compact.config.conversion import from_record
    from mnist_compact.zoo.evaluation import split_of
    from mnist_compact.zoo.registry import card, load

    if arguments.weights:
        raise ConfigError(["--weights cannot be used with --zoo, which has one set of weights a network"])
    about = card(arguments.zoo)
    split = split_of(from_record(about.config).data, arguments.split)
    found = _show(f"{about.name} of the zoo", load(about.name), split)
    return _compared(found, about.correct, "card") if split.name == "test" else 0


def _evaluate_run(arguments: argparse.Namespace) -> int:
    from mnist_compact.records.record import RunRecord
    from mnist_compact.zoo.classifier import file_of_run, read
    from mnist_compact.zoo.evaluation import config_of_run, split_of

    folder = arguments.run or _folder_of_trial(arguments.trial, arguments.sweeps)
    config = config_of_run(folder)
    file = file_of_run(folder, arguments.weights)
    split = split_of(config.data, arguments.split, config.machine.data_root)
    found = _show(str(file), read(file), split)
    weights = "averaged" if file.name.startswith("averaged") else "raw"
    recorded = RunRecord.read(folder).score(split.name, weights=weights)
    return _compared(found, recorded.correct, "record") if recorded is not None else 0


def _folder_of_trial(word: str, sweeps: Path) -> Path:
    study, number = study_and_number(word)
    return sweeps / study / TRIALS / f"{number:04d}"


def _show(name: str, classifier: "Classifier", split: "Split") -> "Evaluation":
    from mnist_compact.common.tables import to_text
    from mnist_compact.zoo.evaluation import by_class, evaluate

    found = evaluate(classifier, split)
    sys.stdout.write(to_text(by_class(found, split)))
    print(f"\n{name}, {sum(parameter.numel() for parameter in classifier.parameters()):,} parameters")
    print(
        f"{split.name} accuracy {found.accuracy:.2f} %: {found.correct:,} of {found.total:,} images; "
        f"log-loss {found.loss:.5f}"
    )
    return found


def _compared(found: "Evaluation", told: int, by: str) -> int:
    if found.correct == told:
        print(f"the {by} says the same")
        return 0
    near = abs(found.correct - told) <= ROUNDING
    print(f"the {by} says {told:,}: {'as near as another processor comes' if near else 'not reproduced'}")
    return 0 if near else EXIT_FAILED
