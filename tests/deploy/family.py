"""Small networks that together have every part of the compact family, with weights and statistics as after training."""

from dataclasses import replace

import torch
from torch import nn

from mnist_compact.data.config import MnistConfig
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
    Pool,
)
from mnist_compact.models.network import build_compact
from mnist_compact.zoo.classifier import Classifier
from mnist_compact.zoo.registry import load, names

PLAIN = {
    "a": LayerConfig(width=4, kernel=3),
    "b": LayerConfig(width=6, kernel=3, padding=1, pool=Pool.max),
    "c": LayerConfig(width=5, kernel=3, padding=1),
}
LAYERS = {
    "plain": PLAIN,
    "padded input": {"a": LayerConfig(width=3, kernel=5, padding=2, stride=2), "b": LayerConfig(width=4, kernel=3)},
    "separable": {
        "a": LayerConfig(width=5, kernel=3, kind=LayerKind.separable, pool=Pool.avg),
        "b": LayerConfig(width=4, kernel=5, padding=1, kind=LayerKind.separable),
        "c": LayerConfig(width=6, kernel=3, stride=2, kind=LayerKind.separable),
    },
    "residual": {
        "a": LayerConfig(width=4, kernel=5, stride=2),
        "b": LayerConfig(width=4, kernel=3, padding=1, residual=True),
        "c": LayerConfig(width=7, kernel=3, padding=1, residual=True, pool=Pool.max),
        "d": LayerConfig(width=5, kernel=1, residual=True, kind=LayerKind.separable, pool=Pool.avg),
    },
    "odd sizes": {  # 27, 13, 7, 3, 1: pooling drops a row and a column; windows reach over both edges
        "a": LayerConfig(width=3, kernel=3, padding=0, pool=Pool.avg),
        "b": LayerConfig(width=4, kernel=5, padding=2, stride=2),
        "c": LayerConfig(width=3, kernel=3, padding=1, pool=Pool.max),
        "d": LayerConfig(width=5, kernel=5, padding=2, stride=2),
        "e": LayerConfig(width=4, kernel=5, padding=2, stride=2),
    },
    "one layer": {"a": LayerConfig(width=12, kernel=1, stride=2)},
}
HEADS = {
    "linear": HeadConfig(),
    "hidden": HeadConfig(hidden=9),
    "1x1": HeadConfig(kind=HeadKind.conv1x1, bias=False),
    "1x1 hidden": HeadConfig(kind=HeadKind.conv1x1, hidden=7),
}


def small(layers="plain", head="linear", **options):
    """A network with random weights and statistics; options are those of BlockOptions."""
    torch.manual_seed(0)
    block = {
        "activation": Activation.relu,
        "norm": Norm.batch,
        "order": BlockOrder.norm_first,
        "conv_bias": False,
        "dropout": 0.1,
        "dropout_kind": DropoutKind.element,
    }
    network = build_compact(LAYERS[layers], BlockOptions(**block | options), HEADS[head], str)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, -1.5, 2)  # also negative ones
            nn.init.normal_(module.bias)
            module.running_mean.normal_()
            module.running_var.uniform_(0.2, 3)
    return Classifier(network, 0.13, 0.31)


OTHERS = {
    **{f"layers: {layers}": {"layers": layers} for layers in LAYERS},
    **{
        f"layers: {layers}, activation first": {"layers": layers, "order": BlockOrder.activation_first}
        for layers in LAYERS
    },
    **{f"head: {head}": {"head": head} for head in HEADS},
    **{f"activation: {each.value}": {"activation": each, "layers": "residual"} for each in Activation},
    "no norm, biases": {"norm": Norm.none, "conv_bias": True, "layers": "residual", "activation": Activation.gelu},
    "no norm, activation first": {"norm": Norm.none, "order": BlockOrder.activation_first},
    "channel dropout": {"dropout_kind": DropoutKind.channel, "order": BlockOrder.activation_first},
    "no dropout": {"dropout": 0.0, "conv_bias": True},
}
MEMBERS = {
    **{f"zoo: {name}": lambda name=name: load(name) for name in names()},
    **{name: lambda options=options: small(**options) for name, options in OTHERS.items()},
}


def optimization_of(name):
    """How a test compiles a member: those of the zoo as exports do, the others faster, without optimization."""
    return "-O3" if name.startswith("zoo: ") else "-O0"


def images(count):
    """Blurred random shapes, uint8 (count, 28, 28)."""
    generator = torch.Generator().manual_seed(1)
    rough = torch.rand(count, 1, 7, 7, generator=generator)
    return nn.functional.interpolate(rough, 28, mode="bicubic").clamp(0, 1).sub(0.3).mul(364).clamp(0, 255).byte()[:, 0]


def mnist(count):
    """MNIST with the first `count` test images for the evaluation."""
    data = MnistConfig(name="mnist").load(print)
    part = replace(data.evaluation, images=data.evaluation.images[:count], labels=data.evaluation.labels[:count])
    return replace(data, evaluation=part)
