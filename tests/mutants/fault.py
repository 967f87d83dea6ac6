"""The description of a fault that is injected into the source, and of the tests that should detect it."""

from dataclasses import dataclass

EFFECTS = "tests/training/test_effects.py"
WEIGHTS = "tests/training/test_kept_weights.py"
THREADS = f"{EFFECTS}::test_threads_are_those_asked_for_and_on_continuing_those_it_had"
TALLIED = f"{EFFECTS}::test_every_image_is_tallied_and_a_batch_weighs_as_many_as_it_has"
SETTINGS = f"{EFFECTS}::test_every_setting_changes_the_run"
DROPPED = f"{EFFECTS}::test_every_epoch_drops_other_activations_and_the_same_once_more"
CONTRACT = "tests/training/test_contracts.py"
MOVES = f"{CONTRACT}::test_every_optimizer_moves_every_weight_against_its_gradient"
IN_RANGE = f"{CONTRACT}::test_every_schedule_keeps_to_0_to_1"
REACHES = f"{CONTRACT}::test_every_schedule_reaches_every_group_of_every_optimizer_at_its_step"
REAL_RECORDS = "tests/records/test_real_records.py"


@dataclass(kw_only=True, slots=True, frozen=True)
class Fault:
    file: str  # from the root of the checkout
    old: str  # occurs in the file exactly once
    new: str
    why: str  # the wrong behaviour that a user would get without noticing it
    tests: tuple[str, ...]  # files, or files::names, as pytest takes them

    @property
    def name(self) -> str:
        return f"{self.file}: {self.why}"


def fault(file: str, old: str, new: str, why: str, *tests: str) -> Fault:
    """Return a fault; without `tests`, the tests of the effect of every setting should detect it."""
    return Fault(file=file, old=old, new=new, why=why, tests=tests or (EFFECTS,))
