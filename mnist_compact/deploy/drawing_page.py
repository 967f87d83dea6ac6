"""The HTML page on which a person draws a digit: a network, the scripts that compute it and the page in one file.

The page contains the network as a list of steps in JSON, and its numbers as float32 in base64. The scripts in js/
compute the steps (network.js), repeat `preprocessing.to_mnist` (preprocessing.js) and show the page (drawing.js and
page.js).
"""

import base64
import html
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from mnist_compact.common.atomic import replacing
from mnist_compact.common.html_template import embedded_json, filled
from mnist_compact.deploy.folding import fold
from mnist_compact.deploy.steps import Kind, Step, Steps, steps_of
from mnist_compact.models.blocks import ACTIVATIONS
from mnist_compact.models.network import INPUT_SHAPE
from mnist_compact.models.summary import summarize
from mnist_compact.zoo.classifier import Classifier

SCRIPTS = ("network.js", "preprocessing.js", "drawing.js", "page.js")

Json = dict[str, Any]


@dataclass(slots=True, frozen=True)
class Field:
    """The receptive fields of the units of a map.

    Attributes:
        start: Column of the first pixel that the unit in column 0 sees, px; negative if padding comes before the image.
        jump: Distance between the fields of neighbouring units, px.
        size: Side of a field, px.
    """

    start: int
    jump: int
    size: int


def write_drawing_page(classifier: Classifier, name: str, path: Path) -> None:
    """Write the page of a network.

    Args:
        classifier: The network.
        name: How the page names it.
        path: The file to create or replace.

    Raises:
        ConfigError: The network cannot be represented.
    """
    text = drawing_page(classifier, name)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def drawing_page(classifier: Classifier, name: str) -> str:
    """Return the page of a network as HTML; arguments and errors as for `write_drawing_page`."""
    here = files(__package__)
    parts = {
        "name": html.escape(name),
        "size": f"{summarize(classifier.network, INPUT_SHAPE).parameters:,} parameters",
        "style": here.joinpath("html", "draw.css").read_text(encoding="utf-8"),
        "data": embedded_json(network_data(classifier)),
        "scripts": "\n".join(here.joinpath("js", script).read_text(encoding="utf-8") for script in SCRIPTS),
    }
    return filled(here.joinpath("html", "draw.html").read_text(encoding="utf-8"), parts)


def network_data(classifier: Classifier) -> Json:
    """Describe a network for network.js.

    Returns:
        `input`: slope and shift that turn a level 0 … 255 into a value of map 0. `maps`: channels, side and receptive
        fields of each map. `steps`: what is computed, in order, with places in the values. `values`: all weights as
        float32 in base64, lowest byte first.

    Raises:
        ConfigError: The network cannot be represented.
    """
    steps = steps_of(fold(classifier))
    values: list[Tensor] = []
    described = [_described(step, steps, values) for step in steps.steps]
    numbers = np.concatenate([each.numpy().ravel() for each in values]).astype("<f4")
    maps = [
        {"channels": each.channels, "side": each.side, "start": field.start, "jump": field.jump, "field": field.size}
        for each, field in zip(steps.maps, receptive_fields(steps), strict=True)
    ]
    return {
        "input": {"slope": steps.input_slope, "shift": steps.input_shift},
        "maps": maps,
        "steps": described,
        "values": base64.b64encode(numbers.tobytes()).decode(),
    }


def receptive_fields(steps: Steps) -> list[Field]:
    """Return the receptive fields of every map.

    RF = RF_source + (kernel - 1) · jump_source, jump = jump_source · stride. The field of a sum is that of the body,
    which includes that of the shortcut.
    """
    fields = [Field(start=0, jump=1, size=1)]
    for step in steps.steps:
        source = fields[step.source]
        kernel, stride, padding = _window(step)
        fields.append(
            Field(
                start=source.start - padding * source.jump,
                jump=source.jump * stride,
                size=source.size + (kernel - 1) * source.jump,
            )
        )
    return fields


def _window(step: Step) -> tuple[int, int, int]:
    """Return kernel, stride and padding, px."""
    if step.convolution is None:
        return step.window, step.window, 0
    assert isinstance(step.convolution.padding, tuple)
    return step.convolution.kernel_size[0], step.convolution.stride[0], step.convolution.padding[0]


def _described(step: Step, steps: Steps, values: list[Tensor]) -> Json:
    """Return a step for network.js; its numbers are appended to `values`."""

    def stored(tensor: Tensor) -> int:
        at = sum(each.numel() for each in values)
        values.append(tensor.detach())
        return at

    kernel, stride, padding = _window(step)
    described: Json = {"kind": step.kind.name.lower(), "source": step.source, "target": step.target}
    described |= {"name": f"{_name(step)}{_origin(step)}", "kernel": kernel, "stride": stride, "padding": padding}
    if step.other is not None:
        described["other"] = step.other
    if (convolution := step.convolution) is not None:
        assert convolution.bias is not None
        described |= {"depthwise": convolution.groups > 1, "activation": step.activation and step.activation.value}
        described |= {"weights": stored(convolution.weight), "biases": stored(convolution.bias)}
        if step.affine is not None:
            described |= {"slopes": stored(step.affine.slope), "shifts": stored(step.affine.shift)}
    return described


def _name(step: Step) -> str:
    """Return the name of a step for readers."""
    if step.kind is Kind.ADD:
        return f"Sum of layer {step.source} and {f'layer {step.other}' if step.other else 'the input'}"
    return ", ".join(_words(step))


def _words(step: Step) -> Iterator[str]:
    if (convolution := step.convolution) is None:
        yield f"{'Max' if step.kind is Kind.MAX_POOL else 'Average'} pooling {step.window}×{step.window}"
        return
    kernel, stride, _ = _window(step)
    yield f"{'Depthwise convolution' if convolution.groups > 1 else 'Convolution'} {kernel}×{kernel}"
    if stride > 1:
        yield f"stride {stride}"
    if step.activation is not None:
        yield ACTIVATIONS[step.activation].__name__
    if step.affine is not None:
        yield "BatchNorm"


def _origin(step: Step) -> str:
    """Return the text for the source of a step, if that is not the previous step."""
    if step.kind is Kind.ADD or step.source == step.target - 1:
        return ""
    return f", of layer {step.source}" if step.source else ", of the input"
