"""What goes wrong: exit codes, and configuration faults gathered so that one refusal names them all."""

import difflib
from collections.abc import Iterable
from importlib import import_module

PREFIX = "mnist_compact: "  # of the one message on stderr; whoever started the process finds the message by it
EXIT_FAILED = 1  # work that was begun did not come to its end, or did not come out
EXIT_REFUSED = 2  # nothing was begun
EXIT_DIVERGED = 3
EXIT_WITHOUT_DATA = 4  # of a worker: the next would do no better
EXIT_NO_COMPLETE_TRIAL = 5  # of a search: it ended without one complete trial
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it


class UserError(ValueError):
    """What people can mend, in words that say how: commands tell the words alone, and keep every other traceback."""


class ConfigError(UserError):
    """The configuration cannot run. Each of `faults` names the key, the rule and the value."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = list(faults)
        super().__init__("\n".join(self.faults))


class ExecutionError(UserError):
    """Work that was begun cannot be finished. `status` is what the program should exit with."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class OverBudgetError(ConfigError):
    """A network with `parameters` where fewer than `below` are allowed."""

    def __init__(self, faults: Iterable[str], *, parameters: int, below: int) -> None:
        super().__init__(faults)
        self.parameters = parameters
        self.below = below


class Validator:
    """Collects the broken rules of one config group.

    >>> validator = Validator("optim")
    >>> validator.check(1.5 < 1, "momentum", "must be in [0, 1)", 1.5)
    >>> validator.raise_if_any()
    Traceback (most recent call last):
    mnist_compact.common.errors.ConfigError: optim.momentum must be in [0, 1), got 1.5
    """

    def __init__(self, group: str) -> None:
        self.group = group
        self.found: list[str] = []

    def check(self, holds: bool, key: str, rule: str, value: object) -> None:
        """Note a fault when the rule does not hold. NaN fails every comparison, so it is refused everywhere."""
        if not holds:
            self.found.append(f"{self.group}.{key} {rule}, got {value!r}")

    def raise_if_any(self) -> None:
        if self.found:
            raise ConfigError(self.found)


def check_installed(what: str, module: str, *, package: str, extra: str) -> None:
    """Raises ConfigError, saying what to install, where `what` needs a module that only one of our extras brings."""
    try:
        import_module(module)
    except ImportError as error:
        raise ConfigError(
            [f"{what} needs {module}: pip install {package}, or this package's extra {extra!r}"]
        ) from error


def nearest(word: str, choices: Iterable[str]) -> str:
    """The words ` Did you mean …?` with the choice most like `word`, or none."""
    close = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else ""
