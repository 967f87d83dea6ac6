"""Learning-rate schedules: pure functions from progress to a factor of `optim.lr`. Torch-free.

Progress counts steps from 0; a schedule knows how many steps an epoch and a run have. The loop sets each step's rate
before the step is taken. With `peak_momentum` the momentum moves against the rate; else it is the
optimizer's own all along.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from mnist_compact.common.errors import ConfigError, Validator

Schedule = Callable[[int], float]  # step, from 0 → factor of the optimizer's learning rate


def step_decay(epoch: int, *, gamma: float, every_epochs: int, first_epoch: int) -> float:
    """`gamma` once more for every `every_epochs` whole epochs behind `first_epoch`; epochs count from 1."""
    return gamma ** (max(0, epoch - first_epoch) // every_epochs)


def cosine_between(start: float, end: float, progress: float) -> float:
    """Half a cosine wave from `start` at progress 0 to `end` at progress 1."""
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


def one_cycle(step: int, steps: int, *, warmup_fraction: float, start_factor: float, end_factor: float) -> float:
    """Up from `start_factor` to 1 and down to `end_factor` at the last step, each half a cosine wave.

    The learning-rate curve of torch.optim.lr_scheduler.OneCycleLR (Smith & Topin 2018, arXiv:1708.07120), whose
    div_factor is 1 / start_factor and whose final_div_factor is start_factor / end_factor.
    """
    peak = warmup_fraction * steps - 1
    last = steps - 1
    if step <= peak:
        return cosine_between(start_factor, 1.0, step / peak if peak > 0 else 1.0)
    return cosine_between(1.0, end_factor, (step - peak) / (last - peak))


def warmup_then(step: int, steps: int, warmup_fraction: float, decay: Callable[[float], float]) -> float:
    """Linear from near 0 to 1 over the first part of the steps, then `decay` of the progress through the rest.

    The last step still moves: it stands one step before progress 1.
    """
    warmup_steps = round(warmup_fraction * steps)
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    return decay((step - warmup_steps) / (steps - warmup_steps))


def piecewise(progress: float, knots: Sequence[tuple[float, float]]) -> float:
    """Straight from knot to knot, pairs of (progress, factor) in order; even before the first and behind the last."""
    if progress <= knots[0][0]:
        return knots[0][1]
    for (start, before), (end, after) in pairwise(knots):
        if progress < end:
            return before + (after - before) * (progress - start) / (end - start)
    return knots[-1][1]


@dataclass(kw_only=True, slots=True)
class SchedulerConfig:
    """Base of every scheduler option."""

    name: str  # of the option, as typed
    peak_momentum: float | None = None  # the optimizer's, beta1 of Adam's family, at the peak rate, in [0, 1);
    # towards rate 0 it goes back to what optim has; null = that all along

    def shared_checks(self) -> Validator:
        """Of what a schedule has from its bases; its own are added, so that all are reported at once."""
        validator, peak = Validator("scheduler"), self.peak_momentum
        validator.check(peak is None or 0 <= peak < 1, "peak_momentum", "must be in [0, 1) or null", peak)
        return validator

    def build(self, *, steps_per_epoch: int, epochs: int) -> Schedule:
        raise NotImplementedError

    def risen(self, *, steps_per_epoch: int, epochs: int) -> Schedule:
        """How far the momentum has gone from one end, 0, to the other, 1; as far as the rate has."""
        return self.build(steps_per_epoch=steps_per_epoch, epochs=epochs)

    def momentum(self, own: float, *, steps_per_epoch: int, epochs: int) -> Callable[[int], float] | None:
        """Step, from 0 → momentum; None where it stays at the optimizer's `own`, which is 0 for one that has none.

        Raises ConfigError where there is none to be moved.
        """
        peak = self.peak_momentum
        if peak is None:
            return None
        if own == 0:
            raise ConfigError([f"scheduler.peak_momentum needs an optimizer with momentum above 0, got {peak!r}"])
        risen = self.risen(steps_per_epoch=steps_per_epoch, epochs=epochs)
        return lambda step: own + (peak - own) * risen(step)


@dataclass(kw_only=True, slots=True)
class ConstantConfig(SchedulerConfig):
    def __post_init__(self) -> None:
        self.shared_checks().raise_if_any()

    def build(self, *, steps_per_epoch: int, epochs: int) -> Schedule:
        return lambda step: 1.0


@dataclass(kw_only=True, slots=True)
class StepConfig(SchedulerConfig):
    gamma: float  # factor of each decay, in (0, 1]
    every_epochs: int  # epochs from one decay to the next, at least 1
    first_epoch: int = 1  # from which epochs are counted, so that the first decay comes `every_epochs` later

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
    """With `peak_momentum` 0.85 and a momentum of 0.95 torch's OneCycleLR as it is by default."""

    warmup_fraction: float  # part of all steps spent rising, in (0, 1)
    start_factor: float  # of optim.lr at the first step, in (0, 1]
    end_factor: float  # of optim.lr at the last step, in [0, 1]

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

    def risen(self, *, steps_per_epoch: int, epochs: int) -> Schedule:
        return lambda step: one_cycle(
            step, steps_per_epoch * epochs, warmup_fraction=self.warmup_fraction, start_factor=0.0, end_factor=0.0
        )


@dataclass(kw_only=True, slots=True)
class DecayConfig(SchedulerConfig):
    """Base of the schedules that warm up linearly and then decay towards `end_factor`."""

    warmup_fraction: float = 0.0  # part of all steps, in [0, 1); 0 = none
    end_factor: float = 0.0  # of optim.lr, approached at the end, in [0, 1]

    def shared_checks(self) -> Validator:
        validator = SchedulerConfig.shared_checks(self)  # super() does not work in slotted dataclasses on Python 3.11
        validator.check(0 <= self.warmup_fraction < 1, "warmup_fraction", "must be in [0, 1)", self.warmup_fraction)
        validator.check(0 <= self.end_factor <= 1, "end_factor", "must be in [0, 1]", self.end_factor)
        return validator

    def __post_init__(self) -> None:
        self.shared_checks().raise_if_any()


@dataclass(kw_only=True, slots=True)
class CosineConfig(DecayConfig):
    def build(self, *, steps_per_epoch: int, epochs: int) -> Schedule:
        def decay(progress: float) -> float:
            return cosine_between(1.0, self.end_factor, progress)

        return lambda step: warmup_then(step, steps_per_epoch * epochs, self.warmup_fraction, decay)


@dataclass(kw_only=True, slots=True)
class LinearConfig(DecayConfig):
    def build(self, *, steps_per_epoch: int, epochs: int) -> Schedule:
        def decay(progress: float) -> float:
            return 1.0 + (self.end_factor - 1.0) * progress

        return lambda step: warmup_then(step, steps_per_epoch * epochs, self.warmup_fraction, decay)


@dataclass(kw_only=True, slots=True)
class Knot:
    """A point that the rate passes."""

    progress: float  # part of all steps, in [0, 1]; after e of n epochs: e / n
    factor: float  # of optim.lr, in [0, 1]


@dataclass(kw_only=True, slots=True)
class PiecewiseConfig(SchedulerConfig):
    """Knots by name, so that one of them can be set or searched, and in order of their progress.

    Two at the same place make a jump, from the one named first to the other.
    """

    knots: dict[str, Knot]  # name → point; at least one

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
