"""The command that writes the page for drawing, and what the page states about the network."""

import json
import re

import pytest
from family import MEMBERS, small
from torch import nn

from mnist_compact.cli import draw
from mnist_compact.common.errors import ConfigError
from mnist_compact.deploy.drawing_page import network_data, receptive_fields, write_drawing_page
from mnist_compact.deploy.folding import fold
from mnist_compact.deploy.steps import Kind, steps_of
from mnist_compact.models.summary import summarize


@pytest.fixture(scope="module", params=[*MEMBERS])
def member(request):
    return MEMBERS[request.param]()


def test_command_writes_one_page_without_addresses(tmp_path, capsys):
    out = tmp_path / "draw.html"
    draw.main(["--zoo", "smallest", "--out", str(out)])
    text = out.read_text(encoding="utf-8")
    assert capsys.readouterr().out.startswith(f"{out}: smallest of the zoo, {out.stat().st_size:,} bytes")
    assert [*tmp_path.iterdir()] == [out]
    assert "3,885 parameters" in text
    assert "<!--{" not in text
    assert re.findall(r"https?:|//\w|\bsrc=|@import|url\(", re.sub(r'"values":"[^"]*"', "", text)) == []
    assert re.findall(r'\bhref="([^"]*)"', text) == ["data:,"]
    assert "default-src 'none'" in text


def test_name_of_the_network_is_text_and_never_html(tmp_path):
    write_drawing_page(small(), "<script>alert(1)</script>", tmp_path / "draw.html")
    assert "<script>alert" not in (tmp_path / "draw.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--zoo", "nothing"], "no 'nothing' in the zoo"),
        (["--run", "missing"], "has no weights of a last epoch"),
        (["--zoo", "smallest", "--out", "page.txt"], "--out must end in .html, got page.txt"),
    ],
)
def test_refused_page_is_not_written(tmp_path, monkeypatch, arguments, message, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "draw.html").write_text("older")
    with pytest.raises(SystemExit, match="2"):
        draw.main(["--out", "draw.html", *arguments])
    assert message in capsys.readouterr().err
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("draw.html", "older")]


def test_page_replaces_an_older_one_only_when_it_is_complete(tmp_path, monkeypatch):
    out = tmp_path / "draw.html"
    out.write_text("older")

    def killed(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        write_drawing_page(small(), "a test", out)
    assert out.read_text() == "older"
    assert [*tmp_path.iterdir()] == [out]


def test_parts_outside_the_family_are_refused(tmp_path):
    classifier = small()
    classifier.network.layers.append(nn.Softplus())
    with pytest.raises(ConfigError, match=r"cannot represent layers\.3, a Softplus"):
        write_drawing_page(classifier, "a test", tmp_path / "draw.html")
    assert [*tmp_path.iterdir()] == []


def test_receptive_fields_are_those_of_the_summary(member):
    """Also in networks with shortcuts, whose convolutions have fields of their own."""
    steps = steps_of(fold(member))
    stated = [
        (row.out_channels, row.out_height, row.jump, row.receptive_field)
        for row in summarize(member.network, (1, 28, 28)).rows
        if re.match("Conv2d|Linear|MaxPool2d|AvgPool2d", row.layer)
    ]
    found = [
        (steps.maps[step.target].channels, steps.maps[step.target].side, field.jump, field.size)
        for step, field in zip(steps.steps, receptive_fields(steps)[1:], strict=True)
        if step.kind is not Kind.ADD
    ]
    assert sorted(found) == sorted(stated)


def test_first_field_begins_before_the_image_by_the_padding():
    steps = steps_of(fold(small("padded input")))
    fields = receptive_fields(steps)
    assert [(field.start, field.jump, field.size) for field in fields[:3]] == [(0, 1, 1), (-2, 2, 5), (-2, 2, 9)]


def test_layers_are_named_as_the_field_names_them():
    names = [step["name"] for step in network_data(small("residual"))["steps"]]
    assert names[:8] == [
        "Convolution 5×5, stride 2, ReLU",
        "Convolution 3×3, ReLU",
        "Sum of layer 2 and layer 1",
        "Convolution 1×1",
        "Convolution 3×3, ReLU, of layer 3",
        "Sum of layer 5 and layer 4",
        "Max pooling 2×2",
        "Convolution 1×1",
    ]
    assert names[-2:] == ["Average pooling 3×3", "Convolution 1×1"]


def test_data_of_the_page_are_json(member):
    data = network_data(member)
    assert json.loads(json.dumps(data, allow_nan=False)) == data
