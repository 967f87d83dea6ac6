"""A fault that could be put into the source, and the tests that should tell."""

from dataclasses import dataclass

EFFECTS = "tests/training/test_effects.py"
WEIGHTS = "tests/training/test_kept_weights.py"
CONTRACT = "tests/training/test_contracts.py"
REAL_RECORDS = "tests/results/test_real_records.py"


@dataclass(kw_only=True, slots=True, frozen=True)
class Fault:
    file: str  # from the root of the checkout
    old: str  # stands in the file exactly once
    new: str
    why: str  # what a user would get and not notice
    tests: tuple[str, ...]  # files, or files::names, as pytest takes them

    @property
    def name(self) -> str:
        return f"{self.file}: {self.why}"
