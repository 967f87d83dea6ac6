"""Writing and checking of both C programs."""

from dataclasses import dataclass
from pathlib import Path

from mnist_compact.common.errors import EXIT_FAILED, ExecutionError
from mnist_compact.data.datasets import Datasets
from mnist_compact.deploy.c_float import CSource, float_source
from mnist_compact.deploy.c_int8 import int8_source
from mnist_compact.deploy.checking import Agreement, as_input, compared, require_same
from mnist_compact.deploy.compiler import compiled, logits_by
from mnist_compact.deploy.fixed_point import ONE
from mnist_compact.deploy.folding import fold
from mnist_compact.deploy.quantization import CALIBRATION, quantise
from mnist_compact.deploy.steps import steps_of
from mnist_compact.deploy.writing import write_all
from mnist_compact.training.evaluation import logits_of
from mnist_compact.zoo.classifier import Classifier

MOST_LOST = 0.5  # percentage points of accuracy that quantisation may cost


@dataclass(slots=True, frozen=True)
class CExport:
    """The result of an export to C.

    Attributes:
        source: The files and their sizes.
        agreement: How far the program agrees with the network on the images that the network is scored on.
        code_bytes: Bytes of network.c, code and constants, compiled for size on this machine; None if it is unknown.
    """

    source: CSource
    agreement: Agreement
    code_bytes: int | None


def write_float(classifier: Classifier, name: str, data: Datasets, folder: Path, *, check: bool) -> CExport:
    """Export a network to C99 with float arithmetic: network.h, network.c and main.c.

    Args:
        classifier: The network.
        name: How the files name it.
        data: The program is compared with the network on the evaluation split.
        folder: The folder to write into.
        check: Whether to compile the program and compare what it computes. Otherwise the folded network, whose weights
            are in the files, is compared.

    Raises:
        ConfigError: The network cannot be represented, or there is no C compiler.
        ExecutionError: The compiler fails, or the export predicts another digit than the network for some image.
    """
    source, split, code_bytes = float_source(classifier, name), data.evaluation, None
    if check:
        with compiled(source.files) as program:
            logits, code_bytes = logits_by(program.program, split.images), program.code_bytes()
    else:
        folded = fold(classifier)
        logits = logits_of(lambda images: folded(as_input(images)), split.images)
    agreement = compared(classifier, logits, split.images, split.labels)
    require_same(agreement, str(folder))
    write_all(source.files, folder)
    return CExport(source, agreement, code_bytes)


def write_int8(classifier: Classifier, name: str, data: Datasets, folder: Path) -> CExport:
    """Export a network to C99 with integer arithmetic, calibrated on training images.

    The program is always compiled: what is compared with the network is the output of the C code.

    Args:
        classifier: The network.
        name: How the files name it.
        data: The first training images calibrate it; it is compared with the network on the evaluation split.
        folder: The folder to write into.

    Raises:
        ConfigError: The network cannot be represented or quantised, or there is no C compiler.
        ExecutionError: The compiler fails, or the program loses more than `MOST_LOST` points of accuracy.
    """
    source = int8_source(quantise(steps_of(fold(classifier)), data.train.images[:CALIBRATION]), name)
    split = data.evaluation
    with compiled(source.files) as program:
        logits, code_bytes = logits_by(program.program, split.images), program.code_bytes()
    agreement = compared(classifier, logits / ONE, split.images, split.labels)
    if agreement.lost_points > MOST_LOST:
        raise ExecutionError(
            f"{folder} was not written: quantisation costs {agreement.lost_points:.2f} points of accuracy on "
            f"{agreement.images:,} images, at most {MOST_LOST} are accepted",
            EXIT_FAILED,
        )
    write_all(source.files, folder)
    return CExport(source, agreement, code_bytes)
