"""Every export of every network of the family computes what the network computes."""

import shutil

import numpy as np
import pytest
import torch
from family import MEMBERS, images, optimization_of, small
from torch import nn

from mnist_compact.common.errors import ConfigError, ExecutionError
from mnist_compact.data.datasets import Split
from mnist_compact.deploy.c_float import float_source
from mnist_compact.deploy.checking import as_input, compared
from mnist_compact.deploy.compiler import compiled, logits_by
from mnist_compact.deploy.folding import Affine, fold
from mnist_compact.deploy.graph_files import write_onnx, write_pt2
from mnist_compact.deploy.steps import Kind, steps_of
from mnist_compact.models.layers import Activation, BlockOrder
from mnist_compact.models.summary import summarize
from mnist_compact.zoo.classifier import Classifier

COUNT = 24
CLOSE = {"rtol": 1e-4, "atol": 1e-4}
needs_compiler = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


@pytest.fixture(scope="module", params=[*MEMBERS])
def name(request):
    return request.param


@pytest.fixture(scope="module")
def member(name):
    return MEMBERS[name]()


def split_for(classifier):
    shown = images(COUNT)
    with torch.no_grad():
        return Split("synthetic", shown, classifier(shown).argmax(1))


def test_folded_network_has_the_same_logits(member):
    shown = images(COUNT)
    with torch.no_grad():
        torch.testing.assert_close(fold(member)(as_input(shown)), member(shown), **CLOSE)


def test_folded_network_has_no_norm_and_no_dropout(member):
    parts = {type(part) for part in fold(member).modules()}
    assert not parts & {nn.BatchNorm2d, nn.Dropout, nn.Dropout2d, nn.Linear}


def test_norm_is_folded_wherever_no_padding_prevents_it():
    assert not [part for part in fold(small()).modules() if isinstance(part, Affine)]
    first = fold(small("padded input"))
    assert [type(part) for part in first][:2] == [Affine, nn.Conv2d]
    later = [type(part) for part in fold(small(order=BlockOrder.activation_first))]
    # The layers a and b are followed by padding; c is followed by averaging and the head, which take its norm.
    assert later.count(Affine) == 2
    assert later[-4:] == [nn.ReLU, nn.AvgPool2d, nn.Conv2d, nn.Flatten]


@needs_compiler
def test_c_program_has_the_same_logits(name, member):
    shown = images(COUNT)
    source = float_source(member, "a test")
    with compiled(source.files, optimization_of(name)) as made, torch.no_grad():
        found = logits_by(made.program, shown)
        torch.testing.assert_close(found.float(), member(shown), **CLOSE)
        assert made.code_bytes() > source.data_bytes  # the tables and the code


@needs_compiler
def test_c_program_prints_the_accuracy_on_idx_files(tmp_path):
    import struct
    import subprocess

    classifier = MEMBERS["zoo: smallest"]()
    shown = images(COUNT)
    labels = classifier.classify(shown)[0].numpy().astype(np.uint8)
    labels[:3] = (labels[:3] + 1) % 10
    (tmp_path / "labels").write_bytes(struct.pack(">BBBBI", 0, 0, 8, 1, COUNT) + labels.tobytes())
    with compiled(float_source(classifier, "a test").files) as made:
        logits_by(made.program, shown)  # leaves the images beside the program
        command = [made.program, made.program.with_name("images"), tmp_path / "labels"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        assert done.stdout == "21 of 24 correct: 87.50 %\n"
        swapped = subprocess.run([command[0], command[2], command[1]], capture_output=True, check=False, timeout=60)
        assert swapped.returncode == 2


@pytest.mark.parametrize(
    "options", [{"layers": "residual", "order": BlockOrder.activation_first, "activation": Activation.gelu}, {}]
)
def test_onnx_file_has_the_same_predictions(options, tmp_path):
    import onnx

    classifier = small(**options)
    agreement = write_onnx(classifier, split_for(classifier), tmp_path / "net.onnx")
    assert (agreement.correct, agreement.different) == (COUNT, 0)
    assert agreement.largest_difference < 1e-4
    used = {node.op_type for node in onnx.load(tmp_path / "net.onnx").graph.node}
    assert "BatchNormalization" not in used


def test_pt2_file_has_the_same_predictions(tmp_path):
    classifier = MEMBERS["layers: residual, activation first"]()
    agreement = write_pt2(classifier, split_for(classifier), tmp_path / "net.pt2")
    assert (agreement.correct, agreement.different) == (COUNT, 0)
    loaded = torch.export.load(tmp_path / "net.pt2").module()
    assert loaded(torch.zeros(1, 1, 28, 28)).shape == (1, 10)


def test_maps_in_use_never_overlap(member):
    """Every map is intact until it is read for the last time."""
    steps = steps_of(fold(member))
    written = {0: 0}
    for time, step in enumerate(steps.steps):
        for number in (step.source, step.other):
            if number is None:
                continue
            place = steps.maps[number]
            for other, when in written.items():
                if other != number and written[number] < when:
                    here = steps.maps[other]
                    assert here.at >= place.at + place.size or place.at >= here.at + here.size, (time, number, other)
        if step.kind is Kind.CONVOLVE:  # reads values again after it has started to write
            here, place = steps.maps[step.target], steps.maps[step.source]
            assert here.at >= place.at + place.size or place.at >= here.at + here.size
        written[step.target] = time + 1
    assert steps.memory == max(each.at + each.size for each in steps.maps)
    assert len(written) == len(steps.maps)


def test_export_that_differs_is_not_written(tmp_path, monkeypatch):
    from mnist_compact.deploy import graph_files

    classifier = small()
    split = split_for(classifier)
    (tmp_path / "net.pt2").write_text("older")
    monkeypatch.setattr(graph_files, "fold", lambda _: fold(small(layers="residual")))
    with pytest.raises(ExecutionError, match="predicts another digit than the network for"):
        write_pt2(classifier, split, tmp_path / "net.pt2")
    assert (tmp_path / "net.pt2").read_text() == "older"
    assert len([*tmp_path.iterdir()]) == 1


class Square(nn.Module):
    def forward(self, x):
        return x * x


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda network: network.layers.append(Square()), "cannot represent layers.3, a Square"),
        (lambda network: network.layers.append(nn.Conv2d(5, 5, 3, padding=1, dilation=2)), "no dilation"),
        (lambda network: network.layers.append(nn.Conv2d(5, 5, (1, 3))), "square windows"),
        (lambda network: network.layers.append(nn.LeakyReLU(0.2)), "torch's defaults, got LeakyReLU"),
        (lambda network: network.layers.append(nn.MaxPool2d(3, 1)), "must not overlap, got MaxPool2d"),
    ],
)
def test_parts_outside_the_family_are_refused(change, message):
    classifier = small()
    change(classifier.network)
    with pytest.raises(ConfigError, match=message):
        fold(classifier)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (nn.SiLU(), "one kind of activation, got relu, silu"),
        (nn.Conv2d(5, 40_000, 1), "at most 32,767 channels in a map, got 40,000"),
    ],
)
def test_c_refuses_what_its_tables_cannot_hold(part, message):
    classifier = small()
    classifier.network.layers.append(nn.Sequential(part))
    with pytest.raises(ConfigError, match=message):
        steps_of(fold(classifier))


def test_other_networks_are_refused():
    with pytest.raises(ConfigError, match="compact family, got Sequential"):
        fold(Classifier(nn.Sequential(nn.Conv2d(1, 10, 28), nn.Flatten()), 0.1, 0.3))


def test_agreement_counts_what_differs():
    classifier = small()
    shown = images(8)
    with torch.no_grad():
        logits = classifier(shown).clone()
    labels = logits.argmax(1)
    logits[2, (labels[2] + 1) % 10] = 1000
    found = compared(classifier, logits, shown, labels)
    assert (found.images, found.different, found.correct, found.original_correct) == (8, 1, 7, 8)
    assert found.lost_points == 12.5
    assert found.largest_difference > 100


def test_steps_count_the_multiply_accumulates_of_the_summary(member):
    """The convolutions of the C program are those of the network."""
    steps = steps_of(fold(member))
    macs = sum(
        steps.maps[step.target].size * step.convolution.weight[0].numel() for step in steps.steps if step.convolution
    )
    assert macs == summarize(member.network, (1, 28, 28)).macs
