"""The options that choose a trained network, shared by the commands that use one."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_compact.common.errors import ConfigError

if TYPE_CHECKING:
    from mnist_compact.zoo.classifier import Classifier

WEIGHTS_WITH_ZOO = "--weights cannot be used with --zoo, which has one set of weights for each network"


def add_network_options(parser: argparse.ArgumentParser) -> Any:
    """Add --zoo, --run and --weights.

    Returns:
        The group of which exactly one option must be given; a command may add others.
    """
    network = parser.add_mutually_exclusive_group(required=True)
    network.add_argument("--zoo", metavar="NAME", help="a network of the zoo (list: python -m mnist_compact.zoo)")
    network.add_argument("--run", type=Path, metavar="DIR", help="the last epoch of a run folder")
    parser.add_argument(
        "--weights", choices=("raw", "averaged"), help="weights of a run (default: averaged if there are any)"
    )
    return network


def chosen_network(arguments: argparse.Namespace) -> "tuple[str, Classifier]":
    """Load the network of --zoo or --run.

    Returns:
        How messages name it, and the network.

    Raises:
        ConfigError: There is no such network, or the options cannot be combined.
    """
    from mnist_compact.zoo.classifier import file_of_run, read
    from mnist_compact.zoo.registry import load

    if arguments.zoo:
        if arguments.weights:
            raise ConfigError([WEIGHTS_WITH_ZOO])
        return f"{arguments.zoo} of the zoo", load(arguments.zoo)
    file = file_of_run(arguments.run, arguments.weights)
    return str(file), read(file)
