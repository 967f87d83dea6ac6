"""Confirmations that are written without training."""

from functools import cache

import pytest
from seeds_by_hand import SPLIT, scored, write_seed

from mnist_compact.config.composition import compose
from mnist_compact.confirmation.confirmation import Confirmation
from mnist_compact.confirmation.results import SeedResults
from mnist_compact.records.record import Status


@cache
def defaults():
    return compose()


@pytest.fixture
def seed_results(tmp_path):
    """SeedResults of these accuracies, one for each seed from 1000; None for a seed that diverged."""

    def made(*accuracies, name="probe", first=1000, run=None, threshold=99.4):
        folder = tmp_path / name
        Confirmation.of(name, "a test", run or defaults(), SPLIT, set()).write(folder)
        for seed, accuracy in enumerate(accuracies, first):
            if accuracy is None:
                write_seed(folder, seed, status=Status.DIVERGED)
            else:
                write_seed(folder, seed, scored(accuracy))
        return SeedResults.gather(folder, list(range(first, first + len(accuracies))), threshold)

    return made
