import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from mnist_compact.common.errors import ConfigError
from mnist_compact.optim.schedules import (
    ConstantConfig,
    CosineConfig,
    DecayConfig,
    Knot,
    LinearConfig,
    OneCycleConfig,
    PiecewiseConfig,
    StepConfig,
    piecewise,
    step_decay,
)


@dataclasses.dataclass(kw_only=True, slots=True)
class PlateauConfig(DecayConfig):
    """A new schedule that is derived from the common base class."""

    hold_fraction: float

    def __post_init__(self) -> None:
        validator = self.shared_checks()
        validator.check(0 <= self.hold_fraction <= 1, "hold_fraction", "must be in [0, 1]", self.hold_fraction)
        validator.raise_if_any()


def test_errors_of_schedule_and_base_are_reported_together():
    with pytest.raises(ConfigError) as refused:
        PlateauConfig(name="plateau", peak_momentum=1, warmup_fraction=1.5, end_factor=-1, hold_fraction=2)
    assert refused.value.faults == [
        "scheduler.peak_momentum must be in [0, 1) or null, got 1",
        "scheduler.warmup_fraction must be in [0, 1), got 1.5",
        "scheduler.end_factor must be in [0, 1], got -1",
        "scheduler.hold_fraction must be in [0, 1], got 2",
    ]
    with pytest.raises(ConfigError, match=r"peak_momentum must be in \[0, 1\) or null, got -1"):
        ConstantConfig(name="none", peak_momentum=-1)
    with pytest.raises(ConfigError, match=r"warmup_fraction must be in \[0, 1\), got 1\.5"):
        CosineConfig(name="cosine", warmup_fraction=1.5)


@pytest.mark.parametrize(("steps_per_epoch", "epochs", "warmup"), [(10, 15, 0.3), (7, 3, 0.5), (469, 2, 0.1)])
def test_onecycle_agrees_with_torch(steps_per_epoch, epochs, warmup):
    steps = steps_per_epoch * epochs
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.95)
    reference = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, total_steps=steps, pct_start=warmup, base_momentum=0.85, max_momentum=0.95
    )
    factors = {"warmup_fraction": warmup, "start_factor": 1 / 25, "end_factor": 1 / 25 / 1e4}
    config = OneCycleConfig(name="onecycle", peak_momentum=0.85, **factors)
    schedule = config.build(steps_per_epoch=steps_per_epoch, epochs=epochs)
    momentum = config.momentum(0.95, steps_per_epoch=steps_per_epoch, epochs=epochs)
    for step in range(steps):
        assert schedule(step) == pytest.approx(reference.get_last_lr()[0], rel=1e-6, abs=1e-9)
        assert momentum(step) == pytest.approx(optimizer.param_groups[0]["momentum"], rel=1e-9)
        optimizer.step()
        if step < steps - 1:
            reference.step()


def test_momentum_follows_its_schedule_and_is_constant_without_one():
    length = {"steps_per_epoch": 2, "epochs": 2}
    momentum = LinearConfig(name="linear", warmup_fraction=0.5, peak_momentum=0.6).momentum(0.9, **length)
    assert [momentum(step) for step in range(4)] == pytest.approx([0.8, 0.7, 0.6, 0.75])
    assert LinearConfig(name="linear").momentum(0.9, **length) is None


def test_step_agrees_with_the_logged_run():
    """The reference programme printed the learning rate after each epoch, which is the rate of the next epoch."""
    with (Path(__file__).parents[1] / "training/m3_log.csv").open() as file:
        printed = [float(row["lr_printed_after_epoch"]) for row in csv.DictReader(file)]
    ours = [0.015 * step_decay(epoch + 1, gamma=0.5, every_epochs=2, first_epoch=7) for epoch in range(1, 16)]
    assert ours == pytest.approx(printed, abs=5e-7)


def test_step_is_constant_within_an_epoch():
    schedule = StepConfig(name="step", gamma=0.1, every_epochs=1, first_epoch=2).build(steps_per_epoch=3, epochs=4)
    assert [schedule(step) for step in range(12)] == pytest.approx([1] * 6 + [0.1] * 3 + [0.01] * 3)


@pytest.mark.parametrize(
    ("config", "factors"),
    [
        (LinearConfig(name="linear"), [1, 0.75, 0.5, 0.25]),
        (LinearConfig(name="linear", warmup_fraction=0.5), [1 / 3, 2 / 3, 1, 0.5]),
        (LinearConfig(name="linear", end_factor=0.2), [1, 0.8, 0.6, 0.4]),
        (CosineConfig(name="cosine"), [1, 0.853553, 0.5, 0.146447]),
        (CosineConfig(name="cosine", end_factor=0.5), [1, 0.926777, 0.75, 0.573223]),
    ],
)
def test_linear_and_cosine_by_a_table(config, factors):
    schedule = config.build(steps_per_epoch=2, epochs=2)
    assert [schedule(step) for step in range(4)] == pytest.approx(factors, abs=1e-6)


def test_piecewise_agrees_with_numpy_interpolation():
    knots = [(0.1, 0.4), (0.25, 1.0), (0.5, 0.2), (0.9, 0.0)]
    places = [step / 40 for step in range(41)]
    expected = np.interp(places, *zip(*knots, strict=True))
    assert [piecewise(place, knots) for place in places] == pytest.approx(expected.tolist())


def test_knots_are_placed_by_progress_and_may_form_a_jump(configure):
    knots = {
        "end": Knot(progress=1, factor=0.2),
        "low": Knot(progress=0.5, factor=0.6),
        "up": Knot(progress=0, factor=1),
    }
    schedule = PiecewiseConfig(name="mine", knots=knots).build(steps_per_epoch=2, epochs=2)
    assert [schedule(step) for step in range(4)] == pytest.approx([1, 0.8, 0.6, 0.4])
    knots["jump"] = Knot(progress=0.5, factor=0.0)
    schedule = PiecewiseConfig(name="mine", knots=knots).build(steps_per_epoch=2, epochs=2)
    assert [schedule(step) for step in range(4)] == pytest.approx([1, 0.8, 0, 0.1])
    tail = configure("scheduler=piecewise", "scheduler.knots.tail.factor=0.05").scheduler
    assert tail.knots["tail"].factor == 0.05


def test_all_knots_out_of_range_are_reported(configure):
    faults = (
        r"(?s)knots\.low\.progress must be in \[0, 1\], got 2\.0.*knots\.end\.factor must be in \[0, 1\], got -1\.0"
    )
    with pytest.raises(ConfigError, match=faults):
        configure("scheduler=piecewise", "scheduler.knots.low.progress=2", "scheduler.knots.end.factor=-1")
