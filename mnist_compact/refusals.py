"""Errors that people make, as one clear message: key, rule, value, and the nearest valid choice."""

import re
import shlex
import sys

from mnist_compact.faults import Refusal, nearest

PREFIX = "mnist_compact: "  # of the one message


def explain(error: Exception) -> str | None:
    """The message for people, or None for an error that is not theirs."""
    from hydra.errors import HydraException, MissingConfigException, OverrideParseException
    from omegaconf.errors import OmegaConfBaseException

    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _unknown_option(error.missing_cfg_file, list(error.options or ()))
    if isinstance(error, OverrideParseException):
        return f"{error.override!r} is not of the form key=value ({_grammar_fault(str(error))})"
    if isinstance(error, HydraException) and "sweep type : INTERVAL" in str(error):
        return _interval_in_a_grid(sys.argv[1:])
    if isinstance(error, HydraException | OmegaConfBaseException):
        return _unfit_key(error)
    if isinstance(error, Refusal):
        return str(error)
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return None


def _grammar_fault(message: str) -> str:
    """The line that says what is wrong, out of Hydra's several."""
    about = [line for line in message.splitlines() if not line.startswith(("Error ", "See ")) and line.strip(" ^")]
    return about[0] if about else message


def _interval_in_a_grid(arguments: list[str]) -> str:
    """An interval has no members to run one by one; a search takes it as it stands."""
    intervals = [argument for argument in arguments if re.match(r"[^=]+=.*\binterval\(", argument)]
    rest = [a for a in arguments if a not in ("-m", "--multirun") and not a.startswith("hydra/sweeper=")]
    line = shlex.join(["python", "-m", "mnist_compact", "-m", "hydra/sweeper=compact", *rest])
    named = " and ".join(intervals) or "hydra.sweeper.params"
    return f"{named}: a grid cannot run through an interval. A search can: {line}"


def _unknown_option(missing: str, options: list[str]) -> str:
    group, _, option = missing.rpartition("/")
    listed = f" Options of {group}: {', '.join(options)}." if options else ""
    return f"{group or 'configuration'}={option} does not exist.{nearest(option, options)}{listed}"


def _unfit_key(error: Exception) -> str:
    """An unknown key or a wrong type, as Hydra and OmegaConf report them."""
    from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OmegaConfBaseException):
        cause = cause.__cause__
    if isinstance(cause, ConfigAttributeError | ConfigKeyError):
        key = str(cause.key)
        siblings = [str(name) for name in cause.parent_node] if cause.parent_node is not None else []
        place = cause.full_key or key
        return f"{place} is not a key of the configuration.{nearest(key, siblings)} Keys there: {', '.join(siblings)}."
    if isinstance(cause, OmegaConfBaseException):
        first = (cause.msg or str(cause)).splitlines()[0]
        return f"{cause.full_key}: {first}" if cause.full_key else first
    first = str(error).splitlines()[0]
    group = re.match(r"Could not override '([^']+)'", first)
    return f"{first}{_nearest_group(group.group(1))}" if group else str(error)


def _nearest_group(name: str) -> str:
    from mnist_compact.config import GROUPS

    return nearest(name, [*GROUPS, "experiment", "seed"])
