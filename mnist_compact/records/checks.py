"""Validation of a record: types and ranges of its values, and consistency of its figures.

A record may have been edited, or damaged in a way that leaves valid JSON. An inconsistent record is not read at all, so
that no reader has to decide which of its figures to trust.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from mnist_compact.records.correct_bits import count_of_bits

LARGEST = 2**63 - 1  # the largest value of an Int64 column
ROUNDING = 1e-6  # percentage points; accuracies are written with all their digits


def _is_whole(value: Any, least: int = 0) -> bool:
    return type(value) is int and least <= value <= LARGEST


def _is_number(value: Any, most: float = math.inf) -> bool:
    return type(value) in (int, float) and 0 <= value <= most and value != math.inf


@dataclass(slots=True, frozen=True)
class _Rule:
    description: str
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
    "calibrated_loss": _Rule("a number of at least 0 or null", lambda value: value is None or _is_number(value)),
    "correct": _COUNT,
    "total": _FROM_ONE,
    "final": _Rule("true or false", lambda value: isinstance(value, bool)),
}


def faults_of(record: Any) -> list[str]:
    """List the values of a wrong type or range, each with its key and its rule."""
    checked = [
        *(
            (f"network.{key}", getattr(record.network, key), _COUNT)
            for key in ("parameters", "trainable_parameters", "macs")
        ),
        ("epochs_done", record.epochs_done, _COUNT),
        ("seconds", record.seconds, _AMOUNT),
    ]
    for position, score in enumerate(record.scores):
        checked += [(f"scores[{position}].{key}", getattr(score, key), rule) for key, rule in _OF_SCORES.items()]
    return [f"{key} must be {rule.description}, got {value!r}" for key, value, rule in checked if not rule.holds(value)]


def contradictions_of(record: Any, folder: Path) -> list[str]:
    """List the inconsistent figures of a record whose single values are valid (see `faults_of`).

    The accuracy of each score must agree with its counts. For a completed run the final score must also agree with the
    confusion matrix and with correct.bits; an interrupted run may have written only one of them.

    Args:
        record: The `RunRecord`.
        folder: Its run folder.
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
        correct, images = sum(row[label] for label, row in enumerate(matrix)), sum(map(sum, matrix))
        if (correct, images) != (final.correct, final.total):
            found.append(f"the confusion matrix has {correct:,} correct of {images:,} images beside {counted}")
    bits = count_of_bits(folder)
    if bits is not None and bits != (final.correct, -(-final.total // 8)):
        found.append(f"correct.bits marks {bits[0]:,} images as correct, in {bits[1]:,} bytes, beside {counted}")
    return found


def is_square_of_counts(matrix: Any) -> bool:
    """Return whether a value can be a confusion matrix: a square list of lists of counts."""
    return (
        isinstance(matrix, list)
        and all(isinstance(row, list) and len(row) == len(matrix) for row in matrix)
        and all(map(_is_whole, chain.from_iterable(matrix)))
    )
