"""`python -m mnist_compact.zoo`: list the trained networks of the package, print a model card, add a network."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mnist_compact.common.command import run_command
from mnist_compact.common.errors import ConfigError


def main(argv: Sequence[str] | None = None) -> None:
    """List the zoo, print a model card, or add the network of a confirmation.

    Args:
        argv: The command line without the name of the program; by default that of the process.

    Raises:
        SystemExit: With code 2 and a message on stderr, if the arguments are invalid.
    """
    run_command("mnist-compact-zoo", lambda: _run(_parser().parse_args(argv)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mnist-compact-zoo",
        description="List the trained networks of the package, print the model card of one, or add one.",
    )
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--card", metavar="NAME", help="print the model card of a network")
    action.add_argument("--add", metavar="NAME", help="add the median seed's network of --confirmation under this name")
    parser.add_argument(
        "--confirmation", type=Path, metavar="DIR", help="with --add: folder of a confirmation on the test split"
    )
    parser.add_argument("--replace", action="store_true", help="with --add: replace an existing entry")
    parser.add_argument(
        "--to", type=Path, metavar="DIR", help="with --add: folder to write into (default: the zoo of the package)"
    )
    return parser


def _run(arguments: argparse.Namespace) -> None:
    if bool(arguments.add) != bool(arguments.confirmation):
        raise ConfigError(["--add and --confirmation must be given together"])
    if (arguments.replace or arguments.to) and not arguments.add:
        raise ConfigError(["--replace and --to can only be used with --add"])
    if arguments.add:
        _add(arguments)
    elif arguments.card:
        _card(arguments.card)
    else:
        _list()


def _add(arguments: argparse.Namespace) -> None:
    from mnist_compact.confirmation.seed_pool import seeds_of
    from mnist_compact.zoo.publishing import publish
    from mnist_compact.zoo.registry import zoo_folder

    folder, to = arguments.confirmation, arguments.to or zoo_folder()
    card = publish(folder, seeds_of(folder), arguments.add, to, replace=arguments.replace)
    print(f"{card.name}: seed {card.seed}, {card.correct:,} of {card.total:,} test images correct; written to {to}")


def _card(name: str) -> None:
    from mnist_compact.zoo.card_text import to_markdown
    from mnist_compact.zoo.registry import card

    sys.stdout.write(to_markdown(card(name)))


def _list() -> None:
    import pandas as pd

    from mnist_compact.common.tables import to_text
    from mnist_compact.zoo.registry import card, names

    if not names():
        sys.stderr.write("The zoo is empty.\n")
        return
    cards = [card(name) for name in names()]
    rows = [
        {
            "name": card.name,
            "parameters": card.parameters,
            "epochs": card.config["train"]["epochs"],
            "accuracy %": card.accuracy,
            "mean over seeds %": card.evidence["mean"],
            "sd": card.evidence["sd"],
            "n": card.evidence["n"],
        }
        for card in cards
    ]
    sys.stdout.write(to_text(pd.DataFrame(rows)))


if __name__ == "__main__":
    main()
