"""Bases of the model options. This module does not import torch; `build` imports what it builds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

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

    def specification(self) -> Any:
        """Return a value that is equal for two configs if they build the same network, apart from names of layers."""
        return self


@dataclass(kw_only=True, slots=True)
class LayeredConfig(ModelConfig):
    """Base of the options whose network is a sequence of layers, global average pooling and a head."""

    activation: Activation = Activation.relu  # activation function of every layer
    norm: Norm = Norm.batch  # normalisation of every layer
    block_order: BlockOrder = BlockOrder.norm_first  # whether normalisation or activation follows the convolution
    conv_bias: bool = False  # whether convolutions have a bias
    dropout: float = 0.0  # dropout probability after every layer, in [0, 1); 0 = off
    dropout_kind: DropoutKind = DropoutKind.element  # whether dropout drops single activations or whole channels
    head: HeadConfig = field(default_factory=HeadConfig)  # how the pooled features become ten logits

    def expanded(self) -> dict[str, LayerConfig]:
        """Return the layers of the network by name, first to last."""
        raise NotImplementedError

    def key_of(self, layer: str) -> str:
        """Return the configuration key that describes a layer, for messages."""
        raise NotImplementedError

    def specification(self) -> Any:
        """Return the layers without their names, the settings that they share, and the head."""
        return [*self.expanded().values()], self._block(), self.head

    def build(self) -> CompactNetwork:
        """Return the network.

        Raises:
            ConfigError: A layer does not fit the size of its input.
        """
        from mnist_compact.models.network import build_compact

        return build_compact(self.expanded(), self._block(), self.head, self.key_of)

    def _block(self) -> BlockOptions:
        return BlockOptions(
            activation=self.activation,
            norm=self.norm,
            order=self.block_order,
            conv_bias=self.conv_bias,
            dropout=self.dropout,
            dropout_kind=self.dropout_kind,
        )

    def check_shared(self, validator: Validator) -> None:
        """Check the settings that all layers share, and the head."""
        validator.check(0 <= self.dropout < 1, "dropout", "must be in [0, 1)", self.dropout)
        validator.check(0 <= self.head.hidden <= MOST, "head.hidden", f"must be in [0, {MOST}]", self.head.hidden)


def check_order(validator: Validator, order: list[str], present: Mapping[str, bool], kind: str) -> None:
    """Check a list of names against the layers or stages that they refer to.

    Args:
        validator: Collects the errors.
        order: Names, first to last.
        present: Name → whether the network has this layer or stage.
        kind: "layer" or "stage".
    """
    repeated = sorted({name for name in order if order.count(name) > 1})
    validator.check(not repeated, "order", f"must name each {kind} once", repeated)
    undefined = [name for name in order if name not in present]
    validator.check(not undefined, "order", f"must name {kind}s out of {list(present)}", undefined)
    unplaced = [name for name, enabled in present.items() if enabled and name not in order]
    validator.check(not unplaced, "order", f"must place every enabled {kind}, {unplaced} missing", order)


def check_layer(validator: Validator, key: str, layer: LayerConfig) -> None:
    """Check the ranges of a layer's settings.

    Args:
        validator: Collects the errors.
        key: Key of the layer below `model`.
        layer: The layer.
    """
    validator.check(1 <= layer.width <= MOST, f"{key}.width", f"must be in [1, {MOST}]", layer.width)
    validator.check(layer.kernel in (1, 3, 5), f"{key}.kernel", "must be 1, 3 or 5", layer.kernel)
    validator.check(
        0 <= layer.padding <= layer.kernel // 2,
        f"{key}.padding",
        f"must be in [0, {layer.kernel // 2}] for kernel {layer.kernel}",
        layer.padding,
    )
    validator.check(layer.stride in (1, 2), f"{key}.stride", "must be 1 or 2", layer.stride)
