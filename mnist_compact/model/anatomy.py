"""The anatomy of a network: for every layer its output, parameters, multiply-accumulates and receptive field."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

MIB = 2**20


@dataclass(slots=True, frozen=True)
class LayerRow:
    """One layer for one image. Shapes are (channels, height, width), lengths in px of the network's input.

    `jump` is the distance between neighbouring units and `receptive_field` the side of what one unit sees:
    RF(l) = RF(l-1) + (k-1)·jump(l-1), jump(l) = jump(l-1)·s (Araujo et al. 2019, doi:10.23915/distill.00021).
    """

    index: int
    path: str  # of the module in the network
    layer: str  # class and kernel, such as "Conv2d 3x3"
    out_channels: int
    out_height: int
    out_width: int
    kernel: int
    stride: int
    padding: int
    parameters: int
    macs: int
    jump: int
    receptive_field: int


@dataclass(slots=True, frozen=True)
class Anatomy:
    rows: list[LayerRow]
    input_shape: tuple[int, int, int]
    trainable_parameters: int
    frozen_parameters: int
    receptive_field: int  # before the final pooling

    @property
    def parameters(self) -> int:
        """Every learned or frozen weight; running statistics are buffers and do not count."""
        return self.trainable_parameters + self.frozen_parameters

    @property
    def macs(self) -> int:
        return sum(row.macs for row in self.rows)

    @property
    def input_mib(self) -> float:
        channels, height, width = self.input_shape
        return 4 * channels * height * width / MIB

    @property
    def pass_mib(self) -> float:
        """All outputs of one image, forward and backward, in float32."""
        return 2 * 4 * sum(row.out_channels * row.out_height * row.out_width for row in self.rows) / MIB

    @property
    def parameters_mib(self) -> float:
        return 4 * self.parameters / MIB


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """(trainable, frozen)."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return sum(n for n, trained in sizes if trained), sum(n for n, trained in sizes if not trained)


def planned_parameters(build: Callable[[], nn.Module]) -> int:
    """Of the network that `build` would make, counted without the memory for it: it may be far over its budget."""
    with torch.device("meta"):
        return sum(count_parameters(build()))


def describe(model: nn.Module, input_shape: tuple[int, int, int]) -> Anatomy:
    """Follow one blank image through the network. The layers of a shortcut count, but do not widen the field."""
    rows: list[LayerRow] = []

    def note(path: str, module: nn.Module, output: Tensor) -> None:
        jump, field = (rows[-1].jump, rows[-1].receptive_field) if rows else (1, 1)
        rows.append(_row(len(rows) + 1, path, module, output, jump, field))

    leaves = [(path, module) for path, module in model.named_modules() if not any(module.children())]
    hooks = [
        module.register_forward_hook(lambda module, _, output, path=path: note(path, module, output))
        for path, module in leaves
        if not isinstance(module, nn.Identity)
    ]
    was_training = model.training
    try:
        with torch.enable_grad():  # without, layers that fuse their parts would not call them one by one
            model.eval()(torch.zeros(1, *input_shape))
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    before_pooling = [row for row in rows if row.path.startswith("layers.")]
    trainable, frozen = count_parameters(model)
    return Anatomy(rows, input_shape, trainable, frozen, max(row.receptive_field for row in before_pooling))


def _row(index: int, path: str, module: nn.Module, output: Tensor, jump: int, field: int) -> LayerRow:
    channels, height, width = (*output.shape[1:], 1, 1)[:3]
    kernel, stride, padding = (_square(getattr(module, name, default)) for name, default in _WINDOW)
    on_shortcut = ".shortcut" in path
    return LayerRow(
        index=index,
        path=path,
        layer=_torch_name(module) + (f" {kernel}x{kernel}" if hasattr(module, "kernel_size") else ""),
        out_channels=channels,
        out_height=height,
        out_width=width,
        kernel=kernel,
        stride=stride,
        padding=padding,
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        macs=_macs(module, channels * height * width),
        jump=jump if on_shortcut else jump * stride,
        receptive_field=field if on_shortcut else field + (kernel - 1) * jump,
    )


_WINDOW = (("kernel_size", 1), ("stride", 1), ("padding", 0))


def _torch_name(module: nn.Module) -> str:
    """The class of torch.nn that it is, or is a faster kind of."""
    return next(cls.__name__ for cls in type(module).__mro__ if cls.__module__.startswith("torch.nn"))


def _square(size: Any) -> int:
    """torch keeps 3 or (3, 3); all windows here are square."""
    first: int = next(iter(size)) if isinstance(size, Iterable) else size
    return first


def _macs(module: nn.Module, outputs: int) -> int:
    """Multiply-accumulates of convolutions and linear layers; the rest is not counted, as usual."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        return outputs * module.weight[0].numel()
    return 0
