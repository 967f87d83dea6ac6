"""Seeds of a confirmation without training: records, and the bits of the images that were classified correctly."""

import dataclasses
from functools import cache

import numpy as np

from mnist_compact import compose
from mnist_compact.config.schema import to_record
from mnist_compact.confirmation.seed_pool import seed_folder
from mnist_compact.records.record import NetworkFacts, RunRecord, Score, Status

SPLIT = "test"
FACTS = NetworkFacts(
    parameters=7206, trainable_parameters=7206, macs=500_000, receptive_field=24, input_shape=[1, 28, 28]
)


@cache
def configuration():
    """The configuration of all seeds, except the seed."""
    return to_record(compose("model=m3"))


def scored(accuracy, weights="raw", loss=0.02, total=10_000, split=SPLIT, calibrated_loss=None):
    """A score at the last epoch, with the nearest accuracy that `total` images allow."""
    correct = round(accuracy * total / 100)
    return Score(
        split=split,
        weights=weights,
        at="last",
        epoch=15,
        accuracy=100 * correct / total,
        loss=loss,
        calibrated_loss=calibrated_loss,
        correct=correct,
        total=total,
    )


def write_seed(
    folder, seed, *scores, status=Status.COMPLETED, started_at="2030-01-01T00:00:00+00:00", right=None, on=()
):
    """Write a run folder; `right` states which images were classified correctly, `on` how the machine differs."""
    home = seed_folder(folder, seed)
    home.mkdir(parents=True)
    best = "averaged" if any(score.weights == "averaged" for score in scores) else "raw"
    RunRecord(
        status=status,
        config=configuration() | {"seed": seed},
        evaluated=scores[0].split if scores else SPLIT,
        scores=[dataclasses.replace(score, final=score.weights == best) for score in scores],
        network=FACTS,
        seconds=120.0,
        started_at=started_at,
        environment={"processor": "a processor", "threads": 1, "device": "cpu", **dict(on)},
    ).write(home)
    if right is not None:
        (home / "correct.bits").write_bytes(np.packbits(right).tobytes())
