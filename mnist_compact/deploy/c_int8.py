"""Export to C99 with integer arithmetic."""

from torch import Tensor

from mnist_compact.deploy.c_float import CSource
from mnist_compact.deploy.c_header import array, constants, header, shipped
from mnist_compact.deploy.fixed_point import INT32, tail_table
from mnist_compact.deploy.quantization import IntegerStep, Quantised
from mnist_compact.models.layers import Activation

STRUCT = """\
struct network_step {
    int32_t source, other, target, weights; /* places in network_memory, and in network_weights */
    int32_t biases, offsets; /* places in network_integers */
    int32_t before, after; /* places of the factors; before is -1 if no activation follows */
    int16_t in_channels, out_channels;
    int16_t zero, other_zero; /* of the maps source and other */
    uint8_t kind, kernel, stride, padding; /* the kernel of a pooling is its window */
    uint8_t in_side, out_side;
    uint8_t depthwise : 1, each_after : 1, each_offset : 1; /* each channel has its own */
};
"""
STEP_BYTES = 8 * 4 + 4 * 2 + 8  # of the struct
TAIL_BYTES, FACTOR_BYTES, INTEGER_BYTES = 2, 3, 4


def int8_source(quantised: Quantised, name: str) -> CSource:
    """Write a quantised network as C99 with integer arithmetic.

    Args:
        quantised: The network.
        name: How the comment names it.
    """
    tables = _Tables([], [], [])
    rows = [tables.row(each, quantised) for each in quantised.integer_steps]
    steps = quantised.steps
    piecewise = steps.activation in (Activation.relu, Activation.leaky_relu)
    tail = [] if piecewise else tail_table(steps.activation)
    parts = [
        STRUCT,
        array("int8_t", "network_weights", tables.weights),
        array("int32_t", "network_integers", tables.integers),
        array("int16_t", "network_multipliers", [m for m, _ in tables.factors]),
        array("uint8_t", "network_shifts", [s for _, s in tables.factors]),
        *([array("uint16_t", "network_tail", tail)] if tail else []),
        array("struct network_step", "network_steps", rows),
    ]
    about = f"{name}: {len(tables.weights):,} weights in 8 bits. Written by mnist_compact."
    text = header(about, "int32_t", constants(steps, [("LIMIT", INT32)]), "\n".join(parts))
    return CSource(
        files={"network.h": text, "network.c": shipped("network_int8.c"), "main.c": shipped("main.c")},
        data_bytes=len(tables.weights)
        + INTEGER_BYTES * len(tables.integers)
        + FACTOR_BYTES * len(tables.factors)
        + TAIL_BYTES * len(tail)
        + STEP_BYTES * len(rows),
        memory_bytes=steps.memory,
    )


class _Tables:
    """The arrays of the header while the steps are written."""

    def __init__(self, weights: list[int], integers: list[int], factors: list[tuple[int, int]]) -> None:
        self.weights = weights
        self.integers = integers
        self.factors = factors

    def row(self, each: IntegerStep, quantised: Quantised) -> str:
        """Return the fields of a step in the order of struct network_step; its numbers are appended to the arrays."""
        step, maps, scales = each.step, quantised.steps.maps, quantised.scales
        source, target, convolution = maps[step.source], maps[step.target], step.convolution
        weights = len(self.weights)
        if each.weights is not None:
            self.weights += each.weights.flatten().tolist()
        biases, offsets = self._integers(each.biases), self._integers(each.offsets)
        before, after = self._factors(each.before), self._factors(each.after)
        kernel, stride, padding, depthwise = step.window, step.window, 0, False
        if convolution is not None:
            assert isinstance(convolution.padding, tuple)
            kernel, stride, padding = convolution.kernel_size[0], convolution.stride[0], convolution.padding[0]
            depthwise = convolution.groups > 1
        fields = (
            *(source.at, 0 if step.other is None else maps[step.other].at, target.at, weights),
            *(biases, offsets, before, after, source.channels, target.channels),
            *(scales[step.source].zero, 0 if step.other is None else scales[step.other].zero),
            *(step.kind.value, kernel, stride, padding, source.side, target.side),
            *(int(depthwise), int(_is_each(each.after)), int(_is_each(each.offsets))),
        )
        return f"{{{', '.join(map(str, fields))}}}"

    def _integers(self, values: Tensor | None) -> int:
        at = len(self.integers)
        self.integers += [] if values is None else values.tolist()
        return at

    def _factors(self, values: Tensor | None) -> int:
        at = len(self.factors)
        self.factors += [] if values is None else [(m, s) for m, s in values.tolist()]
        return -1 if values is None else at


def _is_each(values: Tensor | None) -> bool:
    return values is not None and len(values) > 1
