"""Export to the two formats that hold a network as a graph: ONNX, and PyTorch's own .pt2.

TorchScript is not offered: torch 2.14 has deprecated it in favour of torch.export, whose format is .pt2.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mnist_compact.common.atomic import replacing
from mnist_compact.common.errors import check_installed
from mnist_compact.data.datasets import Split
from mnist_compact.deploy.checking import Agreement, as_input, compared, require_same
from mnist_compact.deploy.folding import fold
from mnist_compact.models.network import INPUT_SHAPE
from mnist_compact.training.evaluation import logits_of
from mnist_compact.zoo.classifier import Classifier

INPUT, OUTPUT = "images", "logits"


def write_onnx(classifier: Classifier, split: Split, path: Path) -> Agreement:
    """Export a network to ONNX by PyTorch's exporter, and run it in onnxruntime before the file is put in place.

    Its input `images` is float32 (N, 1, 28, 28) in [0, 1] for any N, its output `logits` is float32 (N, 10).

    Args:
        classifier: The network.
        split: Images on which both must predict the same digits.
        path: The file to create or replace.

    Raises:
        ConfigError: The network cannot be exported, or onnx, onnxscript or onnxruntime is not installed.
        ExecutionError: The exported network predicts another digit for some image.
    """
    for module in ("onnx", "onnxscript", "onnxruntime"):
        check_installed("--to onnx", module, package="onnx onnxscript onnxruntime", extra="onnx")
    folded = fold(classifier)
    with replacing(path) as temporary:
        program = torch.onnx.export(
            *(folded, _example()),
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=_any_number(),
            dynamo=True,
            verbose=False,
        )
        assert program is not None
        program.save(temporary)
        return _checked(classifier, _onnx_logits(temporary, split.images), split, path)


def write_pt2(classifier: Classifier, split: Split, path: Path) -> Agreement:
    """Export a network by torch.export, and run it before the file is put in place.

    Input, output, arguments and errors are those of `write_onnx`.
    """
    folded = fold(classifier)
    with replacing(path) as temporary:
        torch.export.save(torch.export.export(folded, _example(), dynamic_shapes=_any_number()), temporary)
        loaded = torch.export.load(temporary).module()
        logits = logits_of(lambda images: loaded(as_input(images)), split.images)
        return _checked(classifier, logits, split, path)


def _example() -> tuple[Tensor]:
    return (torch.zeros(2, *INPUT_SHAPE),)  # a number of images above 1 is exported as any number


def _any_number() -> Any:
    return ({0: torch.export.Dim("N")},)


def _onnx_logits(path: Path, images: Tensor) -> Tensor:
    import onnx
    import onnxruntime

    onnx.checker.check_model(path, full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return logits_of(lambda part: torch.from_numpy(session.run([OUTPUT], {INPUT: as_input(part).numpy()})[0]), images)


def _checked(classifier: Classifier, logits: Tensor, split: Split, path: Path) -> Agreement:
    agreement = compared(classifier, logits, split.images, split.labels)
    require_same(agreement, str(path))
    return agreement
