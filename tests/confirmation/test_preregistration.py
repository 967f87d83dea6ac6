"""Preregistrations: content, digest and whether a confirmation followed one."""

import dataclasses
import json
import time
from datetime import UTC, datetime, timedelta

import pytest
from seeds_by_hand import SPLIT, scored, write_seed

from mnist_compact.common.errors import ConfigError
from mnist_compact.config.composition import compose
from mnist_compact.confirmation.conduct import ConfirmSpec
from mnist_compact.confirmation.confirmation import Confirmation
from mnist_compact.confirmation.interim import LIMITS, InterimAnalysis
from mnist_compact.confirmation.preregistration import Preregistration
from mnist_compact.confirmation.results import SeedResults

LATER = "2099-01-01T00:00:00+00:00"


def spec_of(folder, *overrides, count=2, threshold=99.4, stop_early=False, used=frozenset({0})):
    confirmation = Confirmation.of("probe", "a test", compose(*overrides), SPLIT, set(used))
    return ConfirmSpec(
        folder=folder, confirmation=confirmation, count=count, threshold=threshold, stop_early=stop_early
    )


def confirmed(folder, spec, plan, *, started_at=LATER):
    """The results of a confirmation whose folder holds a preregistration."""
    spec.confirmation.write(folder)
    plan.write(folder / "plan.json")
    for seed in spec.seeds:
        write_seed(folder, seed, scored(99.5 + seed / 1e5), started_at=started_at)
    return SeedResults.gather(folder, spec.seeds, spec.threshold)


def test_preregistration_survives_writing_and_reading(tmp_path):
    plan = spec_of(tmp_path, "model=m3").preregister()
    plan.write(tmp_path / "my.json")
    raw = json.loads((tmp_path / "my.json").read_text())
    assert (raw["split"], raw["seeds"], raw["threshold"], raw["stop_early"]) == ("test", [1000, 1001], 99.4, False)
    assert raw["config"]["model"]["name"] == "m3"
    assert Preregistration.read(tmp_path / "my.json") == plan


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the time zone of a process cannot be set")
def test_time_is_in_utc_wherever_it_is_written(tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        planned_at = datetime.fromisoformat(spec_of(tmp_path).preregister().planned_at)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert planned_at.utcoffset() == timedelta(0)
    assert abs(planned_at - datetime.now(UTC)) < timedelta(hours=1)


def test_version_1_is_read(tmp_path):
    """It names the threshold `bar`."""
    plan = spec_of(tmp_path, threshold=99.3).preregister()
    plan.write(tmp_path / "my.json")
    raw = json.loads((tmp_path / "my.json").read_text())
    raw |= {"schema_version": 1, "bar": raw.pop("threshold")}
    (tmp_path / "my.json").write_text(json.dumps(raw))
    assert Preregistration.read(tmp_path / "my.json") == plan


def test_results_are_compared_with_the_planned_threshold_unless_another_is_given(tmp_path):
    spec = spec_of(tmp_path, threshold=99.0)
    assert confirmed(tmp_path, spec, spec.preregister()).threshold == 99.0
    assert SeedResults.gather(tmp_path, spec.seeds).threshold == 99.0
    assert SeedResults.gather(tmp_path, spec.seeds, 99.3).threshold == 99.3
    (tmp_path / "plan.json").unlink()
    assert SeedResults.gather(tmp_path, spec.seeds).threshold == 99.4


def test_digest_covers_what_the_scores_depend_on(tmp_path):
    digest = spec_of(tmp_path).preregister().digest
    assert (
        spec_of(tmp_path, "machine.threads=1", "machine.data_root=/elsewhere", "seed=3").preregister().digest == digest
    )
    assert spec_of(tmp_path, "optim.lr=0.011").preregister().digest != digest


def test_followed_preregistration_is_reported(tmp_path):
    spec = spec_of(tmp_path)
    found = confirmed(tmp_path, spec, spec.preregister())
    assert found.deviations() == []
    (note,) = found.notes()
    assert note == f"preregistration of {found.plan.planned_at} (configuration {found.plan.digest[:12]}): followed"


@pytest.mark.parametrize(
    ("planned", "deviation"),
    [
        ({"overrides": ("optim.lr=0.02",)}, "optim.lr: 0.02 → 0.01"),
        ({"count": 20}, "seeds: 20 from 1000 on → 2 from 1000 on"),
        ({"used": {1000}}, "seeds: 2 from 1001 on → 2 from 1000 on"),
        ({"used": {1001}}, "seeds: 1000, 1002 → 2 from 1000 on"),
        ({"threshold": 99.5}, "threshold: 99.5 → 99.4"),
        ({"count": 20, "stop_early": True}, "stop early: True → False"),
    ],
)
def test_deviations_are_listed(tmp_path, planned, deviation):
    settings = {name: value for name, value in planned.items() if name != "overrides"}
    plan = spec_of(tmp_path, *planned.get("overrides", ()), **settings).preregister()
    found = confirmed(tmp_path, spec_of(tmp_path), plan)
    assert deviation in found.deviations()
    assert f": not followed; {found.deviations()[0]}" in found.notes()[0]


def test_stopping_early_as_planned_is_no_deviation(tmp_path):
    """The preregistration names all seeds of the limits; a confirmation may stop after fewer."""
    plan = spec_of(tmp_path, count=max(LIMITS), stop_early=True).preregister()
    found = confirmed(tmp_path, spec_of(tmp_path, count=min(LIMITS)), plan)
    assert dataclasses.replace(found, interim=InterimAnalysis.at(found.accuracies, 99.4)).deviations() == []


def test_seeds_started_before_are_a_deviation(tmp_path):
    spec = spec_of(tmp_path)
    found = confirmed(tmp_path, spec, spec.preregister(), started_at="2020-01-01T00:00:00+00:00")
    assert found.deviations() == ["seeds started before the preregistration: 1000, 1001"]


def test_started_confirmation_cannot_be_preregistered(tmp_path):
    write_seed(tmp_path, 1000, scored(99.5))
    with pytest.raises(ConfigError, match="has 1 seed already, and a preregistration must come before the first seed"):
        spec_of(tmp_path).preregister()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (lambda raw: "{", "is damaged"),
        (lambda raw: "[]", "schema version None"),
        (lambda raw: json.dumps(raw | {"schema_version": 9}), "schema version 9"),
        (lambda raw: json.dumps(raw | {"more": 1}), "has unknown keys: more"),
        (lambda raw: json.dumps(raw | {"planned_at": "soon"}), "planned_at must be a time in ISO 8601"),
        (lambda raw: json.dumps(raw | {"planned_at": "2030-01-01T00:00:00"}), "with a time zone"),
        (lambda raw: json.dumps({"schema_version": 2, "seeds": []}), "lacks config, digest, planned_at, source, split"),
        (lambda raw: json.dumps(raw | {"seeds": 20}), "seeds of the preregistration must be a list, got 20"),
        (lambda raw: json.dumps(raw | {"threshold": True}), "must be a number, got True"),
        (lambda raw: json.dumps(raw | {"config": {}}), "was changed after it was written"),
    ],
)
def test_read_refuses_other_files(tmp_path, changed, message):
    path = tmp_path / "my.json"
    spec_of(tmp_path).preregister().write(path)
    path.write_text(changed(json.loads(path.read_text())))
    with pytest.raises(ConfigError, match=message):
        Preregistration.read(path)
