"""Nested settings: their dotted keys, and the differences between two of them."""

from collections.abc import Mapping
from typing import Any


def changes(then: Any, now: Any, prefix: str = "") -> list[str]:
    """Return the differences between two nested mappings as lines `key: then → now`; a missing key counts as None.

    Args:
        then: The earlier value.
        now: The later value.
        prefix: The dotted key of both, which precedes their keys.

    Example:
        >>> changes({"optim": {"lr": 0.1}, "seed": 0}, {"optim": {"lr": 0.2}})
        ['optim.lr: 0.1 → 0.2', 'seed: 0 → None']
    """
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        keys = list(dict.fromkeys((*then, *now)))
        return [line for key in keys for line in changes(then.get(key), now.get(key), f"{prefix}.{key}".lstrip("."))]
    return [] if then == now else [f"{prefix}: {then!r} → {now!r}"]


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten a nested mapping to dotted keys; an empty mapping counts as a leaf.

    Args:
        tree: The mapping.
        prefix: The prefix of every key, with its dot.

    Example:
        >>> flat({"optim": {"lr": 0.1, "groups": {}}, "seed": 0})
        {'optim.lr': 0.1, 'optim.groups': {}, 'seed': 0}
    """
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            leaves |= flat(value, f"{prefix}{key}.")
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves
