"""The description of a fault that is injected into the source, and of the tests that should detect it."""

from dataclasses import dataclass

EFFECTS = "tests/training/test_effects.py"
WEIGHTS = "tests/training/test_kept_weights.py"
THREADS = f"{EFFECTS}::test_run_uses_requested_threads_and_resume_keeps_them"
TALLIED = f"{EFFECTS}::test_tally_weights_each_batch_by_its_number_of_images"
SETTINGS = f"{EFFECTS}::test_every_setting_changes_the_run"
DROPPED = f"{EFFECTS}::test_dropout_differs_by_epoch_and_is_repeatable"
CONTRACT = "tests/training/test_contracts.py"
MOVES = f"{CONTRACT}::test_optimizer_moves_every_weight_against_its_gradient"
IN_RANGE = f"{CONTRACT}::test_schedule_stays_between_0_and_1"
REACHES = f"{CONTRACT}::test_schedule_sets_learning_rate_of_every_group_at_each_step"
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
