"""`python -m mnist_compact.predict`: classify pictures of digits."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_compact.cli.network_options import add_network_options, chosen_network
from mnist_compact.common.command import run_command
from mnist_compact.common.errors import EXIT_FAILED, EXIT_REFUSED, ConfigError

if TYPE_CHECKING:
    from mnist_compact.zoo.classifier import Classifier

FORMATS = ("table", "csv", "markdown", "json")


def main(argv: Sequence[str] | None = None) -> None:
    """Classify pictures of digits.

    Args:
        argv: The command line without the name of the program; by default that of the process.

    Raises:
        SystemExit: With code 1 if some of the pictures cannot be used, 2 if none can or an argument is invalid.
    """
    run_command("mnist-compact-predict", lambda: _predict(_parser().parse_args(argv)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mnist-compact-predict",
        description="Classify pictures of digits: each shows one digit, dark on light or light on dark, of any size.",
    )
    add_network_options(parser)
    parser.add_argument(
        "pictures",
        nargs="+",
        type=Path,
        metavar="PICTURE",
        help="picture files, or folders of them: PNG, JPEG, GIF, BMP, WebP, TIFF, PGM or PPM, at most 64 MiB and 64 "
        "million pixels",
    )
    parser.add_argument(
        "--show", type=Path, metavar="FILE", help="draw what the network sees of the pictures (the first 200) as a PNG"
    )
    parser.add_argument("--format", choices=FORMATS, default="table", help="form of the output (default: table)")
    return parser


def _predict(arguments: argparse.Namespace) -> int:
    import numpy as np

    from mnist_compact.deploy.pictures import picture_files, read_picture
    from mnist_compact.reports.output import Report, write_report

    files = picture_files(arguments.pictures)
    _, classifier = chosen_network(arguments)
    read: list[tuple[Path, Any]] = []
    faults: list[str] = []
    for file in files:
        try:
            read.append((file, read_picture(file)))
        except ConfigError as error:
            faults += error.faults
    if faults:
        sys.stderr.write("".join(f"mnist-compact-predict: {fault}\n" for fault in faults))
    if not read:
        return EXIT_REFUSED
    images = np.stack([image for _, image in read])
    table = _table([file for file, _ in read], classifier, images)
    if arguments.show:
        from mnist_compact.deploy.contact_sheet import write_contact_sheet

        write_contact_sheet(arguments.show, images, [f"{digit}" for digit in table["digit"]])
    write_report(Report(table), arguments.format, None)
    return EXIT_FAILED if faults else 0


def _table(files: list[Path], classifier: "Classifier", images: Any) -> Any:
    """Return one row for each picture: the two most probable digits and their probabilities in per cent."""
    import pandas as pd
    import torch

    from mnist_compact.training.evaluation import logits_of

    classifier.check_weights()
    best = logits_of(classifier, torch.from_numpy(images)).softmax(1).topk(2)
    (first, second), (digit, runner_up) = (100 * best.values).double().T.tolist(), best.indices.T.tolist()
    return pd.DataFrame(
        {
            "picture": [str(file) for file in files],
            "digit": digit,
            "confidence %": [round(value, 1) for value in first],
            "runner-up": runner_up,
            "its confidence %": [round(value, 1) for value in second],
        }
    )
