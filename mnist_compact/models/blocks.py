"""The building blocks of the compact family. N images, C channels, height H and width W in px."""

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from mnist_compact.models.layers import Activation, BlockOrder, DropoutKind, LayerKind, Norm, Pool
from mnist_compact.models.norm_dropout import Dropout, NormDropout, ReluPosition
from mnist_compact.models.pooling import MaxPool

ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    Activation.relu: nn.ReLU,
    Activation.leaky_relu: nn.LeakyReLU,
    Activation.silu: nn.SiLU,
    Activation.gelu: nn.GELU,
    Activation.hardswish: nn.Hardswish,
}
POOLS: dict[Pool, Callable[[], nn.Module]] = {Pool.max: MaxPool, Pool.avg: partial(nn.AvgPool2d, 2)}
DROPOUTS: dict[DropoutKind, type[nn.Module]] = {DropoutKind.element: Dropout, DropoutKind.channel: nn.Dropout2d}


def convolution(
    kind: LayerKind, channels: int, width: int, *, kernel: int, padding: int, stride: int, bias: bool
) -> list[nn.Module]:
    """(N, channels, H, W) → (N, width, H', W')."""
    if kind is LayerKind.conv:
        return [nn.Conv2d(channels, width, kernel, stride=stride, padding=padding, bias=bias)]
    return [
        nn.Conv2d(channels, channels, kernel, stride=stride, padding=padding, groups=channels, bias=False),
        nn.Conv2d(channels, width, 1, bias=bias),
    ]


def after_convolution(
    width: int, *, activation: Activation, norm: Norm, order: BlockOrder, dropout: float, dropout_kind: DropoutKind
) -> list[nn.Module]:
    """What every convolution is followed by; keeps the shape."""
    first = order is BlockOrder.activation_first
    if norm is Norm.batch and activation is Activation.relu and dropout_kind is DropoutKind.element:
        return [NormDropout(width, dropout, ReluPosition.before if first else ReluPosition.after)]
    act = ACTIVATIONS[activation]()
    if norm is Norm.batch and first and dropout_kind is DropoutKind.element:
        return [act, NormDropout(width, dropout)]
    norms = [NormDropout(width)] if norm is Norm.batch else []
    dropouts = [DROPOUTS[dropout_kind](dropout)] if dropout else []
    return [act, *norms, *dropouts] if first else [*norms, act, *dropouts]


class Residual(nn.Module):
    """The input added to what `body` makes of it: (N, channels, H, W) → (N, width, H, W)."""

    def __init__(self, body: nn.Module, channels: int, width: int) -> None:
        super().__init__()
        self.body = body
        self.shortcut = nn.Identity() if channels == width else nn.Conv2d(channels, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x) + self.shortcut(x)
        return y
