"""A network that is read from files reproduces its scores, for images in any form."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from mnist_compact import load, load_network
from mnist_compact.common.errors import ConfigError
from mnist_compact.config.schema import to_record
from mnist_compact.records.record import RunRecord
from mnist_compact.runs.trainer import run
from mnist_compact.zoo.classifier import file_of_run, read
from mnist_compact.zoo.evaluation import by_class, evaluate, split_of
from mnist_compact.zoo.images import looks_inverted


@pytest.fixture(scope="module")
def config(configure):
    return configure("model=m3", "optim=adam", "train.average_epochs=1", "model.dropout=0.05")


@pytest.fixture(scope="module")
def folder(config, recording_callback, tmp_path_factory):
    """A run with averaged weights."""
    home = tmp_path_factory.mktemp("run")
    run(config, home, recording_callback())
    return home


@pytest.mark.parametrize("weights", ["raw", "averaged"])
def test_loaded_network_reproduces_the_scores_of_its_record(config, folder, weights):
    split = split_of(config.data)
    found = evaluate(read(file_of_run(folder, weights)), split)
    recorded = RunRecord.read(folder).score("synthetic", weights=weights)
    assert (found.correct, found.total) == (recorded.correct, recorded.total)
    assert found.loss == pytest.approx(recorded.loss, rel=1e-6)


def test_averaged_weights_are_loaded_if_there_are_any(folder):
    averaged = load_file(folder / "weights" / "averaged_last.safetensors")
    for name, tensor in load_network(folder).network.state_dict().items():
        assert torch.equal(tensor, averaged[name])


def test_images_of_every_form_give_the_same_logits(folder, config):
    classifier, images = load_network(str(folder)), split_of(config.data).images[:7]
    expected = classifier(images)
    assert expected.shape == (7, 10)
    for form in (images.unsqueeze(1), images / 255, (images.double() / 255).unsqueeze(1)):
        torch.testing.assert_close(classifier(form), expected, rtol=1e-5, atol=1e-5)


def test_classify_returns_digits_and_probabilities(folder, config):
    classifier, images = load_network(folder), split_of(config.data).images[:7]
    digits, confidence = classifier.classify(images)
    probabilities = classifier(images).softmax(1)
    assert digits.tolist() == probabilities.argmax(1).tolist()
    torch.testing.assert_close(confidence, probabilities.amax(1))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(28, 28), "images must be"),
        (torch.zeros(1, 3, 28, 28), r"got \(1, 3, 28, 28\)"),
        (torch.zeros(1, 32, 32), r"got \(1, 32, 32\)"),
        (torch.zeros(1, 28, 28, dtype=torch.int64), "torch.int64"),
    ],
)
def test_forward_refuses_other_shapes_and_types(folder, images, message):
    with pytest.raises(ValueError, match=message):
        load_network(folder)(images)


def pil(array, mode="L"):
    return Image.fromarray(array, "L").convert(mode)


def test_classify_takes_arrays_lists_and_pil_images(folder, config):
    classifier, images = load_network(folder), split_of(config.data).images[:3]
    digits, confidence = classifier.classify(images)
    array = images.numpy()
    read_only = array.copy()
    read_only.flags.writeable = False
    forms = {
        "array": array,
        "read-only": read_only,
        "signed": array.astype(np.int16),
        "unsigned": array.astype(np.uint16),
        "big-endian floats": (array / 255).astype(">f8"),
        "int64 tensor": images.long(),
        "nested list": array.tolist(),
        "nested floats": (array / 255).tolist(),
        "list of tensors": [*images],
        "list of arrays": [*array],
        "PIL": [pil(each) for each in array],
        "PIL, colour": [pil(each, "RGB") for each in array],
    }
    for form, given in forms.items():
        found, sure = classifier.classify(given)
        assert found.tolist() == digits.tolist(), form
        torch.testing.assert_close(sure, confidence, rtol=1e-5, atol=1e-5, msg=form)
    one, _ = classifier.classify(pil(array[0]))
    assert one.tolist() == digits[:1].tolist()
    assert classifier.classify(images[:0])[0].tolist() == []


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.full((1, 28, 28), 1.5), r"must lie in \[0, 1\], got 1.5"),
        (np.full((1, 28, 28), -0.01), r"must lie in \[0, 1\], got -0.01"),
        (torch.full((1, 28, 28), torch.nan), "got nan"),
        ([[[256] * 28] * 28], "in 0 … 255, got 256"),
        (np.full((1, 28, 28), -1), "in 0 … 255, got -1"),
        (np.ones((1, 28, 28), dtype=bool), "torch.bool"),
        ([[["7"] * 28] * 28], "got <U1"),
        ([[[0] * 28] * 28, [[0] * 27] * 27], "same shape"),
        (np.zeros((28, 28), dtype=np.uint8), "images must be"),
        ([Image.new("I;16", (28, 28))], "8 bits per channel"),
    ],
)
def test_classify_refuses_values_out_of_range(folder, images, message):
    with pytest.raises(ValueError, match=message):
        load_network(folder).classify(images)


def test_classify_and_evaluate_refuse_broken_weights(folder, config):
    classifier, split = load_network(folder), split_of(config.data)
    name, weights = next(iter(classifier.network.named_parameters()))
    with torch.no_grad():
        weights.view(-1)[0] = torch.inf
    with pytest.raises(ConfigError, match=f"must be finite, got NaN or infinity in {name}"):
        classifier.classify(split.images[:1])
    with pytest.raises(ConfigError, match="must be finite"):
        evaluate(classifier, split)


def test_classify_warns_once_of_inverted_images(folder, config):
    classifier, images = load_network(folder), split_of(config.data).images[:5]
    with pytest.warns(UserWarning, match="dark digits on a light background") as caught:
        classifier.classify(255 - images)
    classifier.classify(1 - images / 255)  # a second warning would be an error
    assert [warning.filename for warning in caught] == [__file__], "it names the caller"
    for level in (0, 255):  # without a digit nothing is inverted
        assert not looks_inverted(torch.full((1, 28, 28), level, dtype=torch.uint8))
    light = torch.full((1, 28, 28), 200, dtype=torch.uint8)
    light[:, 4:-4, 4:-4] = 255  # as of a coat that fills the image
    assert not looks_inverted(light)


def test_weights_file_describes_its_network(config, folder, tmp_path):
    alone = tmp_path / "net.safetensors"
    alone.write_bytes(file_of_run(folder).read_bytes())
    assert type(load_network(alone).network) is type(config.model.build())
    with alone.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    about = json.loads(header["__metadata__"]["mnist_compact"])
    assert about["model"] == to_record(config)["model"]


def test_load_refuses_other_files(folder, tmp_path):
    (tmp_path / "noise.safetensors").write_bytes(b"noise")
    save_file({"weight": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    for what in (tmp_path / "noise.safetensors", tmp_path / "foreign.safetensors", tmp_path / "none.safetensors"):
        with pytest.raises(ConfigError, match=what.name):
            load_network(what)
    with pytest.raises(ConfigError, match="no weights of a last epoch"):
        load_network(tmp_path)
    with pytest.raises(ConfigError, match="no 'nothing' in the zoo"):
        load("nothing")


def test_by_class_counts_every_digit(config, folder):
    split = split_of(config.data)
    found = evaluate(load_network(folder), split)
    table = by_class(found, split)
    assert table["class"].tolist() == list("0123456789")
    assert table["images"].tolist() == split.labels.bincount(minlength=10).tolist()
    assert int(table["correct"].sum()) == found.correct
    wrong = (found.predicted != split.labels).nonzero().flatten().tolist()
    for digit, mistaken in zip(table["class"], table["confused with"], strict=True):
        taken = {int(found.predicted[index]) for index in wrong if split.labels[index] == int(digit)}
        assert (int(mistaken) in taken) if taken else mistaken == ""


def test_split_that_the_data_lack_is_refused(config):
    with pytest.raises(ConfigError, match="--split must be 'synthetic'"):
        split_of(config.data, "test")
