"""`python -m mnist_compact.zoo`: the networks that come along, their cards, and how one is added."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mnist_compact.common.command import run_command
from mnist_compact.common.errors import ConfigError


def main(argv: Sequence[str] | None = None) -> None:
    """List the zoo, print a card, or add the network of a confirmation. What cannot be done gives exit code 2."""
    run_command("mnist-compact-zoo", lambda: _run(_parser().parse_args(argv)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mnist-compact-zoo", description="The networks that come along; without options, a list of them."
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--card", metavar="NAME", help="print what is known of a network")
    what.add_argument("--add", metavar="NAME", help="with --confirmation: the median seed's network, under this name")
    parser.add_argument("--confirmation", type=Path, metavar="DIR", help="folder of a confirmation on the test split")
    parser.add_argument("--replace", action="store_true", help="with --add: write over an entry of this name")
    parser.add_argument("--to", type=Path, metavar="DIR", help="with --add: where (default: the zoo in the package)")
    return parser


def _run(arguments: argparse.Namespace) -> None:
    if bool(arguments.add) != bool(arguments.confirmation):
        raise ConfigError(["--add and --confirmation go together"])
    if (arguments.replace or arguments.to) and not arguments.add:
        raise ConfigError(["--replace and --to go with --add"])
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
    print(f"{card.name}: seed {card.seed}, {card.correct:,} of {card.total:,}; in {to}")


def _card(name: str) -> None:
    from mnist_compact.zoo.card_text import told
    from mnist_compact.zoo.registry import card

    sys.stdout.write(told(card(name)))


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
            "mean % over seeds": card.evidence["mean"],
            "sd": card.evidence["sd"],
            "n": card.evidence["n"],
        }
        for card in cards
    ]
    sys.stdout.write(to_text(pd.DataFrame(rows)))
