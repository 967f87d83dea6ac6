"""Quantisation after training: 8-bit weights and maps, integer arithmetic, calibrated on training images.

A map holds q in -128 … 127 for the value scale · (q - zero). Weights have one scale for each output channel and no zero
(Jacob et al. 2018, doi:10.1109/CVPR.2018.00286). Scales minimise the mean squared error over some clipping limits, and
the bias of every convolution takes up the mean error that quantisation causes (Nagel et al. 2019,
doi:10.1109/ICCV.2019.00141).
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mnist_compact.common.errors import ConfigError
from mnist_compact.deploy.fixed_point import INT32, OFFSET_ONE, ONE, activated, multiplier, scaled, to_int8
from mnist_compact.deploy.steps import Kind, Step, Steps
from mnist_compact.models.blocks import ACTIVATIONS
from mnist_compact.training.evaluation import logits_of

CALIBRATION = 256  # training images
CLIPS = np.linspace(1, 0.55, 10)  # factors of the largest value that are tried as limits
SAMPLE = 20_000  # values of a map by which the limits are chosen


@dataclass(slots=True, frozen=True)
class Scale:
    """The values of a map are scale · (q - zero)."""

    scale: float
    zero: int


@dataclass(kw_only=True, slots=True)
class IntegerStep:
    """A step in integers. Multipliers are pairs (m, s) for m · 2^-s, as int64 tensors (n, 2).

    Attributes:
        step: The step in floats.
        weights: int8 values of a convolution, as int64 in the shape of its weight.
        biases: Summands of its sums, int32 (C,).
        units: The value of 1 in its sums, (C,).
        before: From its sums to the fixed-point numbers that the activation takes, (C, 2). Also of the last step, whose
            fixed-point numbers are the logits. None if neither applies.
        after: From there, or from the sums, to the target, (1, 2) or (C, 2). A sum has one for each of its maps.
        offsets: Summands behind `after`, in 1/256 of a step of the target, (1,) or (C,).
    """

    step: Step
    weights: Tensor | None = None
    biases: Tensor | None = None
    units: Tensor | None = None
    before: Tensor | None = None
    after: Tensor | None = None
    offsets: Tensor | None = None


@dataclass(slots=True)
class Quantised:
    """A network in integers: its steps, and the scale of every map but the last, by its number."""

    steps: Steps
    integer_steps: list[IntegerStep]
    scales: dict[int, Scale]

    def logits(self, images: Tensor) -> Tensor:
        """Compute what the C program computes, bit by bit.

        Args:
            images: uint8, (N, 28, 28).

        Returns:
            Logits in 1/65536, (N, 10) int64.
        """
        return logits_of(self._logits, images)

    def _logits(self, images: Tensor) -> Tensor:
        maps = {0: images.long().unsqueeze(1) - 128}
        for each in self.integer_steps:
            maps[each.step.target] = run_step(each, maps, self.scales)
        return maps[self.integer_steps[-1].step.target].flatten(1)


def quantise(steps: Steps, images: Tensor) -> Quantised:
    """Quantise a network.

    Args:
        steps: The network.
        images: Images for the calibration, uint8 (N, 28, 28): `CALIBRATION` training images are enough.

    Raises:
        ConfigError: A number does not fit into the integers of the C program.
    """
    zero = round(-steps.input_shift / steps.input_slope) - 128
    quantised = Quantised(steps, [], {0: Scale(steps.input_slope, zero)})
    scales = quantised.scales
    floats = {0: images.unsqueeze(1) * steps.input_slope + steps.input_shift}
    integers = {0: images.long().unsqueeze(1) - 128}
    with torch.inference_mode():
        for step in steps.steps:
            last = step is steps.steps[-1]
            sums = _sums(step, floats)
            floats[step.target] = value = _value(step, sums)
            if step.kind is Kind.MAX_POOL:
                scales[step.target] = scales[step.source]
            elif not last:
                scales[step.target] = _scale(value)
            integer_step = _integer_step(step, scales, last=last)
            if integer_step.biases is not None:
                _correct_biases(integer_step, sums, integers, scales)
            quantised.integer_steps.append(integer_step)
            integers[step.target] = run_step(integer_step, integers, scales)
    return quantised


def run_step(each: IntegerStep, maps: dict[int, Tensor], scales: dict[int, Scale]) -> Tensor:
    """Compute the target of a step from int64 maps (N, C, H, W), as the C program does."""
    step, given = each.step, maps[each.step.source]
    if step.kind is Kind.MAX_POOL:
        return F.max_pool2d(given.double(), step.window).long()
    assert each.after is not None or each.before is not None
    centred = given - scales[step.source].zero
    if step.kind is Kind.ADD:
        assert step.other is not None
        assert each.after is not None
        other = maps[step.other] - scales[step.other].zero
        result = scaled(centred, each.after[:1]) + scaled(other, each.after[1:])
    else:
        if step.kind is Kind.CONVOLVE:
            result = integer_sums(each, centred)
        else:
            result = (F.avg_pool2d(centred.double(), step.window) * step.window**2).round().long()
        if each.before is not None:
            result = scaled(result, each.before)
            if each.after is None:
                return result
            if step.activation is not None:
                result = activated(step.activation, result)
        assert each.after is not None
        result = scaled(result, each.after)
    assert each.offsets is not None
    return to_int8(result + each.offsets.view(-1, 1, 1))


def integer_sums(each: IntegerStep, centred: Tensor) -> Tensor:
    """Return the sums of a convolution with its biases. float64 holds these integers exactly."""
    convolution = each.step.convolution
    assert convolution is not None
    assert each.weights is not None
    assert each.biases is not None
    sums = F.conv2d(
        *(centred.double(), each.weights.double(), each.biases.double()),
        stride=convolution.stride,
        padding=convolution.padding,
        groups=convolution.groups,
    )
    return sums.long()


def _sums(step: Step, maps: dict[int, Tensor]) -> Tensor:
    """Return what a step computes in floats before the activation."""
    given = maps[step.source]
    if step.kind is Kind.CONVOLVE:
        assert step.convolution is not None
        result: Tensor = step.convolution(given)
        return result
    if step.kind is Kind.ADD:
        assert step.other is not None
        return given + maps[step.other]
    return F.max_pool2d(given, step.window) if step.kind is Kind.MAX_POOL else F.avg_pool2d(given, step.window)


def _value(step: Step, sums: Tensor) -> Tensor:
    if step.activation is not None:
        sums = ACTIVATIONS[step.activation]()(sums)
    return sums if step.affine is None else step.affine(sums)


def _scale(values: Tensor) -> Scale:
    """Return the scale and zero with the smallest mean squared error; zero is one of the values, for padding."""
    sample = values.flatten()[:: max(1, values.numel() // SAMPLE)].double().numpy()
    low, high = min(0.0, sample.min()), max(0.0, sample.max())
    if high - low < 1e-12:
        return Scale(1.0, 0)
    best, chosen = np.inf, Scale(1.0, 0)
    for at_low, at_high in product(CLIPS if low < 0 else [1], CLIPS if high > 0 else [1]):
        scale = float(high * at_high - low * at_low) / 255
        zero = round(-128 - low * at_low / scale)
        error = np.square(scale * (np.clip(np.round(sample / scale) + zero, -128, 127) - zero) - sample).mean()
        if error < best:
            best, chosen = error, Scale(scale, zero)
    return chosen


def _integer_step(step: Step, scales: dict[int, Scale], *, last: bool) -> IntegerStep:
    result = IntegerStep(step=step)
    if step.kind is Kind.MAX_POOL:
        return result
    given = scales[step.source].scale
    target = Scale(1.0, 0) if last else scales[step.target]
    one = OFFSET_ONE / target.scale
    result.offsets = torch.tensor([OFFSET_ONE * target.zero])
    if step.kind is Kind.ADD:
        assert step.other is not None
        result.after = multiplier(np.array([given * one, scales[step.other].scale * one]))
    elif step.kind is Kind.AVERAGE_POOL:
        result.after = multiplier(np.array([given / step.window**2 * one]))
    else:
        assert step.convolution is not None
        assert step.convolution.bias is not None
        weight, bias = step.convolution.weight.double(), step.convolution.bias.double()
        factors = _weight_scales(weight, given, bias)
        result.weights = (weight / factors.view(-1, 1, 1, 1)).round().clamp(-127, 127).long()
        result.units = given * factors
        result.biases = _int32((bias / result.units).round())
        units = result.units.numpy()
        if last:
            result.before = multiplier(units * ONE)
        elif step.activation is None:
            result.after = multiplier(units * one)
        else:
            result.before = multiplier(units * ONE)
            result.after = multiplier(np.array([one / ONE]))
        if step.affine is not None:
            result.after = multiplier(step.affine.slope.double().numpy() * one / ONE)
            result.offsets = _int32((step.affine.shift.double() * one + OFFSET_ONE * target.zero).round())
    return result


def _weight_scales(weight: Tensor, given: float, bias: Tensor) -> Tensor:
    """Return for every output channel the scale with the smallest squared error that is large enough for its bias."""
    rows = weight.flatten(1).numpy()
    largest = np.abs(rows).max(1)
    largest[largest == 0] = 127
    trials = CLIPS[:, None] * largest / 127
    quantised = np.clip(np.round(rows / trials[..., None]), -127, 127) * trials[..., None]
    chosen = trials[np.square(quantised - rows).sum(2).argmin(0), np.arange(len(rows))]
    return torch.from_numpy(np.maximum(chosen, 2 * bias.abs().numpy() / given / INT32))


def _correct_biases(
    integer_step: IntegerStep, sums: Tensor, integers: dict[int, Tensor], scales: dict[int, Scale]
) -> None:
    """Move the biases by the mean difference between the sums in floats and in integers."""
    source = integer_step.step.source
    assert integer_step.biases is not None
    assert integer_step.units is not None
    found = integer_sums(integer_step, integers[source] - scales[source].zero)
    exact = sums.double() / integer_step.units.view(-1, 1, 1)
    integer_step.biases = _int32(integer_step.biases + (exact - found).mean((0, 2, 3)).round())


def _int32(values: Tensor) -> Tensor:
    if bool((values.abs() > INT32).any()):
        raise ConfigError(["the network cannot be quantised: a bias or an offset does not fit into 32 bits"])
    return values.long()
