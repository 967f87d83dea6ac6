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
    """Return the convolutions of one layer.

    Args:
        kind: A plain or a separable convolution.
        channels: Input channels.
        width: Output channels.
        kernel: Side of the kernel, px.
        padding: Zeros on each side, px.
        stride: Distance between neighbouring windows, px.
        bias: Whether the last convolution has a bias.

    Returns:
        Modules that together map (N, channels, H, W) to (N, width, H', W').
    """
    if kind is LayerKind.conv:
        return [nn.Conv2d(channels, width, kernel, stride=stride, padding=padding, bias=bias)]
    return [
        nn.Conv2d(channels, channels, kernel, stride=stride, padding=padding, groups=channels, bias=False),
        nn.Conv2d(channels, width, 1, bias=bias),
    ]


def after_convolution(
    width: int, *, activation: Activation, norm: Norm, order: BlockOrder, dropout: float, dropout_kind: DropoutKind
) -> list[nn.Module]:
    """Return the normalisation, activation and dropout after a convolution. They keep the shape (N, width, H, W).

    Args:
        width: Channels of the convolution's output.
        activation: The activation function.
        norm: The normalisation.
        order: Whether the normalisation or the activation comes first.
        dropout: Dropout probability, in [0, 1); 0 = off.
        dropout_kind: Whether single activations or whole channels are dropped.
    """
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
    """A residual connection: body(x) + shortcut(x), (N, channels, H, W) → (N, width, H, W).

    The shortcut is the identity, or a 1×1 convolution if the widths differ.
    """

    def __init__(self, body: nn.Module, channels: int, width: int) -> None:
        super().__init__()
        self.body = body
        self.shortcut = nn.Identity() if channels == width else nn.Conv2d(channels, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x) + self.shortcut(x)
        return y
