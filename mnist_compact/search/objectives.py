"""What a search can ask for: each objective's direction, its value, and what a refused proposal is told."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from mnist_compact.records.record import NetworkFacts, Score


@dataclass(slots=True, frozen=True)
class Objective:
    direction: Literal["maximize", "minimize"]
    best: float  # no network's is better
    worst: float  # than any network's
    of: Callable[[Score, NetworkFacts], float]

    def rule_of_target(self) -> str:
        """What a score must be for a search to stop at it."""
        if self.direction == "maximize":
            return f"must be at least {self.worst:g} and below {self.best:g}"
        return f"must be above {self.best:g} and at most {self.worst:g}"

    def can_be_passed(self, target: float) -> bool:
        if self.direction == "maximize":
            return self.worst <= target < self.best
        return self.best < target <= self.worst


OBJECTIVES: dict[str, Objective] = {
    "accuracy": Objective("maximize", 100.0, 0.0, lambda score, network: score.accuracy),
    "loss": Objective("minimize", 0.0, 100.0, lambda score, network: score.loss),
    "parameters": Objective("minimize", 0.0, 1e9, lambda score, network: float(network.parameters)),
    "macs": Objective("minimize", 0.0, 1e12, lambda score, network: float(network.macs)),
}
