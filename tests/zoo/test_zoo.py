"""The zoo: its entries, publishing a confirmation, and the two commands."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest

from mnist_compact.cli import evaluate as evaluate_command
from mnist_compact.common.errors import ConfigError
from mnist_compact.config.composition import compose
from mnist_compact.config.conversion import from_record
from mnist_compact.config.schema import to_record
from mnist_compact.confirmation.confirmation import Confirmation
from mnist_compact.confirmation.seed_pool import seed_folder
from mnist_compact.data import datasets
from mnist_compact.data.datasets import Datasets, Split, make_synthetic
from mnist_compact.models.summary import count_parameters
from mnist_compact.records.record import RunRecord, Score, Status
from mnist_compact.runs.trainer import run
from mnist_compact.zoo import __main__ as zoo_command
from mnist_compact.zoo import publishing, registry
from mnist_compact.zoo.card_text import to_markdown
from mnist_compact.zoo.classifier import load_network, read
from mnist_compact.zoo.evaluation import evaluate
from mnist_compact.zoo.publishing import publish

SEEDS = list(range(1000, 1020))


@pytest.fixture(scope="module")
def trained(configure, recording_callback, tmp_path_factory):
    home = tmp_path_factory.mktemp("run")
    run(configure("train.average_epochs=1"), home, recording_callback())
    return home


@pytest.fixture
def confirmation(trained, tmp_path):
    """A folder of 20 seeds with the same weights but different records: 99.01, 99.02, … %, shuffled."""

    def made(split="test", seeds=SEEDS, dirty=False):
        folder = tmp_path / "confirmations" / "probe"
        Confirmation(name="probe", source="trial probe:3", split=split, config=to_record(compose())).write(folder)
        for index, seed in enumerate(seeds):
            home = seed_folder(folder, seed)
            shutil.copytree(trained, home)
            record = RunRecord.read(home)
            correct = 9901 + 7 * index % 20
            facts = {"split": split, "at": "last", "epoch": 15, "loss": 0.02, "correct": correct, "total": 10_000}
            record.evaluated = split
            record.confusion = None  # as the bits, of the synthetic images
            (home / "correct.bits").unlink()
            record.scores = [Score(weights="averaged", accuracy=correct / 100, final=True, **facts)]
            record.config["seed"] = seed
            record.environment |= {"git_commit": "abc123", "git_dirty": dirty}
            record.write(home)
        return folder

    return made


def test_publish_writes_the_median_seed_and_its_card(confirmation, trained, tmp_path):
    card = publish(confirmation(), SEEDS, "probe", tmp_path / "zoo")
    assert card == registry.Card.read(tmp_path / "zoo" / "probe.json")
    assert card.correct == 9910  # of 9,901 … 9,920 the lower of the middle two
    assert card.accuracies[str(card.seed)] == 99.10
    assert card.evidence["n"] == 20
    assert card.evidence["mean"] == pytest.approx(99.105)
    weights = tmp_path / "zoo" / "probe.safetensors"
    assert weights.read_bytes() == (trained / "weights" / "averaged_last.safetensors").read_bytes()
    text = (tmp_path / "zoo" / "probe.md").read_text()
    for fact in (
        "99.105 ± 0.059 %",
        "9,910 of 10,000",
        f"seed {card.seed}",
        "trial probe:3",
        "3,928 parameters",
        f"torch {version('torch')}",
    ):
        assert fact in text


@pytest.mark.parametrize(
    ("dirty", "text"), [(False, "commit abc123."), (True, "commit abc123, with uncommitted changes.")]
)
def test_card_states_uncommitted_changes(confirmation, tmp_path, dirty, text):
    assert text in to_markdown(publish(confirmation(dirty=dirty), SEEDS, "probe", tmp_path / "zoo"))


@pytest.mark.parametrize(
    ("split", "seeds", "text"),
    [
        ("holdout", SEEDS, "requires a confirmation on the test split"),
        ("test", SEEDS[:19], "at least 20 seeds, .* has 19 completed and 0 not"),
    ],
)
def test_publish_refuses_other_splits_and_fewer_seeds(confirmation, tmp_path, split, seeds, text):
    with pytest.raises(ConfigError, match=text):
        publish(confirmation(split, seeds), seeds, "probe", tmp_path / "zoo")
    assert not (tmp_path / "zoo").exists()


def test_publish_refuses_seeds_that_were_not_completed(confirmation, tmp_path):
    folder = confirmation(seeds=range(1000, 1022))
    for seed in (1003, 1007):
        record = RunRecord.read(seed_folder(folder, seed))
        record.status = Status.DIVERGED
        record.write(seed_folder(folder, seed))
    with pytest.raises(ConfigError, match="probe has 20 completed and 2 not"):
        publish(folder, list(range(1000, 1022)), "probe", tmp_path / "zoo")


def test_entry_is_replaced_only_with_replace(confirmation, tmp_path, capsys):
    line = ["--add", "probe", "--confirmation", str(confirmation()), "--to", str(tmp_path / "zoo")]
    zoo_command.main(line)
    before = {path: path.read_bytes() for path in (tmp_path / "zoo").iterdir()}
    (tmp_path / "zoo" / "probe.md").write_text("mine")
    with pytest.raises(SystemExit, match="2"):
        zoo_command.main(line)
    assert "probe.safetensors exists already; use --replace to replace the entry" in capsys.readouterr().err
    assert (tmp_path / "zoo" / "probe.md").read_text() == "mine"
    (tmp_path / "zoo" / "probe.safetensors").unlink()
    with pytest.raises(SystemExit, match="2"):
        zoo_command.main(line)
    assert "probe.json exists already" in capsys.readouterr().err
    zoo_command.main([*line, "--replace"])
    assert {path: path.read_bytes() for path in (tmp_path / "zoo").iterdir()} == before


@pytest.mark.parametrize("name", ["../x", "a/b", "a b", ".hidden"])
def test_publish_refuses_names_of_other_folders(confirmation, tmp_path, name):
    with pytest.raises(ConfigError, match="--add must be a name of letters, digits, - and _"):
        publish(confirmation(), SEEDS, name, tmp_path / "zoo", replace=True)
    assert not list(tmp_path.glob("*.*"))


def test_failed_publishing_changes_nothing(confirmation, tmp_path, monkeypatch):
    publish(confirmation(), SEEDS, "probe", tmp_path / "zoo")
    for path in (tmp_path / "zoo").iterdir():
        path.write_text("older")
    before = {path: path.read_bytes() for path in (tmp_path / "zoo").iterdir()}

    def full(_):
        raise OSError("no space left")

    monkeypatch.setattr(publishing, "to_markdown", full)
    with pytest.raises(OSError, match="no space left"):
        publish(tmp_path / "confirmations" / "probe", SEEDS, "probe", tmp_path / "zoo", replace=True)
    assert {path: path.read_bytes() for path in (tmp_path / "zoo").iterdir()} == before


def test_command_adds_lists_and_shows_an_entry(confirmation, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(registry, "zoo_folder", lambda: tmp_path / "zoo")
    zoo_command.main(["--add", "probe", "--confirmation", str(confirmation())])
    zoo_command.main([])
    zoo_command.main(["--card", "probe"])
    printed = capsys.readouterr().out
    assert "probe: seed" in printed
    assert "99.10" in printed
    assert (tmp_path / "zoo" / "probe.md").read_text() in printed
    assert sum(count_parameters(registry.load("probe").network)) == registry.card("probe").parameters
    with pytest.raises(SystemExit, match="2"):
        zoo_command.main(["--card", "prob"])
    assert "probe" in capsys.readouterr().err


def test_listing_the_zoo_does_not_import_torch():
    command = [sys.executable, "-X", "importtime", "-m", "mnist_compact.zoo"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert all(f" {name} " in done.stdout for name in registry.names())
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "mnist_compact.zoo.registry" in imported
    assert "torch" not in imported


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 2}, "has schema version 2; this program reads 1"),
        ({"seed": "1008"}, "is not a model card: seed of the card must be a whole number, got '1008'"),
        ({"more": 1}, "is not a model card: the card has unknown keys: more"),
    ],
)
def test_card_read_refuses_other_files(tmp_path, change, message):
    raw = json.loads((registry.zoo_folder() / "fast.json").read_text())
    (tmp_path / "card.json").write_text(json.dumps(raw | change))
    with pytest.raises(ConfigError, match=message):
        registry.Card.read(tmp_path / "card.json")


def test_evaluate_compares_a_run_with_its_record(trained, capsys):
    evaluate_command.main(["--run", str(trained)])
    printed = capsys.readouterr().out
    record = RunRecord.read(trained).score("synthetic", weights="averaged")
    assert f"{record.correct} of {record.total} images" in printed
    assert "the record has the same figure" in printed


def test_evaluate_measures_robustness_and_writes_a_page(trained, tmp_path, capsys):
    page = tmp_path / "page.html"
    evaluate_command.main(["--run", str(trained), "--robust", "--page", str(page)])
    printed = capsys.readouterr().out
    for words in ("stroke thickness", "Expected calibration error", "fitted temperature", str(page)):
        assert words in printed
    text = page.read_text(encoding="utf-8")
    assert text.count("data:image/png;base64,") == 4
    assert "occlusion" in text
    assert "http" not in text


def test_evaluate_writes_a_page_only_with_robustness(trained, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        evaluate_command.main(["--run", str(trained), "--page", str(tmp_path / "page.html")])
    assert ended.value.code == 2
    assert "--page needs --robust" in capsys.readouterr().err


def test_evaluate_finds_a_trial_by_its_number(trained, tmp_path, capsys):
    shutil.copytree(trained, tmp_path / "probe" / "trials" / "0003")
    evaluate_command.main(["--trial", "probe:3", "--sweeps", str(tmp_path), "--weights", "raw"])
    printed = capsys.readouterr().out
    record = RunRecord.read(trained).score("synthetic")
    assert f"{record.correct} of {record.total} images" in printed
    assert "the record has the same figure" in printed


def test_evaluate_scores_a_held_out_run_on_test_images(trained, tmp_path, monkeypatch, capsys):
    home = tmp_path / "run"
    shutil.copytree(trained, home)
    record = RunRecord.read(home)
    record.config["data"] = to_record(compose("data=holdout"))["data"]
    record.write(home)
    images = make_synthetic(10, 30, 1).evaluation
    test = Datasets(images, Split("test", images.images, images.labels), 0.0, 1.0)
    monkeypatch.setattr(datasets, "load_whole", lambda *_: test)
    evaluate_command.main(["--run", str(home), "--split", "test"])
    found = evaluate(load_network(home), images)
    assert f"test accuracy {found.accuracy:.2f} %: {found.correct} of 30 images" in capsys.readouterr().out


def test_evaluate_refuses_training_images(trained, tmp_path, capsys):
    home = tmp_path / "run"
    shutil.copytree(trained, home)
    record = RunRecord.read(home)
    record.config["data"] = to_record(compose("data=mnist"))["data"]
    record.write(home)
    for what in (["--zoo", "under_8k"], ["--run", str(home)]):
        with pytest.raises(SystemExit, match="2"):
            evaluate_command.main([*what, "--split", "holdout"])
        assert "was trained on these images" in capsys.readouterr().err


def test_evaluate_exits_with_1_if_not_reproduced(trained, tmp_path, capsys):
    home = tmp_path / "run"
    shutil.copytree(trained, home)
    record = RunRecord.read(home)
    record.scores = [wrong(score, (score.correct + 3) % (score.total + 1)) for score in record.scores]
    record.confusion = None
    (home / "correct.bits").unlink()
    record.write(home)
    with pytest.raises(SystemExit, match="1"):
        evaluate_command.main(["--run", str(home)])
    assert "not reproduced" in capsys.readouterr().out


def wrong(score, correct):
    return replace(score, correct=correct, accuracy=100 * correct / score.total)


def test_evaluate_refuses_a_contradicting_record(trained, tmp_path, capsys):
    home = tmp_path / "run"
    shutil.copytree(trained, home)
    record = RunRecord.read(home)
    record.scores = [replace(score, accuracy=99.9) for score in record.scores]
    record.write(home)
    with pytest.raises(SystemExit, match="2"):
        evaluate_command.main(["--run", str(home)])
    assert "contradicts itself: train accuracy (raw weights, last epoch) is 99.9 % beside" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--trial", "nothing"], ["--run", "nowhere"], ["--zoo", "nothing"]])
def test_evaluate_refuses_what_does_not_exist(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        evaluate_command.main(arguments)
    assert capsys.readouterr().err.startswith("mnist-compact-evaluate: ")


@pytest.mark.parametrize("name", registry.names())
def test_entries_of_the_zoo_are_complete_and_small(name):
    card, folder = registry.card(name), registry.zoo_folder()
    assert (folder / f"{name}.md").read_text() == to_markdown(card)
    assert (folder / f"{name}.safetensors").stat().st_size < 48_000
    network = read(folder / f"{name}.safetensors").network
    assert sum(count_parameters(network)) == card.parameters == sum(int(row["parameters"]) for row in card.layers)
    assert to_record(from_record(card.config))["model"] == card.config["model"]
    assert card.evidence["n"] == len(card.accuracies) >= 20


@pytest.mark.mnist
@pytest.mark.parametrize("name", registry.names())
def test_figures_of_the_cards_are_reproduced(name, capsys):
    evaluate_command.main(["--zoo", name])
    assert "the card has" in capsys.readouterr().out


def test_cards_have_the_figures_of_the_page_on_robustness():
    page = Path(__file__).parents[2].joinpath("docs/robustness.md").read_text(encoding="utf-8").replace("\\_", "_")
    for name in registry.names():
        card = registry.card(name)
        (cells,) = re.findall(rf"^\| {name} \| ([\d. |]+) \|$", page, re.M)
        _, corrupted, error, loss, temperature, calibrated, _ = map(float, cells.split(" | "))
        figures = card.robustness
        assert (corrupted, error) == (figures["mean_corrupted"], round(figures["calibration_error"], 2))
        assert (temperature, calibrated) == (round(figures["temperature"], 3), round(figures["calibrated_loss"], 5))
        assert loss == pytest.approx(card.loss, abs=2e-5)
        assert f"Mean accuracy on corrupted test images {corrupted:.2f} %" in to_markdown(card)


def test_page_on_robustness_has_the_accuracy_of_every_card():
    page = Path(__file__).parents[2].joinpath("docs/robustness.md").read_text(encoding="utf-8")
    overview = page.partition("## Overview")[2].partition("## ")[0]
    rows = dict(re.findall(r"^\| (\w+) \| ([\d.]+) \|", overview.replace("\\_", "_"), re.M))
    assert rows == {name: f"{registry.card(name).accuracy:.2f}" for name in registry.names()}
