"""A trained network scored once more, by what a user gets of it."""

from pathlib import Path

import pandas as pd
import torch

from mnist_compact.common.errors import ConfigError
from mnist_compact.config.conversion import from_record
from mnist_compact.config.schema import RunConfig
from mnist_compact.data.config import DataConfig
from mnist_compact.data.datasets import Split
from mnist_compact.records.record import RunRecord
from mnist_compact.training.evaluation import Evaluation, score
from mnist_compact.zoo.classifier import Classifier


def evaluate(classifier: Classifier, split: Split) -> Evaluation:
    """Predictions, accuracy and log-loss on a split. Raises ConfigError for weights that are not finite."""
    classifier.check_weights()
    classifier.eval()
    return score(classifier, split)


def by_class(evaluation: Evaluation, split: Split) -> pd.DataFrame:
    """A row a class: its images, how many were right, and what it was most often taken for."""
    rows = []
    for label, name in enumerate(split.classes):
        of_it = split.labels == label
        predicted = evaluation.predicted[of_it]
        wrong = predicted[predicted != label]
        rows.append(
            {
                "class": name,
                "images": int(of_it.sum()),
                "correct": len(predicted) - len(wrong),
                "accuracy %": 100 * (len(predicted) - len(wrong)) / max(1, len(predicted)),
                "taken for": split.classes[int(torch.mode(wrong).values)] if len(wrong) else "",
            }
        )
    return pd.DataFrame(rows)


def split_of(data: DataConfig, name: str | None = None, root: str | None = None) -> Split:
    """The images that a run with `data` is scored on, or for a held-out run the test images, which it never read.

    They are read from files in `root`, as `DataConfig.load` has it. Raises ConfigError for a split that the images do
    not have, and for one that the run was trained on.
    """
    scored = data.scored_on(name or data.role)
    if scored.role == "holdout" != data.role:
        raise ConfigError([f"--split holdout: with data={data.name} the network was trained on these images"])
    return scored.load(print, root).evaluation


def config_of_run(folder: Path) -> RunConfig:
    """Raises RecordError where there is no run."""
    return from_record(RunRecord.read(folder).config)
