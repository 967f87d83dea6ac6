"""`python -m mnist_compact.draw`: write a page on which a person draws a digit."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mnist_compact.cli.network_options import add_network_options, chosen_network
from mnist_compact.common.command import run_command
from mnist_compact.common.errors import ConfigError


def main(argv: Sequence[str] | None = None) -> None:
    """Write the page of a network.

    Args:
        argv: The command line without the name of the program; by default that of the process.

    Raises:
        SystemExit: With code 2 if an argument is invalid or the network cannot be represented.
    """
    run_command("mnist-compact-draw", lambda: _draw(_parser().parse_args(argv)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mnist-compact-draw",
        description="Write one HTML file on which a person draws a digit and sees the answer of a trained network, the "
        "image that it sees, and the maps of all its layers. The file needs no server and no network.",
    )
    add_network_options(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the HTML file to write")
    return parser


def _draw(arguments: argparse.Namespace) -> None:
    if arguments.out.suffix != ".html":
        raise ConfigError([f"--out must end in .html, got {arguments.out}"])
    name, classifier = chosen_network(arguments)
    from mnist_compact.deploy.drawing_page import write_drawing_page

    write_drawing_page(classifier, name, arguments.out)
    print(f"{arguments.out}: {name}, {arguments.out.stat().st_size:,} bytes; open it in a browser")
