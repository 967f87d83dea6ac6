"""`python -m mnist_compact.export`: write a trained network for other programs and devices."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_compact.cli.network_options import add_network_options, chosen_network
from mnist_compact.common.command import run_command
from mnist_compact.common.errors import ConfigError
from mnist_compact.common.slow_work import announced
from mnist_compact.common.wording import counted

if TYPE_CHECKING:
    from mnist_compact.data.datasets import Datasets
    from mnist_compact.deploy.checking import Agreement
    from mnist_compact.zoo.classifier import Classifier

FORMS = {  # form → what it is
    "onnx": "an ONNX file (needs the extra onnx)",
    "pt2": "a file of torch.export",
    "c": "a folder with C99 files in float arithmetic",
    "c-int8": "the same in integer arithmetic, quantised to 8 bits; always compiled and compared",
}
WORK = "exporting the network and comparing it with the export"


def main(argv: Sequence[str] | None = None) -> None:
    """Export a network.

    Args:
        argv: The command line without the name of the program; by default that of the process.

    Raises:
        SystemExit: With code 1 if the export differs from the network, 2 if an argument is invalid.
    """
    run_command("mnist-compact-export", lambda: _export(_parser().parse_args(argv)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mnist-compact-export",
        description="Write a trained network for other programs and devices. Before anything is written, the export is "
        "compared with the network on all images that the network is scored on.",
    )
    add_network_options(parser)
    parser.add_argument(
        "--to",
        choices=FORMS,
        required=True,
        help="; ".join(f"{form}: {about}" for form, about in FORMS.items()),
    )
    parser.add_argument("--out", type=Path, required=True, metavar="PATH", help="the file or folder to write")
    parser.add_argument(
        "--check", action="store_true", help="with --to c: compile the program, and compare what it computes"
    )
    return parser


def _export(arguments: argparse.Namespace) -> None:
    to_c = arguments.to in ("c", "c-int8")
    if arguments.check and not to_c:
        raise ConfigError(["--check is for --to c; other exports are always run before they are written"])
    if not to_c and arguments.out.suffix != f".{arguments.to}":
        raise ConfigError([f"--out must end in .{arguments.to} with --to {arguments.to}, got {arguments.out}"])
    name, classifier = chosen_network(arguments)
    data = _data(arguments)
    if to_c:
        _export_c(arguments, name, classifier, data)
        return
    from mnist_compact.deploy import graph_files

    write = graph_files.write_onnx if arguments.to == "onnx" else graph_files.write_pt2
    with announced(WORK):
        agreement = write(classifier, data.evaluation, arguments.out)
    print(f"{arguments.out}: {name}, {arguments.out.stat().st_size:,} bytes")
    print(_agreement(agreement, data))


def _data(arguments: argparse.Namespace) -> "Datasets":
    """Return the data of the network: the images that it was trained on, and those that it is scored on."""
    from mnist_compact.config.conversion import from_record
    from mnist_compact.zoo.evaluation import config_of_run
    from mnist_compact.zoo.registry import card

    config = from_record(card(arguments.zoo).config) if arguments.zoo else config_of_run(arguments.run)
    return config.data.load(print, None if arguments.zoo else config.machine.data_root)


def _export_c(arguments: argparse.Namespace, name: str, classifier: "Classifier", data: "Datasets") -> None:
    from mnist_compact.deploy.c_export import write_float, write_int8
    from mnist_compact.models.network import INPUT_SHAPE
    from mnist_compact.models.summary import summarize

    with announced(WORK):
        if arguments.to == "c":
            export = write_float(classifier, name, data, arguments.out, check=arguments.check)
        else:
            export = write_int8(classifier, name, data, arguments.out)
    print(f"{arguments.out}: {name}, {', '.join(export.source.files)}")
    print(
        f"flash for weights and tables: {export.source.data_bytes:,} bytes; "
        f"RAM for maps: {export.source.memory_bytes:,} bytes; "
        f"{summarize(classifier.network, INPUT_SHAPE).macs:,} multiply-accumulates per image"
    )
    if export.code_bytes is not None:
        print(f"flash with code, compiled for size on this machine: {export.code_bytes:,} bytes")
    was_compiled = arguments.check or arguments.to == "c-int8"
    what = "the compiled program" if was_compiled else "the folded network in the files"
    print(_agreement(export.agreement, data, what))


def _agreement(agreement: "Agreement", data: "Datasets", what: str = "the export") -> str:
    same, images = agreement.images - agreement.different, counted(agreement.images, f"{data.evaluation.name} image")
    return (
        f"{what} has {agreement.correct:,} of {images} correct, the network {agreement.original_correct:,}; "
        f"same prediction for {same:,}; largest difference of a logit {agreement.largest_difference:.2g}"
    )
