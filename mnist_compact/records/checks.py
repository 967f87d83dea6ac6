"""Whether a record can be true: values of the right kind and range, and figures that agree with one another.

A record may have been edited, or damaged in a way that JSON does not notice. One that contradicts itself is not read at
all: no reader has to decide which of its figures to believe.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from mnist_compact.records.correct_bits import count_of_bits

LARGEST = 2**63 - 1  # what a column of whole numbers holds
ROUNDING = 1e-6  # per cent; accuracies are written with all their digits


def _is_whole(value: Any, least: int = 0) -> bool:
    return type(value) is int and least <= value <= LARGEST


def _is_number(value: Any, most: float = math.inf) -> bool:
    return type(value) in (int, float) and 0 <= value <= most and value != math.inf


@dataclass(slots=True, frozen=True)
class _Rule:
    told: str
    holds: Callable[[Any], bool]


_COUNT = _Rule("a whole number of at least 0", _is_whole)
_FROM_ONE = _Rule("a whole number of at least 1", lambda value: _is_whole(value, 1))
_AMOUNT = _Rule("a number of at least 0", _is_number)
_TEXT = _Rule("a text", lambda value: isinstance(value, str))
_OF_SCORES = {
    **dict.fromkeys(("split", "weights", "at"), _TEXT),
    "epoch": _FROM_ONE,
    "accuracy": _Rule("a number from 0 to 100", lambda value: _is_number(value, 100)),
    "loss": _AMOUNT,
    "correct": _COUNT,
    "total": _FROM_ONE,
    "final": _Rule("true or false", lambda value: isinstance(value, bool)),
}


def faults_of(record: Any) -> list[str]:
    """The values of a wrong kind or range, each with its key and its rule."""
    checked = [
        *(
            (f"network.{key}", getattr(record.network, key), _COUNT)
            for key in ("parameters", "trainable_parameters", "macs")
        ),
        ("epochs_done", record.epochs_done, _COUNT),
        ("seconds", record.seconds, _AMOUNT),
    ]
    for place, score in enumerate(record.scores):
        checked += [(f"scores[{place}].{key}", getattr(score, key), rule) for key, rule in _OF_SCORES.items()]
    return [f"{key} must be {rule.told}, got {value!r}" for key, value, rule in checked if not rule.holds(value)]


def contradictions_of(record: Any, folder: Path) -> list[str]:
    """What a record without `faults_of` says twice and differently.

    Of each score the accuracy and the counts; of a completed run also the final score and the confusion matrix, and the
    file that says which images were right. A run that was cut off may have written one of these and not yet the other.
    """
    found = []
    for score in record.scores:
        name = f"{score.split} accuracy ({score.weights} weights, {score.at} epoch)"
        counted = f"{score.correct:,} correct of {score.total:,} images"
        if score.correct > score.total or abs(score.accuracy - 100 * score.correct / score.total) > ROUNDING:
            found.append(f"{name} is {score.accuracy:g} % beside {counted}")
    finals = [score for score in record.scores if score.final]
    if len(finals) > 1:
        found.append(f"{len(finals)} scores are marked as final")
    if record.status != "completed" or len(finals) != 1:
        return found
    (final,) = finals
    counted = f"the final score's {final.correct:,} of {final.total:,}"
    matrix: Any = record.confusion
    if is_square_of_counts(matrix):
        right, images = sum(row[place] for place, row in enumerate(matrix)), sum(map(sum, matrix))
        if (right, images) != (final.correct, final.total):
            found.append(f"the confusion matrix has {right:,} correct of {images:,} images beside {counted}")
    bits = count_of_bits(folder)
    if bits is not None and bits != (final.correct, -(-final.total // 8)):
        found.append(f"correct.bits marks {bits[0]:,} images as correct, in {bits[1]:,} bytes, beside {counted}")
    return found


def is_square_of_counts(matrix: Any) -> bool:
    """Whether this can be a confusion matrix."""
    return (
        isinstance(matrix, list)
        and all(isinstance(row, list) and len(row) == len(matrix) for row in matrix)
        and all(map(_is_whole, chain.from_iterable(matrix)))
    )
