"""The pruning callback: the one callback that may end a run early."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from mnist_compact.records.record import NetworkFacts, Score


# It receives the final score after each epoch, and again for an epoch that is repeated because the run was interrupted
# before its checkpoint. True ends the run after this epoch.
PruningCallback: TypeAlias = "Callable[[Score, NetworkFacts], bool]"


class LeaseLost(RuntimeError):
    """Raised by a pruning callback when another worker has reclaimed the trial: this process writes nothing more."""


def never_prune(score: Score, network: NetworkFacts) -> bool:
    return False
