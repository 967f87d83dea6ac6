"""What the zoo holds, how an entry is made of a confirmation, and the two commands."""

import shutil
from dataclasses import replace
from importlib.metadata import version

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
from mnist_compact.zoo.card_text import told
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
    """A folder of 20 seeds, all with the same weights but records of their own: 99.01, 99.02, … %, mixed up."""

    def made(split="test", seeds=SEEDS, dirty=False):
        folder = tmp_path / "confirmations" / "probe"
        Confirmation(name="probe", source="trial probe:3", split=split, config=to_record(compose())).write(folder)
        for place, seed in enumerate(seeds):
            home = seed_folder(folder, seed)
            shutil.copytree(trained, home)
            record = RunRecord.read(home)
            correct = 9901 + 7 * place % 20
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


def test_the_median_seed_is_published_with_what_is_known_of_it(confirmation, trained, tmp_path):
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
        f"seed {card.seed}'s",
        "trial probe:3",
        "3,928 parameters",
        f"torch {version('torch')}",
    ):
        assert fact in text


@pytest.mark.parametrize(
    ("dirty", "said"), [(False, "commit abc123."), (True, "commit abc123, with uncommitted changes.")]
)
def test_a_card_says_whether_its_commit_was_changed(confirmation, tmp_path, dirty, said):
    assert said in told(publish(confirmation(dirty=dirty), SEEDS, "probe", tmp_path / "zoo"))


@pytest.mark.parametrize(
    ("split", "seeds", "said"),
    [("holdout", SEEDS, "of the test split"), ("test", SEEDS[:19], "at least 20 seeds, .* has 19 completed and 0 not")],
)
def test_thin_evidence_is_refused(confirmation, tmp_path, split, seeds, said):
    with pytest.raises(ConfigError, match=said):
        publish(confirmation(split, seeds), seeds, "probe", tmp_path / "zoo")
    assert not (tmp_path / "zoo").exists()


def test_seeds_that_were_not_completed_are_counted_in_the_refusal(confirmation, tmp_path):
    folder = confirmation(seeds=range(1000, 1022))
    for seed in (1003, 1007):
        record = RunRecord.read(seed_folder(folder, seed))
        record.status = Status.DIVERGED
        record.write(seed_folder(folder, seed))
    with pytest.raises(ConfigError, match="probe has 20 completed and 2 not"):
        publish(folder, list(range(1000, 1022)), "probe", tmp_path / "zoo")


def test_an_entry_is_written_over_only_when_told(confirmation, tmp_path, capsys):
    line = ["--add", "probe", "--confirmation", str(confirmation()), "--to", str(tmp_path / "zoo")]
    zoo_command.main(line)
    before = {path: path.read_bytes() for path in (tmp_path / "zoo").iterdir()}
    (tmp_path / "zoo" / "probe.md").write_text("mine")
    with pytest.raises(SystemExit, match="2"):
        zoo_command.main(line)
    assert "probe.safetensors exists already; --replace writes over it" in capsys.readouterr().err
    assert (tmp_path / "zoo" / "probe.md").read_text() == "mine"
    (tmp_path / "zoo" / "probe.safetensors").unlink()
    with pytest.raises(SystemExit, match="2"):
        zoo_command.main(line)
    assert "probe.json exists already" in capsys.readouterr().err
    zoo_command.main([*line, "--replace"])
    assert {path: path.read_bytes() for path in (tmp_path / "zoo").iterdir()} == before


@pytest.mark.parametrize("name", ["../x", "a/b", "a b", ".hidden"])
def test_a_name_that_leads_elsewhere_is_refused(confirmation, tmp_path, name):
    with pytest.raises(ConfigError, match="--add must be a name of letters, digits, - and _"):
        publish(confirmation(), SEEDS, name, tmp_path / "zoo", replace=True)
    assert not list(tmp_path.glob("*.*"))


def test_an_entry_is_all_there_or_as_it_was(confirmation, tmp_path, monkeypatch):
    publish(confirmation(), SEEDS, "probe", tmp_path / "zoo")
    for path in (tmp_path / "zoo").iterdir():
        path.write_text("older")
    before = {path: path.read_bytes() for path in (tmp_path / "zoo").iterdir()}

    def full(_):
        raise OSError("no space left")

    monkeypatch.setattr(publishing, "told", full)
    with pytest.raises(OSError, match="no space left"):
        publish(tmp_path / "confirmations" / "probe", SEEDS, "probe", tmp_path / "zoo", replace=True)
    assert {path: path.read_bytes() for path in (tmp_path / "zoo").iterdir()} == before


def test_the_command_adds_what_load_and_the_list_then_find(confirmation, tmp_path, monkeypatch, capsys):
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


def test_a_run_is_evaluated_beside_its_record(trained, capsys):
    evaluate_command.main(["--run", str(trained)])
    printed = capsys.readouterr().out
    record = RunRecord.read(trained).score("synthetic", weights="averaged")
    assert f"{record.correct} of {record.total} images" in printed
    assert "the record says the same" in printed


def test_a_trial_is_evaluated_by_its_number(trained, tmp_path, capsys):
    shutil.copytree(trained, tmp_path / "probe" / "trials" / "0003")
    evaluate_command.main(["--trial", "probe:3", "--sweeps", str(tmp_path), "--weights", "raw"])
    printed = capsys.readouterr().out
    record = RunRecord.read(trained).score("synthetic")
    assert f"{record.correct} of {record.total} images" in printed
    assert "the record says the same" in printed


def test_a_held_out_run_is_evaluated_on_the_test_images_it_never_read(trained, tmp_path, monkeypatch, capsys):
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


def test_images_that_a_network_was_trained_on_are_no_split_to_score_it_on(trained, tmp_path, capsys):
    home = tmp_path / "run"
    shutil.copytree(trained, home)
    record = RunRecord.read(home)
    record.config["data"] = to_record(compose("data=mnist"))["data"]
    record.write(home)
    for what in (["--zoo", "under_8k"], ["--run", str(home)]):
        with pytest.raises(SystemExit, match="2"):
            evaluate_command.main([*what, "--split", "holdout"])
        assert "was trained on these images" in capsys.readouterr().err


def test_a_figure_that_does_not_come_out_again_is_exit_code_1(trained, tmp_path, capsys):
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


def test_evaluate_names_a_record_that_contradicts_itself(trained, tmp_path, capsys):
    home = tmp_path / "run"
    shutil.copytree(trained, home)
    record = RunRecord.read(home)
    record.scores = [replace(score, accuracy=99.9) for score in record.scores]
    record.write(home)
    with pytest.raises(SystemExit, match="2"):
        evaluate_command.main(["--run", str(home)])
    assert "contradicts itself: train accuracy (raw weights, last epoch) is 99.9 % beside" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--trial", "nothing"], ["--run", "nowhere"], ["--zoo", "nothing"]])
def test_what_is_not_there_is_refused(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        evaluate_command.main(arguments)
    assert capsys.readouterr().err.startswith("mnist-compact-evaluate: ")


@pytest.mark.parametrize("name", registry.names())
def test_entries_of_the_zoo_are_whole_and_small(name):
    card, folder = registry.card(name), registry.zoo_folder()
    assert (folder / f"{name}.md").read_text() == told(card)
    assert (folder / f"{name}.safetensors").stat().st_size < 48_000
    network = read(folder / f"{name}.safetensors").network
    assert sum(count_parameters(network)) == card.parameters == sum(int(row["parameters"]) for row in card.layers)
    assert to_record(from_record(card.config))["model"] == card.config["model"]
    assert card.evidence["n"] == len(card.accuracies) >= 20


@pytest.mark.mnist
@pytest.mark.parametrize("name", registry.names())
def test_the_cards_figures_come_out_again(name, capsys):
    evaluate_command.main(["--zoo", name])
    assert "the card says" in capsys.readouterr().out
