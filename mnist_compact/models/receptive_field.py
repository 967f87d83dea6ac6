"""The effect of a layer on the receptive field of its units, as far as it follows from the layer's class."""

from typing import Any

from torch import Tensor, nn

JumpAndField = tuple[int, int]  # jump and receptive field, px

_POOLS = nn.MaxPool2d | nn.AvgPool2d
_POSITION_WISE = ("torch.nn.modules.activation", "torch.nn.modules.batchnorm", "torch.nn.modules.dropout")
_NOT_POSITION_WISE = nn.MultiheadAttention | nn.Softmax | nn.Softmin | nn.LogSoftmax


def after(module: nn.Module, given: Tensor, output: Tensor, before: JumpAndField) -> JumpAndField | None:
    """Return jump and receptive field of a layer's output.

    Args:
        module: The layer.
        given: Its input.
        output: Its output.
        before: Jump and receptive field of the input's units, px.

    Returns:
        Jump and receptive field in px, or None if they do not follow from the layer's class.
    """
    jump, field = before
    if isinstance(module, nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d) and output.shape[2:] == (1, 1):
        side = max(given.shape[2:])
        return jump * side, field + (side - 1) * jump
    if isinstance(module, nn.Conv2d | _POOLS):
        kernel, stride, dilation = (square(getattr(module, name, 1)) for name in ("kernel_size", "stride", "dilation"))
        if kernel is None or stride is None or dilation is None:
            return None
        return jump * stride, field + (kernel - 1) * dilation * jump
    position_wise = torch_class(module).__module__ in _POSITION_WISE and not isinstance(module, _NOT_POSITION_WISE)
    return before if position_wise or (isinstance(module, nn.Linear) and output.dim() == 2) else None


def torch_class(module: nn.Module) -> type[nn.Module]:
    """Return the nearest class of torch.nn that the module is an instance of."""
    return next(cls for cls in type(module).__mro__ if cls.__module__.startswith("torch.nn"))


def square(size: Any) -> int | None:
    """Return the side of a window that torch stores as 3 or (3, 3); None if it is not square or not a number."""
    sides = {*size} if isinstance(size, tuple | list) else {size}
    return side if len(sides) == 1 and isinstance(side := sides.pop(), int) else None
