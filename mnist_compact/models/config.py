"""The model options, and the network of named layers. This module does not import torch."""

from __future__ import annotations

from dataclasses import dataclass

from mnist_compact.common.errors import Validator
from mnist_compact.models.layers import LayerConfig
from mnist_compact.models.model_config import LayeredConfig, ModelConfig, check_layer, check_order
from mnist_compact.models.stages import StagesConfig


@dataclass(kw_only=True, slots=True)
class CompactConfig(LayeredConfig):
    """Named layers in an explicit order, global average pooling and a head. m1, m2 and m3 belong to this family."""

    layers: dict[str, LayerConfig]  # layer name → layer; names have no dots
    order: list[str]  # names of the layers, first to last; each enabled layer appears once

    def __post_init__(self) -> None:
        validator = Validator("model")
        self.check_shared(validator)
        check_order(validator, self.order, {name: layer.enabled for name, layer in self.layers.items()}, "layer")
        enabled = [name for name in self.order if name in self.layers and self.layers[name].enabled]
        validator.check(bool(enabled), "order", "must leave at least one layer enabled", self.order)
        for name, layer in self.layers.items():
            check_layer(validator, f"layers.{name}", layer)
        validator.raise_if_any()

    def expanded(self) -> dict[str, LayerConfig]:
        """Return the enabled layers by name, first to last."""
        return {name: self.layers[name] for name in self.order if self.layers[name].enabled}

    def key_of(self, layer: str) -> str:
        """Return the configuration key that describes a layer."""
        return f"model.layers.{layer}"


MODELS: dict[str, type[ModelConfig]] = {"compact": CompactConfig, "stages": StagesConfig}
