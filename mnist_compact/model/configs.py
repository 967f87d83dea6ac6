"""The family of compact networks as data. Torch-free; `build` imports what it builds."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from mnist_compact.faults import Faults

if TYPE_CHECKING:
    from torch import nn

    from mnist_compact.model.networks import CompactNetwork

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
    kind: LayerKind = LayerKind.conv
    residual: bool = False  # add the layer's input to its output; a 1×1 projection where the widths differ
    pool: Pool = Pool.none
    enabled: bool = True  # false leaves the layer, and its pool, out


@dataclass(kw_only=True, slots=True)
class HeadConfig:
    kind: HeadKind = HeadKind.linear
    hidden: int = 0  # width of a hidden layer before the logits; 0 = none
    bias: bool = True


@dataclass(kw_only=True, slots=True)
class ModelConfig:
    """Base of every model option. `build` returns any module from (N, 1, 28, 28) to (N, 10) logits.

    Weights are drawn from torch's global random state, and every one of them that is trained takes part in the logits.
    """

    name: str  # of the option, as typed

    def build(self) -> nn.Module:
        raise NotImplementedError


@dataclass(kw_only=True, slots=True)
class CompactConfig(ModelConfig):
    """Named layers in an explicit order, global average pooling, a head. m1, m2 and m3 are points of this family."""

    layers: dict[str, LayerConfig]
    order: list[str]  # names in `layers`, first to last
    activation: Activation = Activation.relu
    norm: Norm = Norm.batch
    block_order: BlockOrder = BlockOrder.norm_first
    conv_bias: bool = False
    dropout: float = 0.0  # probability in [0, 1) after every layer; 0 = off
    dropout_kind: DropoutKind = DropoutKind.element
    head: HeadConfig = field(default_factory=HeadConfig)

    def __post_init__(self) -> None:
        faults = Faults("model")
        faults.unless(0 <= self.dropout < 1, "dropout", "must be in [0, 1)", self.dropout)
        faults.unless(0 <= self.head.hidden <= MOST, "head.hidden", f"must be in [0, {MOST}]", self.head.hidden)
        repeated = sorted({name for name in self.order if self.order.count(name) > 1})
        faults.unless(not repeated, "order", "must name each layer once", repeated)
        undefined = [name for name in self.order if name not in self.layers]
        faults.unless(not undefined, "order", f"must name layers out of {list(self.layers)}", undefined)
        unplaced = [name for name, layer in self.layers.items() if layer.enabled and name not in self.order]
        faults.unless(not unplaced, "order", f"must place every enabled layer, {unplaced} missing", self.order)
        enabled = [name for name in self.order if name in self.layers and self.layers[name].enabled]
        faults.unless(bool(enabled), "order", "must leave at least one layer enabled", self.order)
        for name, layer in self.layers.items():
            faults.unless(1 <= layer.width <= MOST, f"layers.{name}.width", f"must be in [1, {MOST}]", layer.width)
            faults.unless(layer.kernel in (1, 3, 5), f"layers.{name}.kernel", "must be 1, 3 or 5", layer.kernel)
            faults.unless(
                0 <= layer.padding <= layer.kernel // 2,
                f"layers.{name}.padding",
                f"must be in [0, {layer.kernel // 2}] for kernel {layer.kernel}",
                layer.padding,
            )
            faults.unless(layer.stride in (1, 2), f"layers.{name}.stride", "must be 1 or 2", layer.stride)
        faults.raise_if_any()

    def build(self) -> CompactNetwork:
        """Raises ConfigError where a layer does not fit the image it gets."""
        from mnist_compact.model.networks import build_compact

        return build_compact(self)


MODELS: dict[str, type[ModelConfig]] = {"compact": CompactConfig}
