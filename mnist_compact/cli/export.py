"""`python -m mnist_compact.export`: write a trained network for other programs and devices."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_compact.cli.network_options import add_network_options, chosen_network
from mnist_compact.common.command import run_command
from mnist_compact.common.errors import ConfigError
from mnist_compact.common.wording import counted

if TYPE_CHECKING:
    from mnist_compact.data.datasets import Split
    from mnist_compact.deploy.checking import Agreement
    from mnist_compact.zoo.classifier import Classifier

FORMS = {  # form → what it is
    "onnx": "an ONNX file (needs the extra onnx)",
    "pt2": "a file of torch.export",
    "c": "a folder with C99 files in float arithmetic",
}


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
        "--check", action="store_true", help="compile the C program, and compare what it computes on all images as well"
    )
    return parser


def _export(arguments: argparse.Namespace) -> None:
    if arguments.check and not arguments.to.startswith("c"):
        raise ConfigError(["--check is for --to c; other exports are always run before they are written"])
    if not arguments.to.startswith("c") and arguments.out.suffix != f".{arguments.to}":
        raise ConfigError([f"--out must end in .{arguments.to} with --to {arguments.to}, got {arguments.out}"])
    name, classifier = chosen_network(arguments)
    split = _split(arguments)
    if arguments.to.startswith("c"):
        _export_c(arguments, name, classifier, split)
        return
    from mnist_compact.deploy import graph_files

    write = graph_files.write_onnx if arguments.to == "onnx" else graph_files.write_pt2
    agreement = write(classifier, split, arguments.out)
    print(f"{arguments.out}: {name}, {arguments.out.stat().st_size:,} bytes")
    print(_said(agreement, split))


def _split(arguments: argparse.Namespace) -> "Split":
    """The images that the network is scored on."""
    from mnist_compact.config.conversion import from_record
    from mnist_compact.zoo.evaluation import config_of_run, split_of
    from mnist_compact.zoo.registry import card

    if arguments.zoo:
        return split_of(from_record(card(arguments.zoo).config).data)
    config = config_of_run(arguments.run)
    return split_of(config.data, None, config.machine.data_root)


def _export_c(arguments: argparse.Namespace, name: str, classifier: "Classifier", split: "Split") -> None:
    from mnist_compact.deploy.c_float import float_source
    from mnist_compact.deploy.checking import as_input, compared, logits_of, require_same
    from mnist_compact.deploy.compiler import compiled, logits_by
    from mnist_compact.deploy.folding import fold
    from mnist_compact.deploy.writing import write_all
    from mnist_compact.models.network import INPUT_SHAPE
    from mnist_compact.models.summary import summarize

    source = float_source(classifier, name)
    code_bytes = None
    if arguments.check:
        with compiled(source.files) as program:
            logits, code_bytes = logits_by(program.program, split.images), program.code_bytes
    else:
        folded = fold(classifier)
        logits = logits_of(lambda images: folded(as_input(images)), split.images)
    agreement = compared(classifier, logits, split.images, split.labels)
    require_same(agreement, str(arguments.out))
    write_all(source.files, arguments.out)
    print(f"{arguments.out}: {name}, {', '.join(source.files)}")
    if code_bytes is not None:
        print(f"flash with code, compiled for size on this machine: {code_bytes:,} bytes")
    print(
        f"flash for weights and tables: {source.data_bytes:,} bytes; RAM for maps: {source.memory_bytes:,} bytes; "
        f"{summarize(classifier.network, INPUT_SHAPE).macs:,} multiply-accumulates per image"
    )
    print(_said(agreement, split, "the compiled program" if arguments.check else "the folded network that is in them"))


def _said(agreement: "Agreement", split: "Split", what: str = "the export") -> str:
    same = agreement.images - agreement.different
    return (
        f"{what} has {agreement.correct:,} of {counted(agreement.images, split.name + ' image')} correct, the network "
        f"{agreement.original_correct:,}; same prediction for {same:,}; largest difference of a logit "
        f"{agreement.largest_difference:.2g}"
    )
