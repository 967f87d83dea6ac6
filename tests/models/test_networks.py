import csv
import itertools
from pathlib import Path

import pytest
import torch
from torch import nn

from mnist_compact.common.errors import ConfigError
from mnist_compact.models.blocks import ACTIVATIONS, after_convolution
from mnist_compact.models.layers import (
    Activation,
    BlockOptions,
    BlockOrder,
    DropoutKind,
    HeadConfig,
    HeadKind,
    LayerConfig,
    LayerKind,
    Norm,
)
from mnist_compact.models.network import INPUT_SHAPE, build_head, build_layer
from mnist_compact.models.summary import count_parameters, summarize

REFERENCE = Path(__file__).parent / "m3_layers.csv"


@pytest.mark.parametrize(
    ("model", "parameters", "field"),
    [("m1", 3_576, 10), ("m2", 5_668, 14), ("m3", 3_928, 24), ("compact", 7_206, 32), ("stages", 7_206, 32)],
)
def test_models_have_their_documented_facts(configure, model, parameters, field):
    network = configure(f"model={model}").model.build()
    model_summary = summarize(network, INPUT_SHAPE)
    assert (model_summary.parameters, model_summary.receptive_field) == (parameters, field)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    assert network(torch.zeros(2, *INPUT_SHAPE)).shape == (2, 10)


def test_m1_has_no_norm_or_dropout_and_m2_has_both(configure):
    kinds = {
        model: {row.layer for row in summarize(configure(f"model={model}").model.build(), INPUT_SHAPE).rows}
        for model in ("m1", "m2")
    }
    assert not kinds["m1"] & {"BatchNorm2d", "Dropout"}
    assert {"BatchNorm2d", "Dropout", "AvgPool2d 8x8"} <= kinds["m2"]


def test_m3_equals_the_published_table_row_by_row(configure):
    rows = summarize(configure("model=m3").model.build(), INPUT_SHAPE).rows
    ours = [(row.index, row.layer, row.out_channels, row.out_height, row.out_width, row.parameters) for row in rows]
    with REFERENCE.open() as file:
        published = [
            tuple(value if key == "layer" else int(value) for key, value in row.items()) for row in csv.DictReader(file)
        ]
    assert ours == published


FAMILY = [
    ("model=m3",),
    ("model=compact",),
    ("model=compact", "model.layers.conv1.stride=2", "model.layers.conv2.pool=none"),
    (
        "model=compact",
        "model.layers.conv3.kind=separable",
        "model.layers.conv4.kernel=5",
        "model.layers.conv4.padding=2",
    ),
    ("model=compact", "model.layers.conv5.residual=true", "model.layers.conv5.width=9"),
    ("model=compact", "model.layers.conv2.pool=avg", "model.head.kind=conv1x1", "model.head.hidden=12"),
    ("model=compact", "model.norm=none", "model.conv_bias=true", "model.activation=silu"),
    ("model=compact", "model.layers.conv1.width=32", "model.layers.conv2={width: 6, kernel: 1}"),
    (
        *("model=stages", "model.stages.first={depth: 2, kind: separable}", "model.stages.second.squeeze=9"),
        *("model.stages.third.first_width=18", "model.stages.third.unpadded=1"),
    ),
]


@pytest.mark.parametrize("overrides", FAMILY)
def test_receptive_field_is_the_extent_of_a_units_gradient(configure, overrides):
    network = configure(*overrides, "model.dropout=0").model.build().double().eval()
    for parameter in network.parameters():
        torch.nn.init.uniform_(parameter, 0.1, 1.0)  # so that no gradient cancels or vanishes
    for child in network.layers.modules():
        for name, module in list(child.named_children()):
            if isinstance(
                module, torch.nn.MaxPool2d
            ):  # max pooling has a gradient at one pixel only; the mean has the same window
                setattr(child, name, torch.nn.AvgPool2d(module.kernel_size, module.stride))
    # Large enough to contain the field of one unit. BatchNorm in evaluation mode does not mix positions.
    image = torch.rand(1, 1, 120, 120, dtype=torch.float64, requires_grad=True)
    features = network.layers(image)
    features[0, 0, features.shape[2] // 2, features.shape[3] // 2].backward()
    rows, columns = image.grad[0, 0].nonzero().unbind(1)
    reached = (int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1)
    field = summarize(configure(*overrides).model.build(), INPUT_SHAPE).receptive_field
    assert reached == (field, field)


@pytest.mark.parametrize("overrides", FAMILY)
def test_multiply_accumulates_agree_with_torch(configure, overrides):
    from torch.utils.flop_counter import FlopCounterMode

    network = configure(*overrides).model.build().eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, *INPUT_SHAPE))
    assert 2 * summarize(network, INPUT_SHAPE).macs == counter.get_total_flops()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ("model=m3", "model.layers.conv7.kernel=5"),
            "model.layers.conv7.kernel must fit its 4×4 input, got 5",
        ),
        (
            (
                "model=m3",
                "model.layers.conv7.pool=max",
                "model.layers.conv7.kernel=3",
                "model.layers.conv6.pool=none",
                "model.layers.conv5.pool=max",
                "model.layers.conv4.pool=max",
            ),
            "must fit its",
        ),
        (
            ("model=compact", "model.layers.conv3.residual=true"),
            "model.layers.conv3.residual requires a layer that keeps its input's size",
        ),
        (("model=compact", "model.layers.conv6.pool=max", "model.layers.conv5.pool=max"), "must fit its 2×2 input"),
    ],
)
def test_error_for_a_layer_that_does_not_fit_names_it(configure, overrides, message):
    with pytest.raises(ConfigError) as refused:
        configure(*overrides).model.build()
    assert message in str(refused.value)


def test_residual_layer_adds_its_input(configure):
    overrides = ("model=compact", "model.layers.conv5={width: 14, padding: 1, residual: true}", "model.dropout=0")
    network = configure(*overrides).model.build().eval()
    block = network.layers.conv5[0]
    x = torch.randn(2, 14, 5, 5)
    torch.testing.assert_close(block(x), block.body(x) + x)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize(("kind", "weights"), [(LayerKind.conv, 4 * 6 * 9), (LayerKind.separable, 4 * 9 + 4 * 6)])
def test_layer_has_the_expected_biases(kind, weights, residual, bias):
    """With `conv_bias`, each output channel has a bias, except in depthwise convolutions and projections."""
    block = BlockOptions(
        activation=Activation.relu,
        norm=Norm.none,
        order=BlockOrder.norm_first,
        conv_bias=bias,
        dropout=0.0,
        dropout_kind=DropoutKind.element,
    )
    layer = build_layer(LayerConfig(width=6, padding=1, kind=kind, residual=residual), block, 4)
    assert sum(each.numel() for each in layer.parameters()) == weights + 4 * 6 * residual + 6 * bias


@pytest.mark.parametrize("kind", HeadKind)
@pytest.mark.parametrize("bias", [False, True])
def test_head_has_the_expected_biases(kind, bias):
    head = build_head(HeadConfig(kind=kind, hidden=5, bias=bias), 7, Activation.relu)
    assert sum(each.numel() for each in head.parameters()) == 7 * 5 + 5 * 10 + 15 * bias


@pytest.mark.parametrize(
    ("activation", "order", "norm", "kind"), [*itertools.product(Activation, BlockOrder, Norm, DropoutKind)]
)
def test_block_agrees_with_torch_in_every_order_with_dropout(activation, order, norm, kind):
    """In training mode, values that dropout keeps equal those of torch's layers, divided by the kept fraction."""
    torch.manual_seed(0)
    block = after_convolution(8, activation=activation, norm=norm, order=order, dropout=0.75, dropout_kind=kind)
    plain = [ACTIVATIONS[activation](), *([nn.BatchNorm2d(8)] if norm is Norm.batch else [])]
    x = torch.randn(32, 8, 6, 6)
    expected = nn.Sequential(*(plain if order is BlockOrder.activation_first else reversed(plain)))(x) / 0.25
    y = nn.Sequential(*block)(x)
    torch.testing.assert_close(y[y != 0], expected[y != 0])
    dropped = ((y == 0) & (expected != 0)).sum() / (expected != 0).sum()
    assert dropped == pytest.approx(0.75, abs=0.1)
    whole = (y == 0).flatten(2).all(2).float().mean()
    assert whole == pytest.approx(0.75 if kind is DropoutKind.channel else 0, abs=0.1)


@pytest.mark.parametrize("kind", HeadKind)
def test_head_computes_in_float32_under_autocast(configure, kind):
    network = configure("model=compact", f"model.head.kind={kind.value}").model.build()
    features = []
    network.head.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(torch.randn(4, 1, 28, 28))
        expected = nn.Sequential(network.head, nn.Flatten())(features[0])
    assert expected.dtype == torch.bfloat16  # the autocast is on
    assert features[0].dtype == logits.dtype == torch.float32
    torch.testing.assert_close(logits, network.head(features[0]).flatten(1))


def test_summary_does_not_change_the_network(configure):
    network = configure("model=m3").model.build().train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    summarize(network, INPUT_SHAPE)
    assert network.training
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_frozen_weights_count_and_running_statistics_do_not(configure):
    model = configure("model=m3").model.build()
    whole = sum(parameter.numel() for parameter in model.parameters())
    first = next(model.parameters()).requires_grad_(False)
    assert count_parameters(model) == (whole - first.numel(), first.numel())
    model_summary = summarize(model, INPUT_SHAPE)
    assert (model_summary.parameters, model_summary.trainable_parameters) == (whole, whole - first.numel())
    assert sum(row.parameters for row in model_summary.rows) == whole
