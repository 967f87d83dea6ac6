"""What the package offers a program: the README's example, what there is to be seen, and how things show themselves."""

import html
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mnist_compact
from mnist_compact import compose, confirm, load_network, load_runs, load_study, train
from mnist_compact.confirm import crew, seed
from mnist_compact.faults import ConfigError, WorkFault
from mnist_compact.jobs import Outcome
from mnist_compact.results.record import RunRecord

ROOT = Path(__file__).parents[1]
EXPORTED = ROOT / "evidence/under_8k/under_8k.study.json.gz"
SMALL = ("data=synthetic", "data.train_images=128", "data.evaluation_images=40", "train.batch_size=32")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def in_this_process(monkeypatch):
    """Seeds are trained one after another, without processes of their own."""

    def run_all(jobs, workers, total):
        monkeypatch.setattr(seed, "end_with", lambda parent: None)
        codes = {job.number: seed.main(job.folder.parents[1], int(job.folder.name), 1, 0) for job in jobs}
        return {number: Outcome("", fault="exit status" if code else "") for number, code in codes.items()}

    monkeypatch.setattr(crew, "run_all", run_all)


def example():
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (text,) = [block for block in blocks if "import compose" in block]
    return text


def test_the_readmes_example_runs(here, in_this_process, capsys):
    (here / "evidence").symlink_to(ROOT / "evidence")
    found = {}
    exec(compile(example(), "README.md", "exec"), found)
    assert found["record"] == RunRecord.read(here / "outputs/by_hand")
    right = (found["digits"] == found["data"].evaluation.labels).sum()
    assert int(right) == found["record"].score("synthetic").correct
    assert found["runs"]["status"].tolist() == ["completed"]
    assert set(found["trials"]["state"]) >= {"complete", "refused"}
    assert [result.seed for result in found["evidence"].completed] == [3000, 3001]


def test_there_is_to_be_seen_what_is_offered_and_nothing_else():
    names = ["compose", "confirm", "load", "load_network", "load_runs", "load_study", "train"]
    assert dir(mnist_compact) == mnist_compact.__all__ == names
    assert all(callable(getattr(mnist_compact, name)) for name in names)
    with pytest.raises(AttributeError, match="no attribute 'load_nothing'"):
        _ = mnist_compact.load_nothing


def test_importing_the_package_is_light():
    heavy = ("hydra", "matplotlib", "numpy", "optuna", "pandas", "rich", "torch")
    script = f"import sys, mnist_compact; dir(mnist_compact); print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_confirm_is_the_same_whatever_was_imported_before():
    """Of it as a room, too: importing a part of it makes it an attribute of the package."""
    script = "import {}, inspect; from mnist_compact import confirm; print(*inspect.signature(confirm).parameters)"
    for first in ("sys", "mnist_compact.confirm", "mnist_compact.confirm.evidence as evidence"):
        done = subprocess.run([sys.executable, "-c", script.format(first)], capture_output=True, text=True, check=True)
        assert done.stdout.split()[:4] == ["config", "run", "trial", "experiment"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "run"
    return folder, train(compose("model=m1", "train.epochs=1", *SMALL), str(folder))


def test_train_leaves_a_whole_folder_and_its_record(trained, capsys):
    folder, record = trained
    assert record == RunRecord.read(folder)
    assert {"curves.png", "confusion.png", "mistakes.png", "correct.bits"} <= {path.name for path in folder.iterdir()}
    assert (folder / "correct.bits").stat().st_size == 5
    with pytest.raises(ConfigError, match="holds a run already"):
        train(compose("model=m1", *SMALL), folder)


def test_things_show_themselves_as_tables(trained):
    folder, record = trained
    shown = record._repr_html_()
    assert "<td>synthetic</td>" in shown
    assert f"{record.network.parameters:,} parameters" in shown
    layers = load_network(folder)._repr_html_()
    assert "<td>Conv2d 3x3</td>" in layers
    config = compose("model=m1")
    config.model.name = "<b>"
    assert "&lt;b&gt;" in config._repr_html_()
    assert "dropout: " in config._repr_html_()


def test_a_confirmation_shows_its_seeds_and_its_verdict(here, in_this_process):
    config = compose("model=m1", "train.epochs=1", *SMALL)
    evidence = confirm(config, split="synthetic", seeds=2, bar=99.9, name="<i>")
    shown = evidence._repr_html_()
    assert "<td>3001</td>" in shown
    assert f"<p>{html.escape(evidence.verdict())}</p>" in shown
    assert "on new digits, too: 95 % interval" in shown
    assert (here / "outputs/confirmations/<i>/seeds/3000/correct.bits").exists()
    assert confirm(config, split="synthetic", seeds=2, bar=99.9, name="<i>") == evidence, "nothing trained twice"


def test_a_confirmation_wants_one_thing_to_confirm_and_says_what_could_not_be_trained(here, monkeypatch):
    with pytest.raises(ConfigError, match="must be given, got 0"):
        confirm()
    with pytest.raises(ConfigError, match="must be given, got 2"):
        confirm(trial="s:1", experiment="m3_logged")
    monkeypatch.setattr(crew, "train", lambda wanted, jobs: ["seed 3000: out of memory"])
    with pytest.raises(WorkFault, match="seed 3000: out of memory"):
        confirm(compose(*SMALL), split="synthetic", seeds=1)


def test_a_study_is_a_table_of_every_trial():
    from mnist_compact.studies.places import from_file

    table, study = load_study(EXPORTED), from_file(EXPORTED)
    trials = study.get_trials(deepcopy=False)
    assert table["trial"].tolist() == list(range(len(trials)))
    complete = table[table["state"] == "complete"]
    assert complete["accuracy"].tolist() == [trials[number].values[0] for number in complete["trial"]]
    assert complete["accuracy"].tolist() == complete["last_score"].tolist()
    assert table[table["state"] != "complete"]["accuracy"].isna().all()
    assert set(complete["epochs"]) == {15}
    refused = table[table["state"] == "refused"]
    assert refused["reason"].notna().all()
    assert [str(table[name].dtype) for name in ("state", "parameters", "sgd:optim.lr", "model.layers.conv1.width")] == [
        *("string", "Int64", "Float64", "Int64")
    ]
    for name in ("augment.shear", "sgd:optim.lr"):
        wanted = [trial.params.get(name) for trial in trials]
        assert table[name].astype(object).where(table[name].notna(), None).tolist() == wanted


def test_a_study_of_no_name_is_said(here):
    with pytest.raises(ConfigError, match="There is no study 'nothing'"):
        load_study("nothing")
    assert load_runs(here).empty
