"""The compact network and its construction from layers. N images, C channels, height H and width W in px."""

from collections import OrderedDict
from collections.abc import Callable, Mapping

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
        maps = self.layers(images)
        with torch.autocast(images.device.type, enabled=False):  # a logit of 10 in bfloat16 has an error of up to 0.03
            features = self.pool(maps.float())
            logits: Tensor = self.head(features.flatten(1) if self.flatten_first else features)
        return logits.flatten(1)


def build_compact(
    specs: Mapping[str, LayerConfig], block: BlockOptions, head: HeadConfig, key_of: Callable[[str], str]
) -> CompactNetwork:
    """Build a compact network with weights drawn from torch's global random state.

    Args:
        specs: The layers by name, first to last.
        block: Settings that all layers share.
        head: How the pooled features become ten logits.
        key_of: Returns the configuration key of a layer, for messages.

    Raises:
        ConfigError: A layer does not fit the size of its input, or a name cannot be used.
    """
    channels, side, _ = INPUT_SHAPE
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    faults = name_faults(list(specs))
    for name, layer in specs.items():
        new_side = side_after(layer, side)
        faults += layer_faults(key_of(name), layer, side, new_side)
        if faults:
            break  # the sizes after a layer that does not fit are unknown
        layers[name] = build_layer(layer, block, channels)
        channels, side = layer.width, new_side if layer.pool is Pool.none else new_side // 2
    if faults:
        raise ConfigError(faults)
    network = CompactNetwork(
        nn.Sequential(layers),
        nn.AvgPool2d(side),
        build_head(head, channels, block.activation),
        flatten_first=head.kind is HeadKind.linear,
    )
    # Convolutions with few channels are faster in this layout on CPUs and GPUs (see benchmarks/README.md).
    return network.to(memory_format=torch.channels_last)


def name_faults(names: list[str]) -> list[str]:
    """Return an error for names that torch.nn.Sequential cannot take: each layer becomes an attribute of it."""
    invalid = [name for name in names if not name or "." in name or hasattr(nn.Sequential, name)]
    rule = "must have names without dots that are no attributes of torch.nn.Sequential"
    return [f"model.layers {rule}, got {', '.join(map(repr, invalid))}"] if invalid else []


def side_after(layer: LayerConfig, side: int) -> int:
    """Return height and width (px) after the layer's convolution and before its pooling."""
    return (side + 2 * layer.padding - layer.kernel) // layer.stride + 1


def layer_faults(key: str, layer: LayerConfig, side: int, new_side: int) -> list[str]:
    """Return what is wrong with a layer's sizes.

    Args:
        key: Configuration key of the layer.
        layer: The layer.
        side: Height and width of its input, px.
        new_side: Height and width after its convolution, px.
    """
    if side + 2 * layer.padding < layer.kernel:
        return [f"{key}.kernel must fit its {side}×{side} input, got {layer.kernel} with padding {layer.padding}"]
    faults = []
    if layer.pool is not Pool.none and new_side < 2:
        faults.append(f"{key}.pool must be none for a {new_side}×{new_side} map, got {layer.pool.value}")
    if layer.residual and new_side != side:
        faults.append(
            f"{key}.residual requires a layer that keeps its input's size (stride 1, padding {layer.kernel // 2}), "
            f"got {side}×{side} → {new_side}×{new_side}"
        )
    return faults


def build_layer(layer: LayerConfig, block: BlockOptions, channels: int) -> nn.Sequential:
    """Return one layer for an input of `channels` channels: (N, channels, H, W) → (N, layer.width, H', W')."""
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
    """Return the head from `channels` features to ten logits, with a hidden layer if `head.hidden` is above 0."""
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
