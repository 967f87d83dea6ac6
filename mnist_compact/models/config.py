"""Model options. This module does not import torch; `build` imports what it builds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mnist_compact.common.errors import Validator
from mnist_compact.models.layers import (
    MOST,
    Activation,
    BlockOptions,
    BlockOrder,
    DropoutKind,
    HeadConfig,
    LayerConfig,
    Norm,
)

if TYPE_CHECKING:
    from torch import nn

    from mnist_compact.models.network import CompactNetwork


@dataclass(kw_only=True, slots=True)
class ModelConfig:
    """Base of every model option."""

    name: str  # name of the option, as typed

    def build(self) -> nn.Module:
        """Return a network from images (N, 1, 28, 28) to logits (N, 10).

        Its weights are drawn from torch's global random state. Every trainable weight must contribute to the logits.
        """
        raise NotImplementedError


@dataclass(kw_only=True, slots=True)
class CompactConfig(ModelConfig):
    """Named layers in an explicit order, global average pooling and a head. m1, m2 and m3 belong to this family."""

    layers: dict[str, LayerConfig]  # layer name → layer; names have no dots
    order: list[str]  # names of the layers, first to last; each enabled layer appears once
    activation: Activation = Activation.relu  # activation function of every layer
    norm: Norm = Norm.batch  # normalisation of every layer
    block_order: BlockOrder = BlockOrder.norm_first  # whether normalisation or activation follows the convolution
    conv_bias: bool = False  # whether convolutions have a bias
    dropout: float = 0.0  # dropout probability after every layer, in [0, 1); 0 = off
    dropout_kind: DropoutKind = DropoutKind.element  # whether dropout drops single activations or whole channels
    head: HeadConfig = field(default_factory=HeadConfig)  # how the pooled features become ten logits

    def __post_init__(self) -> None:
        validator = Validator("model")
        validator.check(0 <= self.dropout < 1, "dropout", "must be in [0, 1)", self.dropout)
        validator.check(0 <= self.head.hidden <= MOST, "head.hidden", f"must be in [0, {MOST}]", self.head.hidden)
        repeated = sorted({name for name in self.order if self.order.count(name) > 1})
        validator.check(not repeated, "order", "must name each layer once", repeated)
        undefined = [name for name in self.order if name not in self.layers]
        validator.check(not undefined, "order", f"must name layers out of {list(self.layers)}", undefined)
        unplaced = [name for name, layer in self.layers.items() if layer.enabled and name not in self.order]
        validator.check(not unplaced, "order", f"must place every enabled layer, {unplaced} missing", self.order)
        enabled = [name for name in self.order if name in self.layers and self.layers[name].enabled]
        validator.check(bool(enabled), "order", "must leave at least one layer enabled", self.order)
        for name, layer in self.layers.items():
            validator.check(1 <= layer.width <= MOST, f"layers.{name}.width", f"must be in [1, {MOST}]", layer.width)
            validator.check(layer.kernel in (1, 3, 5), f"layers.{name}.kernel", "must be 1, 3 or 5", layer.kernel)
            validator.check(
                0 <= layer.padding <= layer.kernel // 2,
                f"layers.{name}.padding",
                f"must be in [0, {layer.kernel // 2}] for kernel {layer.kernel}",
                layer.padding,
            )
            validator.check(layer.stride in (1, 2), f"layers.{name}.stride", "must be 1 or 2", layer.stride)
        validator.raise_if_any()

    def build(self) -> CompactNetwork:
        """Return the network.

        Raises:
            ConfigError: A layer does not fit the size of its input.
        """
        from mnist_compact.models.network import build_compact

        specs = {name: self.layers[name] for name in self.order if self.layers[name].enabled}
        block = BlockOptions(
            activation=self.activation,
            norm=self.norm,
            order=self.block_order,
            conv_bias=self.conv_bias,
            dropout=self.dropout,
            dropout_kind=self.dropout_kind,
        )
        return build_compact(specs, block, self.head)


MODELS: dict[str, type[ModelConfig]] = {"compact": CompactConfig}
