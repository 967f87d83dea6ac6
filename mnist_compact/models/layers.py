"""One layer and the head as plain data: kinds, sizes and options. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


MOST = 1_000_000  # channels or units, so that what they multiply to can be counted


class LayerKind(Enum):
    """What a layer computes."""

    conv = "conv"  # one k×k convolution
    separable = "separable"  # k×k depthwise, then 1×1 across channels; activation and norm only after the second


class Pool(Enum):
    """What follows a layer, always 2×2 with stride 2 (an odd last row or column is dropped)."""

    none = "none"
    max = "max"
    avg = "avg"


class Activation(Enum):
    relu = "relu"
    leaky_relu = "leaky_relu"
    silu = "silu"
    gelu = "gelu"
    hardswish = "hardswish"


class Norm(Enum):
    none = "none"
    batch = "batch"


class BlockOrder(Enum):
    """Where the normalisation stands relative to the activation."""

    norm_first = "norm_first"  # conv, norm, activation: the usual order
    activation_first = "activation_first"  # conv, activation, norm: the reference programme's order


class DropoutKind(Enum):
    element = "element"  # single activations
    channel = "channel"  # whole feature maps


class HeadKind(Enum):
    """How the pooled features become ten logits. Both compute the same family of functions."""

    linear = "linear"
    conv1x1 = "conv1x1"


@dataclass(kw_only=True, slots=True)
class LayerConfig:
    """One convolution with what follows it: norm, activation, dropout and, last, an optional pool."""

    width: int  # output channels
    kernel: int = 3  # px: 1, 3 or 5
    padding: int = 0  # px of zeros on each side
    stride: int = 1  # px
    kind: LayerKind = LayerKind.conv  # what the layer computes
    residual: bool = False  # add the layer's input to its output; a 1×1 projection where the widths differ
    pool: Pool = Pool.none  # pooling after the layer, 2×2 with stride 2
    enabled: bool = True  # false leaves the layer, and its pool, out


@dataclass(kw_only=True, slots=True)
class HeadConfig:
    kind: HeadKind = HeadKind.linear  # both kinds compute the same functions
    hidden: int = 0  # width of a hidden layer before the logits; 0 = none
    bias: bool = True  # give the logits a bias


@dataclass(kw_only=True, slots=True, frozen=True)
class BlockOptions:
    """What all layers of a network share: how a convolution is normalised, activated and regularised."""

    activation: Activation
    norm: Norm
    order: BlockOrder
    conv_bias: bool
    dropout: float  # probability in [0, 1) after every layer; 0 = off
    dropout_kind: DropoutKind
