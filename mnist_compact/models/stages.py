"""The network of stages: groups of similar layers, described by depth, width and kind. Does not import torch."""

from __future__ import annotations

from dataclasses import dataclass

from mnist_compact.common.errors import Validator
from mnist_compact.models.layers import MOST, LayerConfig, Pool, StageConfig
from mnist_compact.models.model_config import LayeredConfig, check_layer, check_order

DEEPEST = 100  # largest number of layers in a stage
STEM = "stem"  # name of the first layer; that of any other begins with the name of its stage


@dataclass(kw_only=True, slots=True)
class StagesConfig(LayeredConfig):
    """A first layer, stages in an explicit order, global average pooling and a head.

    The stages are named, because Hydra's command line and searches can set `model.stages.first.width` but no element of
    a list. Their order is a list, because files and comparisons do not keep the order of a mapping.
    """

    stem: LayerConfig  # the first layer, which has settings of its own
    stages: dict[str, StageConfig]  # stage name → stage; names have no dots
    order: list[str]  # names of the stages, first to last; each stage with layers appears once

    def __post_init__(self) -> None:
        validator = Validator("model")
        self.check_shared(validator)
        check_layer(validator, STEM, self.stem)
        check_order(validator, self.order, {name: stage.depth > 0 for name, stage in self.stages.items()}, "stage")
        wrong = [name for name in self.stages if not name or "." in name]
        validator.check(not wrong, "stages", "must have names without dots", wrong)
        for name, stage in self.stages.items():
            _check_stage(validator, f"stages.{name}", stage)
        empty = not self.stem.enabled and not any(stage.depth > 0 for stage in self.stages.values())
        validator.check(not empty, "stages", "must have a layer if the stem is not enabled", list(self.stages))
        validator.raise_if_any()

    def expanded(self) -> dict[str, LayerConfig]:
        """Return the layers by name, first to last: stem, then <stage>_squeeze and <stage>_<number> of each stage."""
        layers = {STEM: self.stem} if self.stem.enabled else {}
        for name in self.order:
            layers.update(_layers_of(name, self.stages[name]))
        return layers

    def key_of(self, layer: str) -> str:
        """Return the configuration key that describes a layer: that of its stage, or of the stem."""
        return f"model.{STEM}" if layer == STEM else f"model.stages.{layer.rpartition('_')[0]}"


def _layers_of(name: str, stage: StageConfig) -> dict[str, LayerConfig]:
    if stage.depth == 0:
        return {}
    layers = {f"{name}_squeeze": LayerConfig(width=stage.squeeze, kernel=1)} if stage.squeeze else {}
    for number in range(1, stage.depth + 1):
        layers[f"{name}_{number}"] = LayerConfig(
            width=stage.width if number > 1 or stage.first_width is None else stage.first_width,
            kernel=stage.kernel,
            padding=0 if number > stage.depth - stage.unpadded else stage.kernel // 2,
            kind=stage.kind,
            residual=stage.residual,
            pool=stage.pool if number == stage.depth else Pool.none,
        )
    return layers


def _check_stage(validator: Validator, key: str, stage: StageConfig) -> None:
    validator.check(0 <= stage.depth <= DEEPEST, f"{key}.depth", f"must be in [0, {DEEPEST}]", stage.depth)
    validator.check(1 <= stage.width <= MOST, f"{key}.width", f"must be in [1, {MOST}]", stage.width)
    if stage.first_width is not None:
        rule = f"must be in [1, {MOST}] or null"
        validator.check(1 <= stage.first_width <= MOST, f"{key}.first_width", rule, stage.first_width)
    validator.check(stage.kernel in (1, 3, 5), f"{key}.kernel", "must be 1, 3 or 5", stage.kernel)
    if stage.depth > 0:  # a stage without layers may keep values that do not fit
        rule = f"must be in [0, {stage.depth}], the depth of the stage"
        validator.check(0 <= stage.unpadded <= stage.depth, f"{key}.unpadded", rule, stage.unpadded)
        allowed = not stage.residual or stage.unpadded == 0 or stage.kernel == 1
        validator.check(allowed, f"{key}.residual", "requires unpadded 0, so that sizes are kept", stage.unpadded)
    validator.check(0 <= stage.squeeze <= MOST, f"{key}.squeeze", f"must be in [0, {MOST}]", stage.squeeze)
