"""Learning-rate schedules: pure functions from the step to a factor of `optim.lr`. This module does not import torch.

Steps count from 0. A schedule knows the number of steps of an epoch and of a run. The loop sets the rate before each
step. With `peak_momentum`, the momentum moves as the rate does; otherwise it stays at the optimizer's own value.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from mnist_compact.common.errors import ConfigError, Validator

Schedule = Callable[[int], float]  # step, counted from 0 → factor of the optimizer's learning rate


def step_decay(epoch: int, *, gamma: float, every_epochs: int, first_epoch: int) -> float:
    """Return the factor of a step schedule.

    Args:
        epoch: The epoch, counted from 1.
        gamma: Factor of each decay, in (0, 1].
        every_epochs: Epochs between two decays.
        first_epoch: The epoch from which the epochs are counted; the first decay is `every_epochs` later.
    """
    return gamma ** (max(0, epoch - first_epoch) // every_epochs)


def cosine_between(start: float, end: float, progress: float) -> float:
    """Return half a cosine wave from `start` at progress 0 to `end` at progress 1."""
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


def one_cycle(step: int, steps: int, *, warmup_fraction: float, start_factor: float, end_factor: float) -> float:
    """Return the factor of the one-cycle schedule: half a cosine wave up to 1, then half a cosine wave down.

    This is the learning-rate curve of torch.optim.lr_scheduler.OneCycleLR (Smith & Topin 2018, arXiv:1708.07120) with
    div_factor = 1 / start_factor and final_div_factor = start_factor / end_factor.

    Args:
        step: The step, counted from 0.
        steps: Number of steps of the run.
        warmup_fraction: Fraction of the steps in which the factor rises, in (0, 1).
        start_factor: Factor at the first step.
        end_factor: Factor at the last step.
    """
    peak = warmup_fraction * steps - 1
    last = steps - 1
    if step <= peak:
        return cosine_between(start_factor, 1.0, step / peak if peak > 0 else 1.0)
    return cosine_between(1.0, end_factor, (step - peak) / (last - peak))


def warmup_then(step: int, steps: int, warmup_fraction: float, decay: Callable[[float], float]) -> float:
    """Return the factor of a linear warm-up from near 0 to 1, followed by `decay`.

    The last step is one step before progress 1, so its factor is not the end of `decay`.

    Args:
        step: The step, counted from 0.
        steps: Number of steps of the run.
        warmup_fraction: Fraction of the steps in the warm-up, in [0, 1).
        decay: Factor as a function of the progress through the other steps, in [0, 1).
    """
    warmup_steps = round(warmup_fraction * steps)
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    return decay((step - warmup_steps) / (steps - warmup_steps))


def piecewise(progress: float, knots: Sequence[tuple[float, float]]) -> float:
    """Interpolate linearly between knots; the factor is constant before the first and after the last knot.

    Args:
        progress: Fraction of the run that is done, in [0, 1).
        knots: Pairs of progress and factor, in order of progress.
    """
    if progress <= knots[0][0]:
        return knots[0][1]
    for (start, before), (end, after) in pairwise(knots):
        if progress < end:
            return before + (after - before) * (progress - start) / (end - start)
    return knots[-1][1]


@dataclass(kw_only=True, slots=True)
class SchedulerConfig:
    """Base of every scheduler option."""

    name: str  # name of the option, as typed
    peak_momentum: float | None = None  # momentum (beta1 of Adam) at the peak rate, in [0, 1); null = constant

    def shared_checks(self) -> Validator:
        """Check the fields of the base classes and return the validator, so that all errors are reported at once."""
        validator, peak = Validator("scheduler"), self.peak_momentum
        validator.check(peak is None or 0 <= peak < 1, "peak_momentum", "must be in [0, 1) or null", peak)
        return validator

    def build(self, *, steps_per_epoch: int, epochs: int) -> Schedule:
        """Return the schedule of a run with this many steps per epoch and this many epochs."""
        raise NotImplementedError

    def rise(self, *, steps_per_epoch: int, epochs: int) -> Schedule:
        """Return how far the momentum has moved to `peak_momentum`, from 0 to 1: as far as the rate has rise."""
        return self.build(steps_per_epoch=steps_per_epoch, epochs=epochs)

    def momentum(self, own: float, *, steps_per_epoch: int, epochs: int) -> Callable[[int], float] | None:
        """Return the momentum as a function of the step.

        Args:
            own: The optimizer's own momentum; 0 if it has none.
            steps_per_epoch: Steps of an epoch.
            epochs: Epochs of the run.

        Returns:
            A function from the step, counted from 0, to the momentum; None if the momentum is constant.

        Raises:
            ConfigError: `peak_momentum` is set, but the optimizer has no momentum.
        """
        peak = self.peak_momentum
        if peak is None:
            return None
        if own == 0:
            raise ConfigError([f"scheduler.peak_momentum requires an optimizer with momentum above 0, got {peak!r}"])
        rise = self.rise(steps_per_epoch=steps_per_epoch, epochs=epochs)
        return lambda step: own + (peak - own) * rise(step)


@dataclass(kw_only=True, slots=True)
class ConstantConfig(SchedulerConfig):
    """A constant learning rate."""

    def __post_init__(self) -> None:
        self.shared_checks().raise_if_any()

    def build(self, *, steps_per_epoch: int, epochs: int) -> Schedule:
        return lambda step: 1.0


@dataclass(kw_only=True, slots=True)
class StepConfig(SchedulerConfig):
    """Multiply the learning rate by `gamma` every `every_epochs` epochs."""

    gamma: float  # factor of each decay, in (0, 1]; 1 = constant
    every_epochs: int  # epochs between two decays, at least 1
    first_epoch: int = 1  # epoch from which epochs are counted, at least 1; the first decay is `every_epochs` later

    def __post_init__(self) -> None:
        validator = self.shared_checks()
        validator.check(0 < self.gamma <= 1, "gamma", "must be in (0, 1]", self.gamma)
        validator.check(self.every_epochs >= 1, "every_epochs", "must be at least 1", self.every_epochs)
        validator.check(self.first_epoch >= 1, "first_epoch", "must be at least 1", self.first_epoch)
        validator.raise_if_any()

    def build(self, *, steps_per_epoch: int, epochs: int) -> Schedule:
        return lambda step: step_decay(
            step // steps_per_epoch + 1,
            gamma=self.gamma,
            every_epochs=self.every_epochs,
            first_epoch=self.first_epoch,
        )


@dataclass(kw_only=True, slots=True)
class OneCycleConfig(SchedulerConfig):
    """One cycle of half cosine waves. With momentum 0.95 and `peak_momentum` 0.85 it is torch's OneCycleLR."""

    warmup_fraction: float  # fraction of all steps in which the rate rises, in (0, 1)
    start_factor: float  # factor of optim.lr at the first step, in (0, 1]
    end_factor: float  # factor of optim.lr at the last step, in [0, 1]

    def __post_init__(self) -> None:
        validator = self.shared_checks()
        validator.check(0 < self.warmup_fraction < 1, "warmup_fraction", "must be in (0, 1)", self.warmup_fraction)
        validator.check(0 < self.start_factor <= 1, "start_factor", "must be in (0, 1]", self.start_factor)
        validator.check(0 <= self.end_factor <= 1, "end_factor", "must be in [0, 1]", self.end_factor)
        validator.raise_if_any()

    def build(self, *, steps_per_epoch: int, epochs: int) -> Schedule:
        return lambda step: one_cycle(
            step,
            steps_per_epoch * epochs,
            warmup_fraction=self.warmup_fraction,
            start_factor=self.start_factor,
            end_factor=self.end_factor,
        )

    def rise(self, *, steps_per_epoch: int, epochs: int) -> Schedule:
        return lambda step: one_cycle(
            step, steps_per_epoch * epochs, warmup_fraction=self.warmup_fraction, start_factor=0.0, end_factor=0.0
        )


@dataclass(kw_only=True, slots=True)
class DecayConfig(SchedulerConfig):
    """Base of the schedules with a linear warm-up and a decay towards `end_factor`."""

    warmup_fraction: float = 0.0  # fraction of all steps in the warm-up, in [0, 1); 0 = no warm-up
    end_factor: float = 0.0  # factor of optim.lr approached at the end, in [0, 1]

    def shared_checks(self) -> Validator:
        """Check the fields of the base classes and return the validator."""
        validator = SchedulerConfig.shared_checks(self)  # super() does not work in slotted dataclasses on Python 3.11
        validator.check(0 <= self.warmup_fraction < 1, "warmup_fraction", "must be in [0, 1)", self.warmup_fraction)
        validator.check(0 <= self.end_factor <= 1, "end_factor", "must be in [0, 1]", self.end_factor)
        return validator

    def __post_init__(self) -> None:
        self.shared_checks().raise_if_any()


@dataclass(kw_only=True, slots=True)
class CosineConfig(DecayConfig):
    """A decay along half a cosine wave, after a linear warm-up."""

    def build(self, *, steps_per_epoch: int, epochs: int) -> Schedule:
        def decay(progress: float) -> float:
            return cosine_between(1.0, self.end_factor, progress)

        return lambda step: warmup_then(step, steps_per_epoch * epochs, self.warmup_fraction, decay)


@dataclass(kw_only=True, slots=True)
class LinearConfig(DecayConfig):
    """A linear decay, after a linear warm-up."""

    def build(self, *, steps_per_epoch: int, epochs: int) -> Schedule:
        def decay(progress: float) -> float:
            return 1.0 + (self.end_factor - 1.0) * progress

        return lambda step: warmup_then(step, steps_per_epoch * epochs, self.warmup_fraction, decay)


@dataclass(kw_only=True, slots=True)
class Knot:
    """A point of a piecewise linear schedule."""

    progress: float  # fraction of all steps, in [0, 1]; after e of n epochs it is e / n
    factor: float  # factor of optim.lr, in [0, 1]


@dataclass(kw_only=True, slots=True)
class PiecewiseConfig(SchedulerConfig):
    """A piecewise linear schedule.

    Knots have names, so that a single knot can be set or searched. They are sorted by progress. Two knots with the same
    progress make a jump from the knot that is named first to the other.
    """

    knots: dict[str, Knot]  # knot name → knot; at least one

    def __post_init__(self) -> None:
        validator = self.shared_checks()
        validator.check(bool(self.knots), "knots", "must name at least one", self.knots)
        for name, knot in self.knots.items():
            validator.check(0 <= knot.progress <= 1, f"knots.{name}.progress", "must be in [0, 1]", knot.progress)
            validator.check(0 <= knot.factor <= 1, f"knots.{name}.factor", "must be in [0, 1]", knot.factor)
        validator.raise_if_any()

    def build(self, *, steps_per_epoch: int, epochs: int) -> Schedule:
        ordered = sorted(self.knots.values(), key=lambda knot: knot.progress)
        knots = [(knot.progress, knot.factor) for knot in ordered]
        return lambda step: piecewise(step / (steps_per_epoch * epochs), knots)


SCHEDULERS: dict[str, type[SchedulerConfig]] = {
    "none": ConstantConfig,
    "step": StepConfig,
    "onecycle": OneCycleConfig,
    "cosine": CosineConfig,
    "linear": LinearConfig,
    "piecewise": PiecewiseConfig,
}
