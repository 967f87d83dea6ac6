"""Export to C99 with float arithmetic."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from mnist_compact.deploy.c_header import array, constants, header, shipped
from mnist_compact.deploy.folding import fold
from mnist_compact.deploy.steps import Step, Steps, steps_of
from mnist_compact.zoo.classifier import Classifier

FLOAT_BYTES = 4
STRUCT = """\
struct network_step {
    int32_t source, other, target, weights; /* places in network_memory, and of the weights in network_values */
    int32_t biases, slopes; /* places in network_values; slopes is -1 if there are none, shifts follow the slopes */
    int16_t kind, kernel, stride, padding; /* the kernel of a pooling is its window */
    int16_t in_channels, in_side, out_channels, out_side;
    int16_t depthwise, activate; /* 0 or 1 */
};
"""
STEP_BYTES = 6 * 4 + 10 * 2  # of the struct


@dataclass(slots=True, frozen=True)
class CSource:
    """A C program.

    Attributes:
        files: Text of every file by its name.
        data_bytes: Bytes of weights and tables in flash.
        memory_bytes: Bytes of the static memory of all maps.
    """

    files: dict[str, str]
    data_bytes: int
    memory_bytes: int


def float_source(classifier: Classifier, name: str) -> CSource:
    """Write a network as C99 with float arithmetic.

    Args:
        classifier: The network.
        name: How the comment names it.

    Raises:
        ConfigError: The network cannot be represented.
    """
    steps = steps_of(fold(classifier))
    values: list[Tensor] = []
    rows = [_row(step, steps, values) for step in steps.steps]
    numbers = np.concatenate([each.numpy().ravel() for each in values])
    definitions = constants(
        steps, [("INPUT_SLOPE", _number(steps.input_slope)), ("INPUT_SHIFT", _number(steps.input_shift))]
    )
    parts = [
        STRUCT,
        array("float", "network_values", [_number(value) for value in numbers]),
        array("struct network_step", "network_steps", rows),
    ]
    about = f"{name}: {len(numbers):,} values in float. Written by mnist_compact."
    text = header(about, "float", definitions, "\n".join(parts))
    return CSource(
        files={"network.h": text, "network.c": shipped("network.c"), "main.c": shipped("main.c")},
        data_bytes=FLOAT_BYTES * len(numbers) + STEP_BYTES * len(rows),
        memory_bytes=FLOAT_BYTES * steps.memory,
    )


def _row(step: Step, steps: Steps, values: list[Tensor]) -> str:
    """Return the fields of a step in the order of struct network_step; its numbers are appended to `values`."""

    def stored(*tensors: Tensor) -> int:
        at = sum(each.numel() for each in values)
        values.extend(each.detach() for each in tensors)
        return at

    source, target = steps.maps[step.source], steps.maps[step.target]
    weights, biases, slopes, kernel, stride, padding, depthwise = 0, 0, -1, step.window, step.window, 0, 0
    if (convolution := step.convolution) is not None:
        assert convolution.bias is not None
        assert isinstance(convolution.padding, tuple)
        weights, biases = stored(convolution.weight), stored(convolution.bias)
        kernel, stride, padding = convolution.kernel_size[0], convolution.stride[0], convolution.padding[0]
        depthwise = int(convolution.groups > 1)
        if step.affine is not None:
            slopes = stored(step.affine.slope, step.affine.shift)
    fields = (
        *(source.at, 0 if step.other is None else steps.maps[step.other].at, target.at, weights, biases, slopes),
        *(step.kind.value, kernel, stride, padding, source.channels, source.side, target.channels, target.side),
        *(depthwise, int(step.activation is not None)),
    )
    return f"{{{', '.join(map(str, fields))}}}"


def _number(value: float) -> str:
    """Return a float literal that reads back as the same float32."""
    text = f"{np.float32(value):.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"
