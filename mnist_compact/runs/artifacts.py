"""The files of a run folder besides the record. `mnist_compact.reports` reads them."""

import csv
import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from mnist_compact.common.atomic import replacing
from mnist_compact.common.run_files import CONFIG, CORRECT, LAYERS, METRICS, MISTAKES
from mnist_compact.common.shapes import CLASSES
from mnist_compact.data.datasets import Datasets
from mnist_compact.models.summary import LayerRow, ModelSummary
from mnist_compact.records.record import NetworkFacts, RunRecord, Score
from mnist_compact.training.evaluation import Evaluation
from mnist_compact.training.loop import EpochResult

MOST_MISTAKES = 64  # misclassified images that are stored with their pixels

Row = dict[str, Any]  # a row of metrics.csv


def metrics_row(result: EpochResult, split: str) -> Row:
    """Return the row of metrics.csv for an epoch.

    Accuracies are in per cent, losses in nats and times in seconds.

    Args:
        result: The results of the epoch.
        split: Name of the evaluation split, which prefixes its columns.
    """
    row: Row = {
        "epoch": result.epoch,
        "learning_rate": result.learning_rate,
        "train_loss": result.train_loss,
        "train_accuracy": 100 * result.train_correct / result.train_total,
        "train_correct": result.train_correct,
        "train_total": result.train_total,
    }
    for prefix, evaluation in ((split, result.evaluation), (f"{split}_averaged", result.averaged)):
        row[f"{prefix}_loss"] = evaluation.loss if evaluation else None
        row[f"{prefix}_calibrated_loss"] = evaluation.calibrated_loss if evaluation else None
        row[f"{prefix}_accuracy"] = evaluation.accuracy if evaluation else None
        row[f"{prefix}_correct"] = evaluation.correct if evaluation else None
    return {**row, f"{split}_total": result.evaluation.total, "seconds": result.seconds}


def scores_of(rows: list[Row], split: str) -> list[Score]:
    """Return the scores of a run.

    Each split and kind of weights has a score at its best epoch, and a score at the last epoch if that was measured.
    Exactly one score is final: the evaluation split at the last epoch, with averaged weights if there are any.

    Args:
        rows: The rows of metrics.csv.
        split: Name of the evaluation split.
    """
    scores: list[Score] = []
    averaged = bool(rows) and rows[-1][f"{split}_averaged_correct"] is not None
    for name, weights, prefix in (
        ("train", "raw", "train"),
        (split, "raw", split),
        (split, "averaged", f"{split}_averaged"),
    ):
        measured = [row for row in rows if row[f"{prefix}_correct"] is not None]
        if not measured:
            continue
        reported = [("best", max(measured, key=lambda row: row[f"{prefix}_correct"]))]  # the first of equal epochs
        if measured[-1] is rows[-1]:  # after more epochs were added, an earlier average is not that of the last epoch
            reported.insert(0, ("last", measured[-1]))
        scores += [
            Score(
                split=name,
                weights=weights,
                at=at,
                epoch=row["epoch"],
                accuracy=row[f"{prefix}_accuracy"],
                loss=row[f"{prefix}_loss"],
                calibrated_loss=row.get(f"{prefix}_calibrated_loss"),  # not measured in training
                correct=row[f"{prefix}_correct"],
                total=row[f"{name}_total"],
                final=(name, weights, at) == (split, "averaged" if averaged else "raw", "last"),
            )
            for at, row in reported
        ]
    return scores


def network_facts(model_summary: ModelSummary) -> NetworkFacts:
    """Return the part of the record that describes the network."""
    return NetworkFacts(
        parameters=model_summary.parameters,
        trainable_parameters=model_summary.trainable_parameters,
        macs=model_summary.macs,
        receptive_field=model_summary.receptive_field,
        input_shape=list(model_summary.input_shape),
    )


def confusion_matrix(data: Datasets, evaluation: Evaluation) -> list[list[int]]:
    """Return the number of evaluation images for each label (row) and prediction (column)."""
    pairs = data.evaluation.labels.cpu() * CLASSES + evaluation.predicted
    counts: list[list[int]] = torch.bincount(pairs, minlength=CLASSES**2).view(CLASSES, CLASSES).tolist()
    return counts


def write_mistakes(folder: Path, data: Datasets, evaluation: Evaluation) -> None:
    """Write the misclassified evaluation images, those with the highest confidence first, to mistakes.npz."""
    wrong = (evaluation.predicted != data.evaluation.labels.cpu()).nonzero().flatten()
    most_confident = wrong[evaluation.confidence[wrong].argsort(descending=True, stable=True)][:MOST_MISTAKES]
    with replacing(folder / MISTAKES) as path:
        np.savez_compressed(
            path,
            index=most_confident.numpy(),
            label=data.evaluation.labels.cpu()[most_confident].numpy(),
            predicted=evaluation.predicted[most_confident].numpy(),
            confidence=evaluation.confidence[most_confident].numpy(),
            image=data.evaluation.images.cpu()[most_confident].numpy(),
        )


def write_correct(folder: Path, data: Datasets, evaluation: Evaluation) -> None:
    """Write one bit per evaluation image: whether it was classified correctly."""
    right = (evaluation.predicted == data.evaluation.labels.cpu()).numpy()
    with replacing(folder / CORRECT) as path:
        path.write_bytes(np.packbits(right).tobytes())


def write_config(folder: Path, record: RunRecord) -> None:
    """Write the resolved configuration to config.yaml for people. Programs read it in result.json."""
    overrides = " ".join(record.overrides) or "none"
    with replacing(folder / CONFIG) as path:
        # A YAML comment is a single line without control codes.
        overrides = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in overrides)
        header = f"# overrides: {overrides}\n# run it again: python -m mnist_compact rerun=<this folder>\n"
        path.write_text(header + yaml.safe_dump(record.config, sort_keys=False, allow_unicode=True), encoding="utf-8")


def weights_about(record: RunRecord, data: Datasets) -> str:
    """Return the JSON text for a weights file: the network's configuration, and the statistics of its input."""
    return json.dumps({"model": record.config["model"], "mean": data.mean, "std": data.std})


def write_layers(folder: Path, rows: list[LayerRow]) -> None:
    """Write the layer table to layers.csv."""
    with replacing(folder / LAYERS) as path, path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(LayerRow)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def write_metrics(folder: Path, rows: list[Row]) -> None:
    """Rewrite metrics.csv: a run that was killed between writing a row and the checkpoint has one row too many."""
    with replacing(folder / METRICS) as path, path.open("w", newline="", encoding="utf-8") as file:
        if rows:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def append_metrics(folder: Path, rows: list[Row]) -> None:
    """Append the last of the rows to metrics.csv."""
    with (folder / METRICS).open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[-1]))
        if len(rows) == 1:
            writer.writeheader()
        writer.writerow(rows[-1])
