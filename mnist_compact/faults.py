"""Configuration faults, gathered so that one refusal names them all."""

import difflib
from collections.abc import Iterable


class ConfigError(ValueError):
    """The configuration cannot run. Each of `faults` names the key, the rule and the value."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = list(faults)
        super().__init__("\n".join(self.faults))


class Faults:
    """Collects the broken rules of one config group.

    >>> faults = Faults("optim")
    >>> faults.unless(1.5 < 1, "momentum", "must be in [0, 1)", 1.5)
    >>> faults.raise_if_any()
    Traceback (most recent call last):
    mnist_compact.faults.ConfigError: optim.momentum must be in [0, 1), got 1.5
    """

    def __init__(self, group: str) -> None:
        self.group = group
        self.found: list[str] = []

    def unless(self, holds: bool, key: str, rule: str, value: object) -> None:
        """Note a fault when the rule does not hold. NaN fails every comparison, so it is refused everywhere."""
        if not holds:
            self.found.append(f"{self.group}.{key} {rule}, got {value!r}")

    def raise_if_any(self) -> None:
        if self.found:
            raise ConfigError(self.found)


def nearest(word: str, choices: Iterable[str]) -> str:
    """The words ` Did you mean …?` with the choice most like `word`, or none."""
    close = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else ""
