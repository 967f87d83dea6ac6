"""Summary of a network: output, parameters, multiply-accumulates and receptive field of every layer."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mnist_compact.common.errors import ConfigError
from mnist_compact.common.shapes import CLASSES
from mnist_compact.models.blocks import Residual
from mnist_compact.models.receptive_field import JumpAndField, after, square, torch_class

MIB = 2**20


@dataclass(slots=True, frozen=True)
class LayerRow:
    """One call of a layer for one image.

    Shapes are (channels, height, width); missing axes are 1. Lengths are in px of the network's input.

    `jump` is the distance between neighbouring units and `receptive_field` the side of the region that one unit sees:
    RF(l) = RF(l-1) + (k-1)·jump(l-1), jump(l) = jump(l-1)·s (Araujo et al. 2019, doi:10.23915/distill.00021).
    They are known for square windows and for layers that treat each position separately, and None after other layers.
    """

    index: int
    path: str  # path of the module in the network
    layer: str  # class and kernel, such as "Conv2d 3x3"
    out_channels: int
    out_height: int
    out_width: int
    kernel: int | None  # px; None if it is not square or not a number, as for stride and padding
    stride: int | None
    padding: int | None
    parameters: int
    macs: int
    jump: int | None
    receptive_field: int | None


@dataclass(slots=True, frozen=True)
class ModelSummary:
    """All layers of a network and their totals for one image."""

    rows: list[LayerRow]
    input_shape: tuple[int, int, int]  # channels, height, width
    trainable_parameters: int
    frozen_parameters: int
    receptive_field: int | None  # before the final pooling, px; None = unknown

    @property
    def parameters(self) -> int:
        """Number of trainable and frozen weights. Running statistics are buffers and do not count."""
        return self.trainable_parameters + self.frozen_parameters

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all layers for one image."""
        return sum(row.macs for row in self.rows)

    @property
    def input_mib(self) -> float:
        """Size of one image in float32, MiB."""
        channels, height, width = self.input_shape
        return 4 * channels * height * width / MIB

    @property
    def pass_mib(self) -> float:
        """Size of all outputs for one image, forward and backward, in float32, MiB."""
        return 2 * 4 * sum(row.out_channels * row.out_height * row.out_width for row in self.rows) / MIB

    @property
    def parameters_mib(self) -> float:
        """Size of all parameters in float32, MiB."""
        return 4 * self.parameters / MIB


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """Return the numbers of trainable and of frozen parameters."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return sum(n for n, trained in sizes if trained), sum(n for n, trained in sizes if not trained)


def planned(build: Callable[[], nn.Module]) -> nn.Module:
    """Return the network that `build` makes, without allocating its weights: it may be far over its budget."""
    with torch.device("meta"):
        return build()


@dataclass(slots=True)
class _Trace:
    """The state while an image passes through the network: jump and field of each tensor, and the rows so far."""

    rows: list[LayerRow]
    known: dict[int, JumpAndField]  # by id of the tensor
    kept: list[Tensor]  # keeps tensors alive, so that no id is reused
    counted: set[int]  # ids of the parameters counted so far

    def remember(self, tensor: Tensor, of_tensor: JumpAndField | None) -> None:
        self.kept.append(tensor)
        if of_tensor is not None:
            self.known[id(tensor)] = of_tensor

    def add_row(self, path: str, module: nn.Module, arguments: tuple[Any, ...], result: Any) -> None:
        given, output = next(_tensors(arguments), None), next(_tensors(result), None)
        if output is None:
            raise ConfigError([f"model: {path or 'the network'} must return a tensor, got {type(result).__name__}"])
        input_field = None if given is None else self.known.get(id(given))
        if given is not None and given.dim() == 2 and self.rows and _is_point(self.rows[-1]):  # a flattened 1×1 map
            input_field = _jump_and_field(self.rows[-1])
        output_field = None if given is None or input_field is None else after(module, given, output, input_field)
        self.remember(output, output_field)
        new_parameters = {
            id(parameter): parameter.numel() for parameter in module.parameters() if id(parameter) not in self.counted
        }
        self.counted.update(new_parameters)
        kernel, stride, padding = (square(getattr(module, name, default)) for name, default in _WINDOW)
        channels, height, width = _shape(output)
        self.rows.append(
            LayerRow(
                index=len(self.rows) + 1,
                path=path,
                layer=_named(module),
                out_channels=channels,
                out_height=height,
                out_width=width,
                kernel=kernel,
                stride=stride,
                padding=padding,
                parameters=sum(new_parameters.values()),
                macs=_macs(module, output),
                jump=output_field and output_field[0],
                receptive_field=output_field and output_field[1],
            )
        )


def summarize(model: nn.Module, input_shape: tuple[int, int, int]) -> ModelSummary:
    """Summarize any network by passing one blank image through it.

    A layer is a module without submodules, or with parameters of its own. A layer that is called twice has two rows;
    its parameters are in the first. The layers of a shortcut count, but do not enlarge the receptive field.

    Args:
        model: The network.
        input_shape: Channels, height and width of its input.

    Returns:
        The summary; the model is left in the mode it was in.

    Raises:
        ConfigError: The network does not return logits (1, 10), or a layer does not return a tensor.
    """
    trace = _Trace([], {}, [], set())
    image = torch.zeros(1, *input_shape)
    trace.remember(image, (1, 1))
    hooks = [hook for path, module in model.named_modules() for hook in _hooks(trace, path, module)]
    was_training = model.training
    try:
        with torch.enable_grad():  # without gradients, layers that fuse their parts would not call them one by one
            logits = model.eval()(image)
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    if not isinstance(logits, Tensor) or logits.shape != (1, CLASSES):
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ConfigError([f"model must return logits (N, {CLASSES}) for N images, got {got} for one image"])
    trainable, frozen = count_parameters(model)
    return ModelSummary(trace.rows, input_shape, trainable, frozen, _before_pooling(trace.rows))


def _hooks(trace: _Trace, path: str, module: nn.Module) -> Iterator[Any]:
    if isinstance(module, Residual):  # no layer computes its sum

        def on_sum(_: nn.Module, arguments: tuple[Tensor, ...], result: Tensor) -> None:
            trace.remember(result, body_outputs.pop())

        def on_body(_: nn.Module, arguments: tuple[Tensor, ...], result: Tensor) -> None:
            body_outputs.append(trace.known.get(id(result)))

        body_outputs: list[JumpAndField | None] = []
        yield module.body.register_forward_hook(on_body)
        yield module.register_forward_hook(on_sum)
    is_leaf = not any(module.children()) and not isinstance(module, nn.Identity)
    if is_leaf or any(True for _ in module.parameters(recurse=False)):
        yield module.register_forward_hook(
            lambda module, arguments, result: trace.add_row(path, module, arguments, result)
        )


def _before_pooling(rows: list[LayerRow]) -> int | None:
    """Return the receptive field of a unit of the last map; None if that of any earlier layer is unknown."""
    poolings = [index for index, row in enumerate(rows) if "Pool" in row.layer and row.out_height * row.out_width == 1]
    candidates = rows[: poolings[-1]] if poolings else [row for row in rows if not _is_point(row)]
    fields = [row.receptive_field for row in candidates]
    known = [field for field in fields if field is not None]
    return max(known) if known and len(known) == len(fields) else None


def _is_point(row: LayerRow) -> bool:
    return row.out_height * row.out_width == 1


def _jump_and_field(row: LayerRow) -> JumpAndField | None:
    return None if row.jump is None or row.receptive_field is None else (row.jump, row.receptive_field)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | tuple | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _tensors(part)


def _shape(output: Tensor) -> tuple[int, int, int]:
    axes = [*output.shape[1:], 1, 1, 1]
    return axes[0], axes[1], math.prod(axes[2:])


_WINDOW = (("kernel_size", 1), ("stride", 1), ("padding", 0))


def _named(module: nn.Module) -> str:
    """Return the name of a layer, such as "Conv2d 3x3". A class without a base in torch.nn has its own name."""
    known = torch_class(module)
    name = type(module).__name__ if known is nn.Module else known.__name__
    kernel = getattr(module, "kernel_size", None)
    if kernel is None:
        return name
    sides = kernel if isinstance(kernel, Iterable) else (kernel, kernel)
    return f"{name} {'x'.join(map(str, sides))}"


def _macs(module: nn.Module, output: Tensor) -> int:
    """Return the multiply-accumulates of a convolution or linear layer at all positions; no other layer counts."""
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear):
        return output.numel() * module.weight[0].numel()
    return 0
