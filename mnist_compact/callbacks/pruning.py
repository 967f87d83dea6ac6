"""The pruning callback: the one callback that may end a run early."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from mnist_compact.records.record import NetworkFacts, Score


# Told the final score after each epoch, again after one that was cut off before it was kept; True ends the run there.
PruningCallback: TypeAlias = "Callable[[Score, NetworkFacts], bool]"


class LeaseLost(RuntimeError):
    """Raised by a pruning callback when another worker has reclaimed the trial: this process writes nothing more."""


def never_prune(score: Score, network: NetworkFacts) -> bool:
    return False
