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
    network.add_argument(
        "--run", type=Path, metavar="PATH", help="the last epoch of a run folder, or one file of weights (.safetensors)"
    )
    parser.add_argument(
        "--weights", choices=("raw", "averaged"), help="weights of a run (default: averaged if there are any)"
    )
    return network


def chosen_network(arguments: argparse.Namespace) -> "tuple[str, Classifier]":
    """Load the network that --zoo, or --run and --weights, choose.

    Returns:
        How messages name it, and the network.

    Raises:
        ConfigError: There is no such network, or the options cannot be combined.
    """
    from mnist_compact.zoo.registry import load

    if arguments.zoo:
        if arguments.weights:
            raise ConfigError([WEIGHTS_WITH_ZOO])
        return f"{arguments.zoo} of the zoo", load(arguments.zoo)
    return _network_at(arguments.run, arguments.weights)


def named_network(name: str) -> "tuple[str, Classifier]":
    """Load a network by one word: a run folder, a file of weights, or the name of a network of the zoo.

    Returns:
        How messages name it, and the network.

    Raises:
        ConfigError: There is no such network.
    """
    from mnist_compact.zoo.registry import load

    return _network_at(Path(name), None) if Path(name).exists() else (f"{name} of the zoo", load(name))


def _network_at(path: Path, weights: str | None) -> "tuple[str, Classifier]":
    from mnist_compact.zoo.classifier import file_of_run, read

    if weights and path.is_file():
        raise ConfigError([f"--weights cannot be used with a file of weights, got --run {path}"])
    file = path if path.is_file() else file_of_run(path, weights)
    return str(file), read(file)
