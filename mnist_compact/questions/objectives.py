"""What a search can ask for: each objective's direction, its value, and what a refused proposal is told."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from mnist_compact.results.record import NetworkFacts, Score


@dataclass(slots=True, frozen=True)
class Objective:
    direction: Literal["maximize", "minimize"]
    worst: float  # than any network's
    of: Callable[[Score, NetworkFacts], float]


OBJECTIVES: dict[str, Objective] = {
    "accuracy": Objective("maximize", 0.0, lambda score, network: score.accuracy),
    "loss": Objective("minimize", 100.0, lambda score, network: score.loss),
    "parameters": Objective("minimize", 1e9, lambda score, network: float(network.parameters)),
    "macs": Objective("minimize", 1e12, lambda score, network: float(network.macs)),
}
