"""A second data set, from its files to the reports; small generated files replace those of Fashion-MNIST."""

import dataclasses
import hashlib
import struct

import numpy as np
import pytest

from mnist_compact import load_runs
from mnist_compact.common.errors import ConfigError
from mnist_compact.config.composition import compose
from mnist_compact.config.conversion import from_record
from mnist_compact.confirmation.confirmation import Confirmation
from mnist_compact.confirmation.save_experiment import deltas
from mnist_compact.data.config import FashionConfig, FashionHoldoutConfig
from mnist_compact.data.published import FASHION
from mnist_compact.data.sources import MnistFile
from mnist_compact.records.record import RunRecord
from mnist_compact.reports.columns import ScoreColumn, score_column
from mnist_compact.reports.page.details import details
from mnist_compact.reports.plots import confusion_figure, mistakes_figure, read_mistakes
from mnist_compact.reports.tables import reference_comparison
from mnist_compact.runs.trainer import run
from mnist_compact.search.snapshot import Composer, take_snapshot
from mnist_compact.zoo.evaluation import by_class, evaluate, split_of


@pytest.fixture
def made_files(tmp_path, monkeypatch):
    """Files of 64 training and 30 evaluation images, with one bright line for each class."""
    root, sha256 = tmp_path / "files" / "fashion", {}
    root.mkdir(parents=True)
    for count, images_file, labels_file in (
        (64, MnistFile.TRAIN_IMAGES, MnistFile.TRAIN_LABELS),
        (30, MnistFile.TEST_IMAGES, MnistFile.TEST_LABELS),
    ):
        labels = np.arange(count, dtype=np.uint8) % 10
        images = np.zeros((count, 28, 28), dtype=np.uint8)
        images[np.arange(count), 4 + 2 * labels] = 200
        for name, array in ((images_file, images), (labels_file, labels)):
            header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
            (root / name).write_bytes(header + array.tobytes())
            sha256[name] = hashlib.sha256((root / name).read_bytes()).hexdigest()
    made = dataclasses.replace(FASHION, sources=(), sha256=sha256)
    for config in (FashionConfig, FashionHoldoutConfig):
        monkeypatch.setattr(config, "published", made)
    return root.parent


def test_run_uses_the_names_of_its_data_set(made_files, configure, recording_callback, tmp_path):
    config = configure("data=fashion", f"machine.data_root={made_files}", "train.epochs=1", "train.average_epochs=1")
    record = run(config, tmp_path / "runs" / "fashion", recording_callback())
    assert (record.evaluated, record.final.split, record.final.total) == ("fashion_test", "fashion_test", 30)
    assert record.classes == list(FASHION.classes)
    run(configure("train.epochs=1"), tmp_path / "runs" / "other", recording_callback())

    table = load_runs(tmp_path / "runs").set_index("data")
    row = table.loc["fashion"]
    assert row["fashion_test_averaged_accuracy_last"] == record.final.accuracy
    assert row["fashion_test_accuracy_last"] == record.score("fashion_test").accuracy
    assert table["fashion_test_accuracy_last"].isna().tolist() == [data != "fashion" for data in table.index]
    compared = reference_comparison(table.reset_index())
    assert sorted(compared["data"]) == ["fashion", "synthetic"]
    assert "fashion test averaged accuracy last %" in compared.columns

    folder = tmp_path / "runs" / "fashion"
    figure = confusion_figure(record.confusion, "t", record.classes)
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == list(FASHION.classes)
    mistakes = read_mistakes(folder)
    title = mistakes_figure(mistakes, "t", record.classes).axes[0].texts[0].get_text()
    actual, predicted = (FASHION.classes[int(classes[0])] for classes in (mistakes.label, mistakes.predicted))
    assert title.startswith(f"{actual}\n→{predicted}  ")
    told = details([str(folder), str(tmp_path / "runs" / "other")], [[None, None]])
    assert told["classes"] == [list(FASHION.classes), None]


@pytest.mark.parametrize("split", ["test", "holdout", "fashion_test", "cifar10_b"])
@pytest.mark.parametrize("weights", ["raw", "averaged"])
def test_columns_of_scores_are_found_for_any_split(split, weights):
    name = score_column(split, weights, "accuracy", "last")
    assert ScoreColumn.of(name) == ScoreColumn(split, weights, "accuracy", "last")


def test_other_columns_are_not_columns_of_scores():
    for name in ("epochs_done", "epochs_to_converge", "train.average_epochs", "accuracy_last", "_accuracy_last"):
        assert ScoreColumn.of(name) is None


def test_search_on_its_test_images_is_refused(configure):
    search = compose()  # registers the configurations that the composer requires
    assert search.data.role == "test"
    settings = {"params": {}, "branches": {}, "prior": []}
    from omegaconf import OmegaConf

    composer = Composer(take_snapshot(OmegaConf.create(settings), []), ())
    try:
        with pytest.raises(ConfigError, match="test split, got data=fashion; use data=fashion_holdout"):
            composer.run_config(["data=fashion"])
        assert composer.run_config(["data=fashion_holdout"]).data.role == "holdout"
    finally:
        composer.close()


def test_confirmation_uses_its_own_test_images():
    recipe = compose("experiment=fashion_m3")
    about = Confirmation.of("probe", "a test", recipe, "test", {0})
    assert (about.split, about.seeds(2)) == ("fashion_test", [1000, 1001])
    assert from_record(about.config) == recipe
    assert deltas(recipe)[0]["data"] == "fashion"
    assert "data" not in deltas(compose("experiment=m3_reference"))[0]
    ranked = Confirmation.of("probe", "a test", recipe, "holdout", {0}, ranking=True)
    chosen = from_record(ranked.config)
    assert (ranked.split, chosen.data.name, chosen.data.split_seed) == ("fashion_holdout", "fashion_holdout", 1)
    assert Confirmation.of("probe", "a test", chosen, "test", {0}).split == "fashion_test"
    with pytest.raises(ConfigError, match="--split must be 'test' for data=fashion, got 'synthetic'"):
        Confirmation.of("probe", "a test", recipe, "synthetic", {0})


def test_classifier_reports_the_names_of_the_classes(made_files, configure):
    data = configure("data=fashion").data
    split = split_of(data, "test", str(made_files))
    from mnist_compact.zoo.classifier import Classifier

    found = evaluate(Classifier(configure("model=m1").model.build(), 0.5, 0.5), split)
    assert by_class(found, split)["class"].tolist() == list(FASHION.classes)
    with pytest.raises(ConfigError, match="--split holdout: with data=fashion the network was trained on these"):
        split_of(data, "holdout")


def test_part_of_its_training_images_can_be_held_out(made_files, configure, recording_callback, tmp_path):
    (made_files / "fashion" / MnistFile.TEST_IMAGES).unlink()  # the test images are not even read
    held_out = ("data=fashion_holdout", "data.held_out=20", f"machine.data_root={made_files}", "train.epochs=1")
    record = run(configure(*held_out), tmp_path / "run", recording_callback())
    assert (record.evaluated, record.final.total) == ("fashion_holdout", 20)
    assert record.classes == list(FASHION.classes)
    data = configure(*held_out).load_data(print)
    assert (len(data.train), data.train.labels.bincount().tolist()) == (44, [5, 5, 5, 5, 4, 4, 4, 4, 4, 4])


def test_record_without_class_names_is_drawn_with_numbers(made_files, configure, recording_callback, tmp_path):
    record = run(configure("train.epochs=1"), tmp_path / "run", recording_callback())
    assert record.classes == list("0123456789")
    record.classes = []
    record.write(tmp_path / "run")
    assert RunRecord.read(tmp_path / "run").classes == []
    figure = confusion_figure(record.confusion, "t", [])
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == list("0123456789")
    assert details([str(tmp_path / "run")], [[None]])["classes"] == [None]
