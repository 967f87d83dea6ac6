"""The values that a search optimizes."""

from mnist_compact.records.record import NetworkFacts, Score
from mnist_compact.search.objectives import OBJECTIVES

SCORE = Score(
    split="holdout",
    weights="raw",
    at="last",
    epoch=15,
    accuracy=99.0,
    loss=0.03,
    calibrated_loss=0.02,
    correct=99,
    total=100,
)
NETWORK = NetworkFacts(
    parameters=7000, trainable_parameters=6900, macs=500_000, receptive_field=28, input_shape=[1, 28, 28]
)
VALUES = {"accuracy": 99.0, "loss": 0.03, "calibrated_loss": 0.02, "parameters": 7000.0, "macs": 500_000.0}


def test_objectives_return_the_values_that_their_names_state():
    assert {name: objective.of(SCORE, NETWORK) for name, objective in OBJECTIVES.items()} == VALUES


def test_only_accuracy_is_maximized():
    assert [name for name, objective in OBJECTIVES.items() if objective.direction == "maximize"] == ["accuracy"]
