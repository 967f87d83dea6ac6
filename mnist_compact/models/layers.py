"""Layers and the head as plain data: kinds, sizes and options. This module does not import torch."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

MOST = 1_000_000  # largest number of channels or units; their products can still be counted


class LayerKind(Enum):
    """What a layer computes."""

    conv = "conv"  # one k×k convolution
    separable = "separable"  # k×k depthwise, then 1×1 across channels; activation and norm follow only the second


class Pool(Enum):
    """The pooling after a layer: 2×2 with stride 2. An odd last row or column is dropped."""

    none = "none"
    max = "max"
    avg = "avg"


class Activation(Enum):
    """The activation function of all layers, as in torch.nn."""

    relu = "relu"
    leaky_relu = "leaky_relu"
    silu = "silu"
    gelu = "gelu"
    hardswish = "hardswish"


class Norm(Enum):
    """The normalisation of all layers; batch is BatchNorm2d."""

    none = "none"
    batch = "batch"


class BlockOrder(Enum):
    """The order of normalisation and activation."""

    norm_first = "norm_first"  # conv, norm, activation: the usual order
    activation_first = "activation_first"  # conv, activation, norm: the order of the reference programme


class DropoutKind(Enum):
    """What dropout drops."""

    element = "element"  # single activations
    channel = "channel"  # whole feature maps


class HeadKind(Enum):
    """How the pooled features become ten logits. Both compute the same family of functions."""

    linear = "linear"
    conv1x1 = "conv1x1"


@dataclass(kw_only=True, slots=True)
class LayerConfig:
    """One layer: convolution, normalisation, activation, dropout and optional pooling."""

    width: int  # output channels, in [1, 1000000]
    kernel: int = 3  # side of the kernel, px: 1, 3 or 5
    padding: int = 0  # zeros on each side, px, in [0, kernel // 2]
    stride: int = 1  # distance between neighbouring windows, px: 1 or 2
    kind: LayerKind = LayerKind.conv  # plain or separable convolution
    residual: bool = False  # whether the layer's input is added to its output; by a 1×1 projection if widths differ
    pool: Pool = Pool.none  # 2×2 pooling after the layer
    enabled: bool = True  # false removes the layer and its pooling


@dataclass(kw_only=True, slots=True)
class StageConfig:
    """One stage: layers of the same width and kind, followed by an optional pooling."""

    depth: int = 2  # number of layers, in [0, 100]; 0 leaves out the stage with its pooling
    width: int  # output channels of each layer, in [1, 1000000]
    first_width: int | None = None  # output channels of the first layer, in [1, 1000000]; null = width
    kind: LayerKind = LayerKind.conv  # plain or separable convolutions
    kernel: int = 3  # side of the kernels, px: 1, 3 or 5
    unpadded: int = 0  # number of layers at the end of the stage without padding, in [0, depth]; others keep their size
    residual: bool = False  # whether each layer's input is added to its output; requires unpadded 0
    squeeze: int = 0  # output channels of a 1×1 convolution before the first layer, in [0, 1000000]; 0 = none
    pool: Pool = Pool.none  # 2×2 pooling after the last layer


@dataclass(kw_only=True, slots=True)
class HeadConfig:
    """The head: how pooled features become ten logits."""

    kind: HeadKind = HeadKind.linear  # linear layers or 1×1 convolutions
    hidden: int = 0  # width of a hidden layer before the logits, in [0, 1000000]; 0 = none
    bias: bool = True  # whether the head's layers have a bias


@dataclass(kw_only=True, slots=True, frozen=True)
class BlockOptions:
    """Settings that all layers of a network share."""

    activation: Activation
    norm: Norm
    order: BlockOrder
    conv_bias: bool
    dropout: float  # dropout probability after every layer, in [0, 1); 0 = off
    dropout_kind: DropoutKind
