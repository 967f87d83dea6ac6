"""Weights on disk have the scores of their record, and the other files describe the same weights."""

import dataclasses
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file

from mnist_compact.config.conversion import from_record
from mnist_compact.records.record import RunRecord
from mnist_compact.runs.trainer import resume, run
from mnist_compact.training import loop

EVERYTHING = ("model=m3", "train.epochs=3", "train.average_epochs=2", "train.average_decay=0.5", "augment=affine")
FILES = {  # weights file → (weights, epoch) of its score
    "last": ("raw", "last"),
    "best": ("raw", "best"),
    "averaged_last": ("averaged", "last"),
    "averaged_best": ("averaged", "best"),
}


@pytest.fixture(scope="module")
def folder_of_run(configure, recording_callback, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    run(configure(*EVERYTHING), folder, recording_callback())
    return folder


def log_probabilities(folder, file):
    """Log-probabilities of the evaluation images, computed with torch and the metadata of the weights file."""
    config = from_record(RunRecord.read(folder).config)
    path = folder / "weights" / f"{file}.safetensors"
    with safe_open(path, "pt") as file_of_weights:
        metadata = json.loads(file_of_weights.metadata()["mnist_compact"])
    network = config.model.build().eval()
    network.load_state_dict(load_file(path))
    evaluation = config.data.load(print).evaluation
    inputs = ((evaluation.images / 255 - metadata["mean"]) / metadata["std"]).unsqueeze(1)
    with torch.inference_mode():
        return network(inputs).log_softmax(1), evaluation


@pytest.mark.parametrize("file", FILES)
def test_weights_on_disk_have_the_score_of_their_record(folder_of_run, file):
    found, evaluation = log_probabilities(folder_of_run, file)
    weights, at = FILES[file]
    score = RunRecord.read(folder_of_run).score("synthetic", weights=weights, at=at)
    assert (score.correct, score.total) == (int((found.argmax(1) == evaluation.labels).sum()), len(evaluation))
    assert score.accuracy == pytest.approx(100 * score.correct / score.total)
    assert score.loss == pytest.approx(F.nll_loss(found, evaluation.labels).item(), rel=1e-5)


def test_run_writes_exactly_these_weights_files(folder_of_run):
    assert {path.stem for path in (folder_of_run / "weights").iterdir()} == set(FILES)


def test_final_score_is_of_averaged_weights_at_last_epoch(folder_of_run):
    final = RunRecord.read(folder_of_run).final
    assert (final.split, final.weights, final.at, final.epoch) == ("synthetic", "averaged", "last", 3)


def test_confusion_has_actual_rows_and_predicted_columns(folder_of_run):
    found, evaluation = log_probabilities(folder_of_run, "averaged_last")
    counted = torch.zeros(10, 10, dtype=torch.int64)
    for actual, predicted in zip(evaluation.labels.tolist(), found.argmax(1).tolist(), strict=True):
        counted[actual, predicted] += 1
    assert not torch.equal(counted, counted.T)
    assert RunRecord.read(folder_of_run).confusion == counted.tolist()


def test_mistakes_of_final_weights_are_sorted_by_confidence(folder_of_run):
    found, evaluation = log_probabilities(folder_of_run, "averaged_last")
    predicted, labels = found.argmax(1), evaluation.labels
    with np.load(folder_of_run / "mistakes.npz") as file:
        mistakes = dict(file)
    index = torch.from_numpy(mistakes["index"])
    wrong = (predicted != labels).nonzero().flatten()
    assert 2 < len(index) == min(64, len(wrong))
    assert set(index.tolist()) <= set(wrong.tolist())
    assert mistakes["label"].tolist() == labels[index].tolist()
    assert mistakes["predicted"].tolist() == predicted[index].tolist()
    assert np.array_equal(mistakes["image"], evaluation.images[index].numpy())
    confidence = found.exp().amax(1)
    np.testing.assert_allclose(mistakes["confidence"], confidence[index].numpy(), rtol=1e-4)
    assert (np.diff(mistakes["confidence"]) <= 0).all()
    assert mistakes["confidence"][0] == pytest.approx(confidence[wrong].max().item(), rel=1e-4)


@pytest.mark.parametrize(("hits", "best"), [([10, 30, 20], 2), ([30, 20, 10], 1), ([10, 30, 30], 2), ([1, 2, 3], 3)])
def test_best_is_the_first_epoch_with_the_highest_score(
    configure, recording_callback, tmp_path, monkeypatch, hits, best
):
    """Raw and averaged weights both have `hits` correct images by epoch; a later epoch is worse."""
    remaining = [hit for hit in (*hits, 0) for _ in ("raw", "averaged")]
    evaluate = loop.evaluate

    def scored(model, data):
        """Return predictions with the next number of correct images, because the record must agree with them."""
        found, correct_count = evaluate(model, data), remaining.pop(0)
        labels = data.evaluation.labels.cpu()
        predicted = torch.where(torch.arange(len(labels)) < correct_count, labels, (labels + 1) % 10)
        return dataclasses.replace(found, correct=correct_count, predicted=predicted)

    monkeypatch.setattr(loop, "evaluate", scored)
    saved = []

    class SavingCallback(recording_callback):
        def on_epoch_end(self, row, *, new_best):
            saved.append({name: load_file(tmp_path / "weights" / f"{name}.safetensors") for name in FILES})

    def check_best(record):
        for prefix, weights in (("", "raw"), ("averaged_", "averaged")):
            score = record.score("synthetic", weights=weights, at="best")
            assert (score.epoch, score.correct) == (best, max(hits))
            of_best_epoch = saved[best - 1][f"{prefix}last"]
            for name, tensor in load_file(tmp_path / "weights" / f"{prefix}best.safetensors").items():
                assert torch.equal(tensor, of_best_epoch[name])

    check_best(run(configure("model=m3", "train.epochs=3", "train.average_epochs=3"), tmp_path, SavingCallback()))
    check_best(resume(tmp_path, SavingCallback(), epochs=4))
