"""Confirmations by hand, without training."""

from functools import cache

import pytest
from seeds_by_hand import SPLIT, scored, write_seed

from mnist_compact.composition import compose
from mnist_compact.confirm.confirmation import Confirmation
from mnist_compact.confirm.evidence import Evidence
from mnist_compact.results.record import Status


@cache
def defaults():
    return compose()


@pytest.fixture
def evidence(tmp_path):
    """Evidence of these accuracies, one a seed from 1000 on; None for a seed that diverged."""

    def made(*accuracies, name="probe", first=1000, run=None, bar=99.4):
        folder = tmp_path / name
        Confirmation.of(name, "a test", run or defaults(), SPLIT, set()).write(folder)
        for seed, accuracy in enumerate(accuracies, first):
            if accuracy is None:
                write_seed(folder, seed, status=Status.DIVERGED)
            else:
                write_seed(folder, seed, scored(accuracy))
        return Evidence.gather(folder, list(range(first, first + len(accuracies))), bar)

    return made
