"""The objectives of a search: direction, range, and how the value is computed from a run's score and network."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from mnist_compact.records.record import NetworkFacts, Score


@dataclass(slots=True, frozen=True)
class Objective:
    direction: Literal["maximize", "minimize"]
    unit: str  # of a difference between two values
    best: float  # a bound that no network exceeds
    worst: float  # at least as bad as any network's value; refused proposals get this value
    of: Callable[[Score, NetworkFacts], float]

    def rule_of_target(self) -> str:
        """Describe the range of a target for this objective."""
        if self.direction == "maximize":
            return f"must be at least {self.worst:g} and below {self.best:g}"
        return f"must be above {self.best:g} and at most {self.worst:g}"

    def can_be_passed(self, target: float) -> bool:
        if self.direction == "maximize":
            return self.worst <= target < self.best
        return self.best < target <= self.worst


def _calibrated_loss(score: Score, network: NetworkFacts) -> float:
    assert score.calibrated_loss is not None, "every run measures it; only records of earlier versions lack it"
    return score.calibrated_loss


OBJECTIVES: dict[str, Objective] = {
    "accuracy": Objective("maximize", "percentage points", 100.0, 0.0, lambda score, network: score.accuracy),
    "loss": Objective("minimize", "nats", 0.0, 100.0, lambda score, network: score.loss),
    "calibrated_loss": Objective("minimize", "nats", 0.0, 100.0, _calibrated_loss),
    "parameters": Objective("minimize", "parameters", 0.0, 1e9, lambda score, network: float(network.parameters)),
    "macs": Objective("minimize", "multiply-accumulates", 0.0, 1e12, lambda score, network: float(network.macs)),
}
