"""Plans written before: what they hold, and when a confirmation is said to have followed one."""

import dataclasses
import json

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


def question(folder, *overrides, count=2, threshold=99.4, stop_early=False, used=frozenset({0})):
    confirmation = Confirmation.of("probe", "a test", compose(*overrides), SPLIT, set(used))
    return ConfirmSpec(
        folder=folder, confirmation=confirmation, count=count, threshold=threshold, stop_early=stop_early
    )


def carried_out(folder, asked, plan, *, started_at=LATER):
    """SeedResults of what is `asked`, with a plan beside it."""
    asked.confirmation.write(folder)
    plan.write(folder / "plan.json")
    for seed in asked.seeds:
        write_seed(folder, seed, scored(99.5 + seed / 1e5), started_at=started_at)
    return SeedResults.gather(folder, asked.seeds, asked.threshold)


def test_a_plan_says_what_will_be_confirmed(tmp_path):
    plan = question(tmp_path, "model=m3").plan()
    plan.write(tmp_path / "my.json")
    raw = json.loads((tmp_path / "my.json").read_text())
    assert (raw["split"], raw["seeds"], raw["threshold"], raw["stop_early"]) == ("test", [1000, 1001], 99.4, False)
    assert raw["config"]["model"]["name"] == "m3"
    assert Preregistration.read(tmp_path / "my.json") == plan


def test_the_digest_is_of_what_the_scores_depend_on(tmp_path):
    digest = question(tmp_path).plan().digest
    assert question(tmp_path, "machine.threads=1", "machine.data_root=/elsewhere", "seed=3").plan().digest == digest
    assert question(tmp_path, "optim.lr=0.011").plan().digest != digest


def test_one_that_was_followed_is_said_to_be(tmp_path):
    asked = question(tmp_path)
    found = carried_out(tmp_path, asked, asked.plan())
    assert found.deviations() == []
    (note,) = found.notes()
    assert note == f"planned at {found.plan.planned_at} (configuration {found.plan.digest[:12]}): followed"


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
def test_what_differs_is_told(tmp_path, planned, deviation):
    settings = {name: value for name, value in planned.items() if name != "overrides"}
    plan = question(tmp_path, *planned.get("overrides", ()), **settings).plan()
    found = carried_out(tmp_path, question(tmp_path), plan)
    assert deviation in found.deviations()
    assert f": not followed; {found.deviations()[0]}" in found.notes()[0]


def test_ending_early_as_planned_follows_the_plan(tmp_path):
    """The plan names all the seeds that the limits are for; a confirmation may be done after fewer of them."""
    plan = question(tmp_path, count=max(LIMITS), stop_early=True).plan()
    found = carried_out(tmp_path, question(tmp_path, count=min(LIMITS)), plan)
    assert dataclasses.replace(found, early=InterimAnalysis.at(found.accuracies, 99.4)).deviations() == []


def test_seeds_begun_before_the_plan_are_told(tmp_path):
    asked = question(tmp_path)
    found = carried_out(tmp_path, asked, asked.plan(), started_at="2020-01-01T00:00:00+00:00")
    assert found.deviations() == ["seeds 1000, 1001 were begun before it"]


def test_what_was_seen_can_no_longer_be_planned(tmp_path):
    write_seed(tmp_path, 1000, scored(99.5))
    with pytest.raises(ConfigError, match="has 1 seed already, and a plan must come before the first"):
        question(tmp_path).plan()


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        (lambda raw: "{", "is no plan"),
        (lambda raw: "[]", "is no plan"),
        (lambda raw: json.dumps(raw | {"schema_version": 9}), "schema version 9"),
        (lambda raw: json.dumps(raw | {"more": 1}), "is no plan"),
        (lambda raw: json.dumps(raw | {"planned_at": "soon"}), "is no plan"),
        (lambda raw: json.dumps(raw | {"config": {}}), "was changed since it was written"),
    ],
)
def test_what_is_no_plan_is_said(tmp_path, changed, complaint):
    path = tmp_path / "my.json"
    question(tmp_path).plan().write(path)
    path.write_text(changed(json.loads(path.read_text())))
    with pytest.raises(ConfigError, match=complaint):
        Preregistration.read(path)
