"""Checks of a composed configuration that Hydra does not make."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from mnist_compact.common.errors import nearest
from mnist_compact.records.migrations import new_place

if TYPE_CHECKING:
    from omegaconf import DictConfig

LARGEST = 2**63 - 1  # largest whole number in a table


def beyond_tables(key: str, value: Any) -> list[str]:
    """Return errors for numbers that a record, or a column of a table of records, cannot store.

    Args:
        key: Key of the value.
        value: A value, or a mapping or list of values.
    """
    if isinstance(value, dict | list):
        entries = value.items() if isinstance(value, dict) else enumerate(value)
        return [fault for name, entry in entries for fault in beyond_tables(f"{key}.{name}", entry)]
    if isinstance(value, int) and abs(value) > LARGEST:
        rule = f"at most {LARGEST}" if value > 0 else f"at least {-LARGEST}"
        return [f"{key} must be {rule}, got {value}"]
    if isinstance(value, float) and not math.isfinite(value):
        return [f"{key} must be finite, got {value}"]
    return []


def unknown_key(key: str, known: Iterable[str]) -> str:
    """Return the error message for an unknown key, with the most similar known key."""
    hint = new_place(key) or nearest(key.rpartition(".")[2], known)
    return f"{key} is not a key of the configuration.{hint}"


def unknown_keys(node: DictConfig, prefix: str = "") -> list[str]:
    """Return errors for keys that `+` has added and that the schema does not have.

    Args:
        node: A composed configuration, or a part of it.
        prefix: Path of this part, with a final dot.
    """
    from omegaconf import DictConfig, OmegaConf

    cls = OmegaConf.get_type(node)
    keys = [str(key) for key in node]
    known = [field.name for field in dataclasses.fields(cls)] if dataclasses.is_dataclass(cls) else keys
    unknown = [key for key in keys if key not in known]
    faults = [unknown_key(f"{prefix}{key}", known) for key in unknown]
    for key, child in node.items_ex(resolve=False):
        if isinstance(child, DictConfig) and not child._is_none():
            faults += unknown_keys(child, f"{prefix}{key!s}.")
    return faults
