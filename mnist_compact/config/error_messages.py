"""Messages for user errors: key, rule, value, and the nearest valid choice."""

import re
import shlex
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mnist_compact.common.errors import ConfigError, UserError, nearest
from mnist_compact.config.validation import unknown_key

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader


def explain(error: Exception) -> str | None:
    """Return the message for a user error; None for any other error."""
    from hydra.errors import HydraException, MissingConfigException, OverrideParseException
    from omegaconf.errors import OmegaConfBaseException

    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _unknown_option(error.missing_cfg_file, list(error.options or ()))
    if isinstance(error, OverrideParseException):
        return _grammar_fault(str(error.override))
    if isinstance(error, HydraException) and "sweep type : INTERVAL" in str(error):
        return _interval_in_a_grid(sys.argv[1:])
    if isinstance(error, HydraException | OmegaConfBaseException):
        return _unknown_key_or_wrong_type(error)
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return None


def check_options(arguments: Iterable[str]) -> None:
    """Check that every group=value names an option. Hydra would merge a list of options, or fail for a number.

    Args:
        arguments: Command-line arguments.

    Raises:
        ConfigError: A value is a number, null or a list. `experiment` and `sweeps` accept null, which means none, and
            `callbacks` accepts a list of options.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import ValueType

    from mnist_compact.config.schema import GROUPS

    optional = ("experiment", "sweeps")
    groups = (*GROUPS, "callbacks", *optional)
    typed = [argument for argument in arguments if argument.partition("=")[0].lstrip("+~") in groups]
    faults = []
    for override in OverridesParser.create().parse_overrides(typed):
        if override.is_delete() or override.value_type is ValueType.GLOB_CHOICE_SWEEP:
            continue
        if override.is_sweep_override() and not override.is_discrete_sweep():
            continue
        group = override.key_or_group
        values = list(override.sweep_iterator()) if override.is_sweep_override() else [override.value()]
        for value in values:
            if isinstance(value, str) or (value is None and group in optional):
                continue
            if group == "callbacks" and isinstance(value, list) and value and all(isinstance(v, str) for v in value):
                continue
            faults.append(f"{_rule_of(group)}, got {_as_typed(value)}{_grid_advice(group, value)}")
    if faults:
        raise ConfigError(faults)


def _as_typed(value: object) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(_as_typed, value))}]"
    return "null" if value is None else str(value)


def _grid_advice(group: str, value: object) -> str:
    """Return advice for a list of options: the grid that runs each of them."""
    if not isinstance(value, list) or not value or not all(isinstance(name, str) for name in value):
        return ""
    return f". To run each of them, use a grid: -m {group}={','.join(value)}"


PLAIN = re.compile(
    r"[A-Za-z0-9_/\-+.$%*@?|,:=\[\]{}()'\"\\ ]"
)  # characters of a value that needs no quotes, and of the syntax


def _grammar_fault(override: str) -> str:
    """Return the message for an argument that Hydra cannot parse. Hydra's own message is that of its parser."""
    key, equals, value = override.partition("=")
    if not key or not equals:
        return f"{override!r} does not have the form key=value"
    special = sorted({character for character in value if not PLAIN.match(character)})
    open_brackets = any(value.count(left) != value.count(right) for left, right in ("[]", "{}", "()"))
    if open_brackets or value.count("'") % 2 or value.count('"') % 2:
        return f"{override!r} cannot be read: a bracket or a quotation mark is not closed"
    if special:
        quoted = shlex.quote(f"{key}='{value}'")
        return f"{override!r} cannot be read: a value with {' '.join(special)} must be in quotes: {quoted}"
    return f"{override!r} cannot be read: the value must be a word, a number, a list such as [a,b] or a quoted text"


def check_question(choices: Mapping[str, Any], loader: "ConfigLoader") -> None:
    """Check that the chosen search question has a file. Hydra ignores a missing one: the group `sweeps` is optional.

    Args:
        choices: The option of each group, as Hydra records them.
        loader: Hydra's loader of configurations.

    Raises:
        ConfigError: The file does not exist.
    """
    name, options = choices.get("sweeps"), loader.get_group_options("sweeps")
    if name is not None and name not in options:
        raise ConfigError([_unknown_option(f"sweeps/{name}", options)])


def _interval_in_a_grid(arguments: list[str]) -> str:
    """Return the message for an interval in a grid, with the command of a search instead."""
    intervals = [argument for argument in arguments if re.match(r"[^=]+=.*\binterval\(", argument)]
    rest = [a for a in arguments if a not in ("-m", "--multirun") and not a.startswith("hydra/sweeper=")]
    line = shlex.join(["python", "-m", "mnist_compact", "-m", "hydra/sweeper=compact", *rest])
    named = " and ".join(intervals) or "hydra.sweeper.params"
    return f"{named}: a grid cannot enumerate an interval. A search can sample it: {line}"


def _unknown_option(missing: str, options: list[str]) -> str:
    from mnist_compact.config.schema import configuration_folder

    group, _, option = missing.rpartition("/")
    if group == "callbacks":  # Hydra names no options if one of a list is missing
        options = sorted(path.stem for path in (configuration_folder() / group).glob("*.yaml"))
    listed = f" Options of {group}: {', '.join(options)}." if options else ""
    return f"{group or 'configuration'}={option} does not exist.{nearest(option, options)}{listed}"


def _unknown_key_or_wrong_type(error: Exception) -> str:
    """Return the message for an unknown key or a wrong type, which Hydra or OmegaConf reported."""
    from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException, ValidationError

    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OmegaConfBaseException):
        cause = cause.__cause__
    if isinstance(cause, ConfigAttributeError | ConfigKeyError):
        key = str(cause.key)
        siblings = [str(name) for name in cause.parent_node] if cause.parent_node is not None else []
        path = cause.full_key or key
        if re.fullmatch(r"callbacks\.\w+", path):
            return f"{unknown_key(path, siblings)} To add a callback of your own: +{path}.path=<module>.<class>"
        return f"{unknown_key(path, siblings)} Valid keys: {', '.join(siblings)}."
    if isinstance(cause, OmegaConfBaseException):
        first = (cause.msg or str(cause)).splitlines()[0]
        if missing := re.search(r"Missing mandatory value: (\w+)$", first):
            return f"{_rule_of(missing.group(1))}, got nothing"
        if (plain := _plain_rule(first)) and cause.full_key:
            return f"{cause.full_key} {plain}"
        if first.endswith("is not Optional"):
            return f"{cause.full_key} must have a value, got null"
        if isinstance(cause, ValidationError) and (
            part := re.search(r"is not a subclass of (Layer|Stage)Config", first)
        ):
            return _added_layer_or_stage(str(error), part.group(1).lower())
        return f"{cause.full_key}: {first}" if cause.full_key else first
    first = str(error).splitlines()[0]
    group = re.match(r"Could not override '([^']+)'", first)
    return f"{first}{_nearest_group(group.group(1))}" if group else str(error)


KINDS = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}  # by OmegaConf's names


def _plain_rule(message: str) -> str | None:
    """Return the rule and value of OmegaConf's message about a value of a wrong type; None for any other message."""
    if found := re.match(r"Value '(.*)' of type '\w+' (?:could not be converted to|is not a valid) (\w+)$", message):
        value, kind = found.groups()
        return f"must be {KINDS[kind]}, got {value!r}" if kind in KINDS else None
    if found := re.match(r"Invalid value '(.*)', expected one of \[(.*)\]$", message):
        value, choices = found.groups()
        return f"must be one of {choices}, got {value!r}.{nearest(value, choices.split(', '))}".removesuffix(".")
    return None


def _added_layer_or_stage(message: str, part: str) -> str:
    """Return the message for a layer or stage added on the command line, of which OmegaConf makes a plain mapping."""
    typed = re.search(r"Error merging override (\S+?)=", message)
    option = {"layer": "m3", "stage": "stages"}[part]
    return (
        f"{typed.group(1).lstrip('+') if typed else f'model.{part}s'} is not a key of this model's {part}s, and the "
        f"command line cannot add a {part}. A file can: conf/model/<name>.yaml with 'defaults: [{option}, _self_]', "
        f"the {part} under '{part}s' and the new 'order' (see docs/how-to/compose-and-add-a-model.md)"
    )


def _rule_of(group: str) -> str:
    from mnist_compact.config.schema import GROUPS, options_rule

    if group in ("experiment", "sweeps"):
        return f"{group} must be the name of one option"
    return options_rule(group) if group in (*GROUPS, "callbacks") else f"{group} must be given"


def _nearest_group(name: str) -> str:
    from mnist_compact.config.schema import GROUPS

    return nearest(name, [*GROUPS, "experiment", "seed"])
