"""Exit codes, errors for users, and a validator that reports all configuration errors at once."""

import difflib
from collections.abc import Iterable
from importlib import import_module

PREFIX = "mnist_compact: "  # begins the one error message on stderr; a parent process finds the message by it
EXIT_FAILED = 1  # work that had begun was not completed, or its output could not be written
EXIT_REFUSED = 2  # invalid request: no work was begun
EXIT_DIVERGED = 3  # the loss of a run was not finite
EXIT_WITHOUT_DATA = 4  # only of a search worker: the data could not be loaded, so other workers would fail, too
EXIT_NO_COMPLETE_TRIAL = 5  # a search ended without a complete trial
EXIT_INTERRUPTED = 130  # 128 + SIGINT, the convention of shells


class UserError(ValueError):
    """An error that the user can correct: commands print only its message, without a traceback."""


class ConfigError(UserError):
    """The configuration is invalid. Each of `faults` names the key, the rule and the value."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = list(faults)
        super().__init__("\n".join(self.faults))


class ExecutionError(UserError):
    """Work that had begun cannot be completed. `status` is the exit code of the program."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class OverBudgetError(ConfigError):
    """The network has `parameters` parameters, but must have fewer than `below`."""

    def __init__(self, faults: Iterable[str], *, parameters: int, below: int) -> None:
        super().__init__(faults)
        self.parameters = parameters
        self.below = below


class Validator:
    """Collects the errors of one config group, so that one message reports all of them.

    Example:
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
        """Record an error if a rule does not hold.

        Args:
            holds: Whether the rule holds. NaN fails every comparison, so it is always invalid.
            key: The key within the group.
            rule: The rule as a phrase, such as "must be in [0, 1)".
            value: The value that was given.
        """
        if not holds:
            self.found.append(f"{self.group}.{key} {rule}, got {value!r}")

    def raise_if_any(self) -> None:
        """Raise ConfigError with all recorded errors, if there are any."""
        if self.found:
            raise ConfigError(self.found)


def check_installed(what: str, module: str, *, package: str, extra: str) -> None:
    """Check that an optional dependency is installed.

    Args:
        what: The option that needs it, for the message.
        module: The module to import.
        package: The package that provides the module.
        extra: The extra of this project that installs the package.

    Raises:
        ConfigError: If the module cannot be imported; the message names the package and the extra.
    """
    try:
        import_module(module)
    except ImportError as error:
        raise ConfigError(
            [f"{what} needs {module}: pip install {package}, or this package's extra {extra!r}"]
        ) from error


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return the suggestion ` Did you mean …?` with the most similar choice, or an empty string."""
    close = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else ""
