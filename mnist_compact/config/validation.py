"""What a composed configuration may hold that no run can have, and Hydra lets pass."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from mnist_compact.common.errors import nearest
from mnist_compact.records.migrations import new_place

if TYPE_CHECKING:
    from omegaconf import DictConfig

LARGEST = 2**63 - 1  # whole number in a table


def beyond_tables(place: str, value: Any) -> list[str]:
    """Numbers that the record, or a column of a table of records, cannot hold."""
    if isinstance(value, dict | list):
        entries = value.items() if isinstance(value, dict) else enumerate(value)
        return [fault for key, entry in entries for fault in beyond_tables(f"{place}.{key}", entry)]
    if isinstance(value, int) and abs(value) > LARGEST:
        rule = f"at most {LARGEST}" if value > 0 else f"at least {-LARGEST}"
        return [f"{place} must be {rule}, got {value}"]
    if isinstance(value, float) and not math.isfinite(value):
        return [f"{place} must be finite, got {value}"]
    return []


def unknown_key(place: str, known: Iterable[str]) -> str:
    """The words for a key that is none, with what may have been meant."""
    meant = new_place(place) or nearest(place.rpartition(".")[2], known)
    return f"{place} is not a key of the configuration.{meant}"


def unknown_keys(node: DictConfig, place: str = "") -> list[str]:
    """What `+` has added to a schema that has no such key."""
    from omegaconf import DictConfig, OmegaConf

    cls = OmegaConf.get_type(node)
    keys = [str(key) for key in node]
    known = [field.name for field in dataclasses.fields(cls)] if dataclasses.is_dataclass(cls) else keys
    unknown = [key for key in keys if key not in known]
    faults = [unknown_key(f"{place}{key}", known) for key in unknown]
    for key, child in node.items_ex(resolve=False):
        if isinstance(child, DictConfig) and not child._is_none():
            faults += unknown_keys(child, f"{place}{key!s}.")
    return faults
