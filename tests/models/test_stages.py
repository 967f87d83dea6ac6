"""The network of stages: its layers, their names, errors, and equality with the same network of named layers."""

import json
from pathlib import Path

import pytest
import torch

from mnist_compact.common.errors import ConfigError
from mnist_compact.config.conversion import from_record
from mnist_compact.models.layers import LayerConfig, LayerKind, Pool, StageConfig
from mnist_compact.models.stages import StagesConfig

EVIDENCE = Path(__file__).parents[2] / "evidence"
SEPARABLE = {"kind": LayerKind.separable, "padding": 1}


def stages_of(stem=None, **stages):
    """A network of these stages in this order, after a first layer of width 4."""
    stem = LayerConfig(width=4) if stem is None else stem
    return StagesConfig(name="probe", stem=stem, stages=stages, order=[*stages])


def weights(model):
    torch.manual_seed(3)
    return model.build().state_dict()


def test_experiment_has_the_layers_of_its_evidence(configure):
    layers = configure("experiment=under_8k", "train.epochs=15").model.expanded()
    assert layers == {
        "stem": LayerConfig(width=13),
        "first_1": LayerConfig(width=24, **SEPARABLE),
        "first_2": LayerConfig(width=24, pool=Pool.max, **SEPARABLE),
        "second_1": LayerConfig(width=20, **SEPARABLE),
        "second_2": LayerConfig(width=19, pool=Pool.max, **SEPARABLE),
        "third_1": LayerConfig(width=18, padding=1),
        "third_2": LayerConfig(width=10, padding=1),
    }
    assert [*layers] == ["stem", "first_1", "first_2", "second_1", "second_2", "third_1", "third_2"]


def test_experiment_builds_the_bits_of_its_committed_records(configure):
    """The records describe the network by named layers. Names may differ, but order, shapes and values must agree."""
    records = sorted(EVIDENCE.glob("under_8k/confirmations/under_8k/seeds/*/result.json"))
    recorded = from_record(json.loads(records[0].read_text())["config"]).model
    model = configure("experiment=under_8k", "train.epochs=15").model
    assert type(recorded) is not type(model)
    assert recorded.specification() == model.specification()
    actual, expected = weights(model), weights(recorded)
    assert len(actual) == len(expected)
    assert actual.keys() != expected.keys()
    for weight, other in zip(actual.values(), expected.values(), strict=True):
        assert torch.equal(weight, other)


def test_stage_applies_each_of_its_settings():
    model = stages_of(
        one=StageConfig(depth=3, width=6, first_width=5, kernel=5, unpadded=1, squeeze=2, pool=Pool.avg),
        two=StageConfig(depth=0, width=9, unpadded=3, pool=Pool.max),
        three=StageConfig(depth=1, width=7, kind=LayerKind.separable, residual=True),
    )
    assert [*model.expanded().items()] == [
        ("stem", LayerConfig(width=4)),
        ("one_squeeze", LayerConfig(width=2, kernel=1)),
        ("one_1", LayerConfig(width=5, kernel=5, padding=2)),
        ("one_2", LayerConfig(width=6, kernel=5, padding=2)),
        ("one_3", LayerConfig(width=6, kernel=5, pool=Pool.avg)),
        ("three_1", LayerConfig(width=7, residual=True, **SEPARABLE)),
    ]


def test_order_and_not_the_mapping_decides():
    one, two = StageConfig(width=5), StageConfig(width=6)
    model = StagesConfig(name="probe", stem=LayerConfig(width=4), stages={"one": one, "two": two}, order=["two", "one"])
    assert [*model.expanded()] == ["stem", "two_1", "two_2", "one_1", "one_2"]
    assert model.specification() != stages_of(one=one, two=two).specification()
    assert model.specification() == stages_of(a=two, b=one).specification()


def test_separable_network_of_constant_width_is_built(configure):
    model = configure(
        *("model=stages", "model.stem.width=16", "model.stem.kernel=5", "model.stem.stride=2"),
        *(f"model.stages.{name}={{depth: 3, width: 16, kind: separable}}" for name in ("second", "third")),
        *("model.stages.second.first_width=null", "model.stages.first.depth=0"),
    ).model
    assert {layer.width for layer in model.expanded().values()} == {16}
    network = model.build()
    assert [*dict(network.layers.named_children())] == [
        *("stem", "second_1", "second_2", "second_3", "third_1", "third_2", "third_3")
    ]
    assert network(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.stages.first.depth=101", "model.stages.first.depth must be in [0, 100], got 101"),
        ("model.stages.first.width=0", "model.stages.first.width must be in [1, 1000000], got 0"),
        ("model.stages.second.first_width=0", "model.stages.second.first_width must be in [1, 1000000] or null, got 0"),
        ("model.stages.first.kernel=2", "model.stages.first.kernel must be 1, 3 or 5, got 2"),
        (
            "model.stages.first.unpadded=2",
            "model.stages.first.unpadded must be in [0, 1], the depth of the stage, got 2",
        ),
        ("model.stages.first.squeeze=-1", "model.stages.first.squeeze must be in [0, 1000000], got -1"),
        ("model.stages.first={unpadded: 1, residual: true}", "model.stages.first.residual requires unpadded 0"),
        ("model.stem.kernel=4", "model.stem.kernel must be 1, 3 or 5, got 4"),
        ("model.order=[first,second]", "model.order must place every enabled stage, ['third'] missing"),
        ("model.order=[first,first,second,third]", "model.order must name each stage once, got ['first']"),
        ("model.order=[first,second,third,fourth]", "model.order must name stages out of ['first', 'second', 'third']"),
        ("model.dropout=1", "model.dropout must be in [0, 1), got 1.0"),
    ],
)
def test_wrong_setting_is_refused_by_its_key(configure, override, message):
    with pytest.raises(ConfigError) as refused:
        configure("model=stages", override)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ("model.stages.third.depth=3", "model.stages.third.unpadded=3"),
            "model.stages.third.kernel must fit its 2×2 input",
        ),
        (
            ("model.stages.third.unpadded=2", "model.stages.third.kernel=5"),
            "model.stages.third.kernel must fit its 2×2",
        ),
        (("model.stem.residual=true",), "model.stem.residual requires a layer that keeps its input's size"),
    ],
)
def test_layer_that_does_not_fit_is_refused_by_the_key_of_its_stage(configure, overrides, message):
    with pytest.raises(ConfigError) as refused:
        configure("model=stages", *overrides).model.build()
    assert message in str(refused.value)


def test_network_without_any_layer_is_refused():
    with pytest.raises(ConfigError, match=r"model\.stages must have a layer if the stem is not enabled"):
        stages_of(stem=LayerConfig(width=4, enabled=False), one=StageConfig(depth=0, width=5))
    with pytest.raises(ConfigError, match=r"model\.stages must have names without dots, got \['a\.b'\]"):
        stages_of(**{"a.b": StageConfig(width=5)})
