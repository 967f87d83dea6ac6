"""The compact network, and how it is built from its layers."""

from collections import OrderedDict
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mnist_compact.common.errors import ConfigError
from mnist_compact.common.shapes import CLASSES, SIDE
from mnist_compact.models.blocks import ACTIVATIONS, POOLS, Residual, after_convolution, convolution
from mnist_compact.models.layers import Activation, BlockOptions, HeadConfig, HeadKind, LayerConfig, Pool

INPUT_SHAPE = (1, SIDE, SIDE)  # channels, height, width


class CompactNetwork(nn.Module):
    """Convolutional layers, global average pooling and a head: (N, 1, 28, 28) → (N, 10) logits."""

    def __init__(self, layers: nn.Sequential, pool: nn.Module, head: nn.Sequential, *, flatten_first: bool) -> None:
        super().__init__()
        self.layers = layers
        self.pool = pool
        self.head = head
        self.flatten_first = flatten_first  # a linear head works on (N, C), a 1×1 convolution on (N, C, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        features = self.pool(self.layers(images))
        logits: Tensor = self.head(features.flatten(1) if self.flatten_first else features)
        return logits.flatten(1)


def build_compact(specs: Mapping[str, LayerConfig], block: BlockOptions, head: HeadConfig) -> CompactNetwork:
    """Build a compact network with weights drawn from torch's global random state.

    Args:
        specs: The layers by name, first to last.
        block: What all layers share.
        head: How the pooled features become ten logits.

    Raises:
        ConfigError: A layer does not fit the image it gets. The message names every such layer.
    """
    channels, side, _ = INPUT_SHAPE
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    faults = name_faults(list(specs))
    for name, layer in specs.items():
        reached = side_after(layer, side)
        faults += layer_faults(name, layer, side, reached)
        if faults:
            break  # what follows a layer that does not fit has no size to be judged by
        layers[name] = build_layer(layer, block, channels)
        channels, side = layer.width, reached if layer.pool is Pool.none else reached // 2
    if faults:
        raise ConfigError(faults)
    network = CompactNetwork(
        nn.Sequential(layers),
        nn.AvgPool2d(side),
        build_head(head, channels, block.activation),
        flatten_first=head.kind is HeadKind.linear,
    )
    # Convolutions of few channels run faster this way on CPUs and GPUs (see benchmarks/README.md).
    return network.to(memory_format=torch.channels_last)


def name_faults(names: list[str]) -> list[str]:
    """Layers become attributes of a torch.nn.Sequential, which has its own already."""
    taken = [name for name in names if not name or "." in name or hasattr(nn.Sequential, name)]
    rule = "must have names without dots that no attribute of torch.nn.Sequential has"
    return [f"model.layers {rule}, got {', '.join(map(repr, taken))}"] if taken else []


def side_after(layer: LayerConfig, side: int) -> int:
    """Height and width after the layer's convolution, before its pool."""
    return (side + 2 * layer.padding - layer.kernel) // layer.stride + 1


def layer_faults(name: str, layer: LayerConfig, side: int, reached: int) -> list[str]:
    key = f"model.layers.{name}"
    if side + 2 * layer.padding < layer.kernel:
        return [
            f"{key}.kernel must fit the {side}×{side} image it gets, got {layer.kernel} with padding {layer.padding}"
        ]
    faults = []
    if layer.pool is not Pool.none and reached < 2:
        faults.append(
            f"{key}.pool must leave something of the {reached}×{reached} image it gets, got {layer.pool.value}"
        )
    if layer.residual and reached != side:
        faults.append(
            f"{key}.residual must keep the image's size (stride 1, padding {layer.kernel // 2}), "
            f"got {side}×{side} → {reached}×{reached}"
        )
    return faults


def build_layer(layer: LayerConfig, block: BlockOptions, channels: int) -> nn.Sequential:
    modules: list[nn.Module] = [
        *convolution(
            layer.kind,
            channels,
            layer.width,
            kernel=layer.kernel,
            padding=layer.padding,
            stride=layer.stride,
            bias=block.conv_bias,
        ),
        *after_convolution(
            layer.width,
            activation=block.activation,
            norm=block.norm,
            order=block.order,
            dropout=block.dropout,
            dropout_kind=block.dropout_kind,
        ),
    ]
    if layer.residual:
        modules = [Residual(nn.Sequential(*modules), channels, layer.width)]
    if layer.pool is not Pool.none:
        modules.append(POOLS[layer.pool]())
    return nn.Sequential(*modules)


def build_head(head: HeadConfig, channels: int, activation: Activation) -> nn.Sequential:
    """Ten logits from `channels` features, by way of `head.hidden` units if there are any."""
    modules: list[nn.Module] = []
    for width in (head.hidden, CLASSES):
        if width == 0:
            continue
        if modules:
            modules.append(ACTIVATIONS[activation]())
        if head.kind is HeadKind.linear:
            modules.append(nn.Linear(channels, width, bias=head.bias))
        else:
            modules.append(nn.Conv2d(channels, width, 1, bias=head.bias))
        channels = width
    return nn.Sequential(*modules)
