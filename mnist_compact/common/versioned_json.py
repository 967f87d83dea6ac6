"""JSON files that state their schema version, read into dataclasses with readable error messages."""

from collections.abc import Collection, Mapping
from dataclasses import MISSING, fields
from functools import cache
from pathlib import Path
from typing import Any, get_origin

from mnist_compact.common.bounded_read import read_json
from mnist_compact.common.errors import ConfigError

KINDS: dict[Any, tuple[str, tuple[type, ...]]] = {
    str: ("a string", (str,)),
    bool: ("true or false", (bool,)),
    int: ("a whole number", (int,)),
    float: ("a number", (int, float)),
    dict: ("an object", (dict,)),
    list: ("a list", (list,)),
}


def read_versioned(path: Path, readable: Collection[int]) -> dict[str, Any]:
    """Read a JSON object that states its schema version.

    Args:
        path: The file.
        readable: The schema versions that the caller can read.

    Returns:
        The object.

    Raises:
        ConfigError: The file cannot be read, is not JSON or has another schema version.
    """
    try:
        raw = read_json(path)
    except OSError as error:
        raise ConfigError([f"{path} cannot be read ({error.strerror or error})"]) from error
    except ValueError as error:
        raise ConfigError([f"{path} is damaged: {error}"]) from error
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if type(version) is not int or version not in readable:
        known = ", ".join(map(str, readable))
        raise ConfigError([f"{path} has schema version {version!r}; this program reads {known}"])
    return dict(raw)


def fields_of(cls: type, raw: Any, name: str) -> dict[str, Any]:
    """Return the arguments of a dataclass that a JSON object holds; keys that the class does not know are left out.

    Raises:
        ValueError: `raw` is not an object, or a required key is missing. The message begins with `name`.
    """
    if not isinstance(raw, Mapping):
        raise ValueError(f"{name} must be a mapping, got {raw!r}")
    if missing := _required(cls) - raw.keys():
        raise ValueError(f"{name} lacks {', '.join(sorted(missing))}")
    known = _names(cls)
    return {key: value for key, value in raw.items() if key in known}


def all_fields_of(cls: type, raw: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return what `fields_of` returns, and require that every key is known and every value is of its field's type.

    Raises:
        ValueError: A key is missing or unknown, or a value is of another type. The message begins with `name`.
    """
    arguments = fields_of(cls, raw, name)
    if unknown := sorted(raw.keys() - arguments.keys()):
        raise ValueError(f"{name} has unknown keys: {', '.join(unknown)}")
    for field in fields(cls):
        rule, types = KINDS.get(get_origin(field.type) or field.type, ("", ()))
        value = arguments.get(field.name, field.default)
        if not types or value is MISSING:
            continue
        if not isinstance(value, types) or (isinstance(value, bool) and field.type is not bool):
            raise ValueError(f"{field.name} of {name} must be {rule}, got {value!r}")
    return arguments


@cache  # ten thousand records are read at a time
def _names(cls: type) -> frozenset[str]:
    return frozenset(field.name for field in fields(cls))


@cache
def _required(cls: type) -> frozenset[str]:
    return frozenset(field.name for field in fields(cls) if field.default is field.default_factory is MISSING)
