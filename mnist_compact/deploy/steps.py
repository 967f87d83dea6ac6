"""A folded network as a list of steps between numbered maps, with a place in memory for every map."""

from dataclasses import dataclass, field, replace
from enum import IntEnum

from torch import nn

from mnist_compact.common.errors import ConfigError
from mnist_compact.common.shapes import SIDE
from mnist_compact.deploy.folding import Affine
from mnist_compact.models.blocks import ACTIVATIONS, Residual
from mnist_compact.models.layers import Activation

MOST_CHANNELS = 2**15 - 1  # the largest int16_t


class Kind(IntEnum):
    """What a step computes; the C programs know the same numbers."""

    CONVOLVE = 0
    MAX_POOL = 1
    AVERAGE_POOL = 2
    ADD = 3


@dataclass(kw_only=True, slots=True, frozen=True)
class Map:
    """A square map: `channels` channels of `side`×`side` px; `at` is its first value in the memory of all maps."""

    channels: int
    side: int
    at: int = 0

    @property
    def size(self) -> int:
        """Number of values."""
        return self.channels * self.side**2


@dataclass(kw_only=True, slots=True)
class Step:
    """One step: a convolution with what follows it for each value, a pooling, or a sum.

    Attributes:
        kind: What it computes.
        source: Number of the map that it reads; `other` is the second one of a sum, otherwise None.
        target: Number of the map that it writes.
        window: Side of a pooling's window, px.
        convolution, activation, affine: Of a convolution; the last two are None if there are none.
    """

    kind: Kind
    source: int
    target: int
    other: int | None = None
    window: int = 1
    convolution: nn.Conv2d | None = None
    activation: Activation | None = None
    affine: Affine | None = None


@dataclass(slots=True)
class Steps:
    """All steps of a network.

    Attributes:
        steps: First to last.
        maps: Every map by its number; the image is number 0, the logits are the last.
        input_slope, input_shift: The values of the image are input_slope · level + input_shift for levels 0 … 255.
        memory: Number of values that the memory of all maps holds.
    """

    steps: list[Step] = field(default_factory=list)
    maps: list[Map] = field(default_factory=lambda: [Map(channels=1, side=SIDE)])
    input_slope: float = 1 / 255
    input_shift: float = 0.0
    memory: int = 0

    @property
    def activation(self) -> Activation:
        """The activation of all layers."""
        return next(step.activation for step in self.steps if step.activation is not None)


def steps_of(folded: nn.Sequential) -> Steps:
    """Convert the result of `folding.fold` to steps, and place their maps.

    A map takes the place of its source where the step can overwrite what it has read: after pooling, and in a sum.

    Raises:
        ConfigError: The network has several kinds of activations, or a map of too many channels for the C programs.
    """
    steps = Steps()
    parts = [part for part in folded if not isinstance(part, nn.Flatten)]
    if isinstance(parts[0], Affine):  # the normalisation, before a convolution with padding
        affine = parts.pop(0)
        assert isinstance(affine, Affine)
        steps.input_slope, steps.input_shift = affine.slope.item() / 255, affine.shift.item()
    _append(steps, parts, 0)
    kinds = {step.activation.value for step in steps.steps if step.activation is not None}
    if len(kinds) != 1:
        raise ConfigError([f"export to C needs one kind of activation, got {', '.join(sorted(kinds)) or 'none'}"])
    if (widest := max(each.channels for each in steps.maps)) > MOST_CHANNELS:
        raise ConfigError([f"export to C needs at most {MOST_CHANNELS:,} channels in a map, got {widest:,}"])
    _place(steps)
    return steps


def _append(steps: Steps, parts: list[nn.Module], source: int) -> int:
    """Append the steps of a chain that begins with the map `source`, and return the number of its last map."""
    kinds = {kind: activation for activation, kind in ACTIVATIONS.items()}
    for part in parts:
        source_map = steps.maps[source]
        if isinstance(part, Affine):
            steps.steps[-1].affine = part
            continue
        if type(part) in kinds:
            steps.steps[-1].activation = kinds[type(part)]
            continue
        if isinstance(part, Residual):
            # The shortcut comes first: its map and that of the body are then used soon.
            shortcut = source if isinstance(part.shortcut, nn.Identity) else _append(steps, [part.shortcut], source)
            assert isinstance(part.body, nn.Sequential)
            body = _append(steps, [*part.body], source)
            step = Step(kind=Kind.ADD, source=body, other=shortcut, target=len(steps.maps))
            steps.maps.append(replace(steps.maps[body]))
        elif isinstance(part, nn.Conv2d):
            assert isinstance(part.padding, tuple)
            side = (source_map.side + 2 * part.padding[0] - part.kernel_size[0]) // part.stride[0] + 1
            step = Step(kind=Kind.CONVOLVE, source=source, target=len(steps.maps), convolution=part)
            steps.maps.append(Map(channels=part.out_channels, side=side))
        else:
            assert isinstance(part, nn.MaxPool2d | nn.AvgPool2d)
            window = part.kernel_size
            assert isinstance(window, int)
            kind = Kind.MAX_POOL if isinstance(part, nn.MaxPool2d) else Kind.AVERAGE_POOL
            step = Step(kind=kind, source=source, target=len(steps.maps), window=window)
            steps.maps.append(Map(channels=source_map.channels, side=source_map.side // window))
        steps.steps.append(step)
        source = step.target
    return source


def _place(steps: Steps) -> None:
    """Give every map the lowest place that is free while it is used."""
    last_use = {
        each: time for time, step in enumerate(steps.steps) for each in (step.source, step.other) if each is not None
    }
    places: dict[int, int] = {0: 0}
    for time, step in enumerate(steps.steps):
        in_place = step.kind is not Kind.CONVOLVE and last_use[step.source] == time
        # Maps that are read later, or by this step.
        used = [each for each in places if last_use[each] > time or (last_use[each] == time and not in_place)]
        if in_place:
            places[step.target] = places[step.source]
            continue
        taken = sorted((places[each], places[each] + steps.maps[each].size) for each in used)
        at = 0
        for start, end in taken:
            if at + steps.maps[step.target].size <= start:
                break
            at = max(at, end)
        places[step.target] = at
    steps.maps = [replace(each, at=places[number]) for number, each in enumerate(steps.maps)]
    steps.memory = max(each.at + each.size for each in steps.maps)
