"""Evaluation of a trained network as users load it."""

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
    """Score a network on a split.

    Args:
        classifier: The network.
        split: Images and labels.

    Returns:
        Predictions, accuracy and log-loss.

    Raises:
        ConfigError: Some weights are not finite.
    """
    classifier.check_weights()
    classifier.eval()
    return score(classifier, split)


def by_class(evaluation: Evaluation, split: Split) -> pd.DataFrame:
    """Count for each class its images, its correct predictions and the class it is most often confused with.

    Args:
        evaluation: The predictions on `split`.
        split: Images and labels.

    Returns:
        A table with one row for each class.
    """
    rows = []
    for label, name in enumerate(split.classes):
        of_class = split.labels == label
        predicted = evaluation.predicted[of_class]
        wrong = predicted[predicted != label]
        rows.append(
            {
                "class": name,
                "images": int(of_class.sum()),
                "correct": len(predicted) - len(wrong),
                "accuracy %": 100 * (len(predicted) - len(wrong)) / max(1, len(predicted)),
                "confused with": split.classes[int(torch.mode(wrong).values)] if len(wrong) else "",
            }
        )
    return pd.DataFrame(rows)


def split_of(data: DataConfig, name: str | None = None, root: str | None = None) -> Split:
    """Load the images that a network may be scored on.

    Args:
        data: The data that the network was trained on.
        name: The split to load: by default the one that the run was scored on. A network whose data has a held-out part
            may also be scored on the test images.
        root: Folder of the image files, as in `DataConfig.load`.

    Raises:
        ConfigError: The data set has no such split, or the network was trained on its images.
    """
    scored = data.scored_on(name or data.role)
    if scored.role == "holdout" != data.role:
        raise ConfigError([f"--split holdout: with data={data.name} the network was trained on these images"])
    return scored.load(print, root).evaluation


def config_of_run(folder: Path) -> RunConfig:
    """Return the configuration of a run folder. Raises RecordError if there is no run."""
    return from_record(RunRecord.read(folder).config)
