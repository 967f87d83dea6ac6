"""The command that classifies pictures."""

import json
from importlib.resources import files

import numpy as np
import pytest
from drawn import enlarged, photographed, placed
from PIL import Image

from mnist_compact.cli import predict
from mnist_compact.data.config import MnistConfig
from mnist_compact.zoo.registry import load

NETWORKS = files("mnist_compact.zoo") / "networks"


@pytest.fixture
def seven(tmp_path):
    image = np.zeros((28, 28), np.uint8)
    image[4:7, 8:20] = 255
    for row in range(7, 24):
        column = 18 - (row - 7) // 3
        image[row, column - 2 : column + 1] = 255
    Image.fromarray(255 - enlarged(image)).save(tmp_path / "seven.png")
    return tmp_path / "seven.png"


def test_predict_prints_digit_confidence_and_runner_up(seven, capsys):
    predict.main(["--zoo", "under_8k", str(seven), "--format", "json"])
    (row,) = json.loads(capsys.readouterr().out)
    assert row["picture"] == str(seven)
    assert row["digit"] == 7
    assert row["runner-up"] != 7
    assert 50 < row["confidence %"] <= 100
    assert 0 <= row["its confidence %"] <= 100 - row["confidence %"] + 0.1
    predict.main(["--zoo", "under_8k", str(seven.parent)])
    assert "runner-up" in capsys.readouterr().out


def test_file_of_weights_is_used(seven, capsys):
    printed = []
    for network in (["--zoo", "under_8k"], ["--run", str(NETWORKS / "under_8k.safetensors")]):
        predict.main([*network, str(seven), "--format", "csv"])
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]


def test_show_draws_what_the_network_sees(seven, capsys):
    sheet = seven.parent / "seen.png"
    predict.main(["--zoo", "smallest", str(seven), str(seven), "--show", str(sheet)])
    drawn = np.asarray(Image.open(sheet))
    assert drawn.shape == (6 + 112 + 14 + 6, 2 * (112 + 6) + 6)
    image = drawn[6:118:4, 6:118:4]
    from mnist_compact import read_picture

    np.testing.assert_array_equal(image, read_picture(seven))


def test_predict_reports_pictures_that_cannot_be_used(seven, capsys):
    other = seven.parent / "text.png"
    other.write_text("hello")
    with pytest.raises(SystemExit, match="1"):
        predict.main(["--zoo", "under_8k", str(other), str(seven), "--format", "csv"])
    printed = capsys.readouterr()
    assert printed.err == (
        f"mnist-compact-predict: {other} is no picture in a known format (BMP, GIF, JPEG, PNG, PPM, TIFF, WEBP)\n"
    )
    assert len(printed.out.splitlines()) == 2
    with pytest.raises(SystemExit, match="2"):
        predict.main(["--zoo", "under_8k", str(other)])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--zoo", "nothing"], "no 'nothing' in the zoo"),
        (["--zoo", "under_8k", "--weights", "raw"], "--weights cannot be used with --zoo"),
        (["--run", "missing"], "has no weights of a last epoch"),
        (["--run", str(NETWORKS / "fast.safetensors"), "--weights", "raw"], "--weights cannot be used with a file"),
        (["--run", str(NETWORKS / "fast.md")], "holds no network that this version can read"),
        ([], "one of the arguments --zoo --run is required"),
    ],
)
def test_predict_refuses_other_networks(seven, arguments, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        predict.main([*arguments, str(seven)])
    assert message in capsys.readouterr().err


@pytest.mark.mnist
@pytest.mark.parametrize(("count", "more_errors"), [(40, 0), pytest.param(200, 2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["enlarged", "inverted", "shifted", "photographed"])
def test_accuracy_on_pictures_stays_near_that_on_images(kind, count, more_errors, tmp_path):
    """Test images as PNG or JPEG files: hardly more errors than on the images themselves."""
    from mnist_compact import read_picture

    split = MnistConfig(name="mnist").load(print).evaluation
    chosen = np.random.default_rng(0).choice(len(split), count, replace=False)
    images, labels = split.images[chosen], split.labels[chosen]
    generator, read = np.random.default_rng(1), []
    for number, image in enumerate(images.numpy()):
        picture = {
            "enlarged": enlarged,
            "inverted": lambda image: 255 - enlarged(image, 500),
            "shifted": lambda image: placed(image, generator),
            "photographed": lambda image: photographed(image, generator),
        }[kind](image)
        path = tmp_path / f"{number}.{('png', 'jpg')[number % 2]}"
        Image.fromarray(picture).save(path)
        read.append(read_picture(path))
    classifier = load("under_8k")
    wrong = int((classifier.classify(np.stack(read))[0] != labels).sum())
    assert wrong <= int((classifier.classify(images)[0] != labels).sum()) + more_errors
