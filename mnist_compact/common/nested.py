"""Trees of settings: their dotted keys, and what differs between two."""

from collections.abc import Mapping
from typing import Any


def changes(then: Any, now: Any, place: str = "") -> list[str]:
    """Lines `key: then → now`, keys dotted below `place`; what one tree lacks counts as None.

    >>> changes({"optim": {"lr": 0.1}, "seed": 0}, {"optim": {"lr": 0.2}})
    ['optim.lr: 0.1 → 0.2', 'seed: 0 → None']
    """
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        keys = list(dict.fromkeys((*then, *now)))
        return [line for key in keys for line in changes(then.get(key), now.get(key), f"{place}.{key}".lstrip("."))]
    return [] if then == now else [f"{place}: {then!r} → {now!r}"]


def flat(tree: Mapping[str, Any], place: str = "") -> dict[str, Any]:
    """Every leaf under its dotted key; an empty mapping is one.

    >>> flat({"optim": {"lr": 0.1, "groups": {}}, "seed": 0})
    {'optim.lr': 0.1, 'optim.groups': {}, 'seed': 0}
    """
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            leaves |= flat(value, f"{place}{key}.")
        else:
            leaves[f"{place}{key}"] = value
    return leaves
