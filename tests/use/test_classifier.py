"""A network read back gives what was measured when it was trained, for images as they are."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from mnist_compact import load, load_network
from mnist_compact.config import to_record
from mnist_compact.experiment import run
from mnist_compact.faults import ConfigError
from mnist_compact.results.record import RunRecord
from mnist_compact.use.classifier import file_of_run, read
from mnist_compact.use.evaluation import by_class, evaluate, split_of


@pytest.fixture(scope="module")
def config(configure):
    return configure("model=m3", "optim=adam", "train.average_epochs=1", "model.dropout=0.05")


@pytest.fixture(scope="module")
def folder(config, onlooker, tmp_path_factory):
    """A run with averaged weights."""
    home = tmp_path_factory.mktemp("run")
    run(config, home, onlooker())
    return home


@pytest.mark.parametrize("weights", ["raw", "averaged"])
def test_a_network_read_back_scores_what_the_record_says(config, folder, weights):
    split = split_of(config.data)
    found = evaluate(read(file_of_run(folder, weights)), split)
    recorded = RunRecord.read(folder).score("synthetic", weights=weights)
    assert (found.correct, found.total) == (recorded.correct, recorded.total)
    assert found.loss == pytest.approx(recorded.loss, rel=1e-6)


def test_averaged_weights_are_taken_where_there_are_any(folder):
    averaged = load_file(folder / "weights" / "averaged_last.safetensors")
    for name, tensor in load_network(folder).network.state_dict().items():
        assert torch.equal(tensor, averaged[name])


def test_images_of_every_form_give_the_same_logits(folder, config):
    classifier, images = load_network(str(folder)), split_of(config.data).images[:7]
    wanted = classifier(images)
    assert wanted.shape == (7, 10)
    for form in (images.unsqueeze(1), images / 255, (images.double() / 255).unsqueeze(1)):
        torch.testing.assert_close(classifier(form), wanted, rtol=1e-5, atol=1e-5)


def test_digits_come_with_their_softmax_probability(folder, config):
    classifier, images = load_network(folder), split_of(config.data).images[:7]
    digits, confidence = classifier.classify(images)
    probabilities = classifier(images).softmax(1)
    assert digits.tolist() == probabilities.argmax(1).tolist()
    torch.testing.assert_close(confidence, probabilities.amax(1))


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (torch.zeros(28, 28), "images must be"),
        (torch.zeros(1, 3, 28, 28), r"got \(1, 3, 28, 28\)"),
        (torch.zeros(1, 32, 32), r"got \(1, 32, 32\)"),
        (torch.zeros(1, 28, 28, dtype=torch.int64), "torch.int64"),
    ],
)
def test_other_images_are_refused(folder, images, said):
    with pytest.raises(ValueError, match=said):
        load_network(folder)(images)


def test_a_file_of_weights_says_itself_what_it_is(config, folder, tmp_path):
    alone = tmp_path / "net.safetensors"
    alone.write_bytes(file_of_run(folder).read_bytes())
    assert type(load_network(alone).network) is type(config.model.build())
    with alone.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    about = json.loads(header["__metadata__"]["mnist_compact"])
    assert about["model"] == to_record(config)["model"]


def test_what_is_no_network_is_refused_in_words(folder, tmp_path):
    (tmp_path / "noise.safetensors").write_bytes(b"noise")
    save_file({"weight": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    for what in (tmp_path / "noise.safetensors", tmp_path / "foreign.safetensors", tmp_path / "none.safetensors"):
        with pytest.raises(ConfigError, match=what.name):
            load_network(what)
    with pytest.raises(ConfigError, match="no weights of a last epoch"):
        load_network(tmp_path)
    with pytest.raises(ConfigError, match="no 'nothing' in the zoo"):
        load("nothing")


def test_every_digit_is_counted(config, folder):
    split = split_of(config.data)
    found = evaluate(load_network(folder), split)
    table = by_class(found, split)
    assert table["class"].tolist() == list("0123456789")
    assert table["images"].tolist() == split.labels.bincount(minlength=10).tolist()
    assert int(table["correct"].sum()) == found.correct
    wrong = (found.predicted != split.labels).nonzero().flatten().tolist()
    for digit, mistaken in zip(table["class"], table["taken for"], strict=True):
        taken = {int(found.predicted[place]) for place in wrong if split.labels[place] == int(digit)}
        assert (int(mistaken) in taken) if taken else mistaken == ""


def test_a_split_that_the_images_do_not_have_is_refused(config):
    with pytest.raises(ConfigError, match="--split must be 'synthetic'"):
        split_of(config.data, "test")
