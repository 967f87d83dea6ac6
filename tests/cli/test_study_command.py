"""The study command: its output, its files and its error messages."""

import csv
import io
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import optuna
import pytest
from optuna.samplers import PartialFixedSampler, RandomSampler
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState

from mnist_compact.cli import watch
from mnist_compact.cli.study import main
from mnist_compact.search.builders import space_of
from mnist_compact.search.counts import is_refused, tally
from mnist_compact.search.locate import opened
from mnist_compact.search.status import store_criteria
from mnist_compact.search.stopping import StoppingCriteria
from mnist_compact.search.transfer import export_study, read, write

FROZEN = {
    "settings": {
        "objectives": ["accuracy"],
        "params": {"optim.lr": "interval(0,1)"},
        "sampler": {"n": 3, "seed": None},
        "branches": {},
    },
    "arguments": ["sweeps=probe", "seed=3"],
    "files": {"config.yaml": "# long"},
}
CURVES = [(90.0, 99.0, 99.2), (80.0, 98.0, 99.3), (70.0, 97.0, 99.4), (95.0, 99.5, 99.1)]


def create_study(storage, curves=CURVES):
    """Create a study of complete trials with these curves, one refused proposal and one running trial."""
    study = optuna.create_study(study_name="probe", storage=storage, direction="maximize")
    with warnings.catch_warnings(action="ignore", category=optuna.exceptions.ExperimentalWarning):
        study.set_metric_names(["accuracy"])
    study.set_user_attr("frozen", FROZEN)
    for i, curve in enumerate(curves):
        trial = study.ask()
        trial.suggest_float("optim.lr", 0, 1)
        for key, value in {"overrides": [f"optim.lr=0.{i}"], "parameters": 7000 + i, "seconds": 10.25}.items():
            trial.set_user_attr(key, value)
        for epoch, score in enumerate(curve, 1):
            trial.report(score, epoch)
        study.tell(trial, curve[-1])
    refused = study.ask()
    refused.suggest_float("optim.lr", 0, 1)
    refused.set_user_attr("refused", "over budget")
    study.tell(refused, state=TrialState.PRUNED)
    study.ask().suggest_float("optim.lr", 0, 1)


def exported(path, curves):
    """The exported file of such a study, which is faster to create than a database."""
    storage = InMemoryStorage()
    create_study(storage, curves)
    write(path, export_study(storage, "probe"))
    return str(path)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    with opened(f"sqlite:///{folder}/study.db") as storage:
        create_study(storage)
    return folder


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    """A folder with a study in the default place."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made, "outputs/sweeps/probe")
    return tmp_path


def output_of(capsys, *arguments):
    main(arguments)
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def refused(capsys, *arguments):
    """The single line on stderr with which the command refuses its arguments."""
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


def cells(text, first):
    """The line of a printed table whose first cell is `first`, with single spaces."""
    return next(" ".join(line.split()) for line in text.splitlines() if line.split()[:1] == [first])


# collect


def test_missing_run_folders_are_named_and_set_the_exit_code(here, capsys):
    (here / "b/trials").mkdir(parents=True)
    with pytest.raises(SystemExit) as stopped:
        main(["collect", "probe", "--from", "b"])
    assert stopped.value.code == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "study probe: 0 run folders copied to outputs/sweeps/probe/trials; 0 existed"
    assert lines[1] == "4 complete trials of an unknown machine without a run folder: 0, 1, 2, 3"


def test_collect_refuses_a_name_outside_the_folder(here, capsys):
    message = refused(capsys, "collect", "../probe", "--from", "b")
    assert message == "mnist-compact-study: NAME must be that of a folder in outputs/sweeps, got '../probe'\n"


# export and import


def test_study_is_exported_and_imported(here, capsys):
    assert output_of(capsys, "export", "probe").startswith("probe.study.json.gz: 6 trials, ")
    line = output_of(capsys, "import", "probe.study.json.gz", "--folder", "elsewhere")
    assert line == (
        "study probe: 6 trials, 4 of which count towards n_trials; to continue it to 14 trials:\n"
        "python -m mnist_compact resume=elsewhere/probe hydra.sweeper.n_trials=14\n"
    )
    assert [path.name for path in (here / "elsewhere" / "probe").iterdir()] == ["study.db"]
    output_of(capsys, "export", "probe", "--folder", "elsewhere", "--out", "back/again.study.json.gz")
    assert (here / "back/again.study.json.gz").read_bytes() == (here / "probe.study.json.gz").read_bytes()


def test_the_folder_of_a_study_is_accepted_for_its_name(here, capsys):
    (here / "outputs/sweeps").rename(here / "moved")
    assert output_of(capsys, "show", "moved/probe/") == output_of(capsys, "show", "probe", "--folder", "moved")
    assert output_of(capsys, "export", "moved/probe").startswith("probe.study.json.gz: 6 trials, ")


def test_import_under_another_name_creates_another_study(here, capsys):
    output_of(capsys, "export", "probe")
    assert " resume=outputs/sweeps/other " in output_of(capsys, "import", "probe.study.json.gz", "--name", "other")
    assert "study 'other': 4 complete" in output_of(capsys, "show", "other")


def test_import_into_a_given_storage(here, capsys):
    output_of(capsys, "export", "probe")
    storage = ("--storage", f"journal://{here}/log")
    assert f"hydra.sweeper.storage=journal://{here}/log" in output_of(capsys, "import", "probe.study.json.gz", *storage)
    assert "4 complete" in output_of(capsys, "show", "probe", *storage)
    output_of(capsys, "export", "probe", *storage, "--out", "back")
    assert (here / "back").read_bytes() == (here / "probe.study.json.gz").read_bytes()
    assert "a study 'probe' exists there already" in refused(capsys, "import", "probe.study.json.gz", *storage)


def test_existing_study_is_not_overwritten(here, capsys):
    output_of(capsys, "export", "probe")
    before = (here / "outputs/sweeps/probe/study.db").read_bytes()
    assert "study.db exists already; --name" in refused(capsys, "import", "probe.study.json.gz")
    assert (here / "outputs/sweeps/probe/study.db").read_bytes() == before


def test_import_into_a_folder_with_trials_is_refused(here, capsys):
    """The trials may be newer than the file, and the imported study would reuse their numbers."""
    output_of(capsys, "export", "probe")
    home = here / "outputs/sweeps/probe"
    (home / "study.db").unlink()
    (home / "trials/0006").mkdir(parents=True)
    assert "probe contains trials already: move them, or give --name" in refused(
        capsys, "import", "probe.study.json.gz"
    )
    (home / "trials").rename(here / "moved")
    assert "6 trials" in output_of(capsys, "import", "probe.study.json.gz")


def test_import_of_a_damaged_file_leaves_nothing(here, capsys):
    (here / "x.study.json.gz").write_bytes(b"hello")
    assert "x.study.json.gz is damaged" in refused(capsys, "import", "x.study.json.gz", "--name", "new")
    assert "is damaged" in refused(capsys, "show", "x.study.json.gz")
    assert "absent.study.json.gz" in refused(capsys, "import", "absent.study.json.gz")
    assert not (here / "outputs/sweeps/new").exists()


@pytest.mark.parametrize("name", ["../out", "/out", ""])
def test_study_name_cannot_leave_the_folder(here, capsys, name):
    assert "must be that of a folder in outputs/sweeps" in refused(capsys, "export", name)


@pytest.mark.parametrize("place", ["folder", "storage"])
def test_interrupted_import_leaves_nothing(tmp_path, monkeypatch, capsys, place):
    monkeypatch.chdir(tmp_path)
    file = exported(tmp_path / "probe.study.json.gz", CURVES)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("mnist_compact.search.bulk._attributes", interrupted)
    where = {"folder": ["--folder", "new/sweeps"], "storage": ["--storage", "sqlite:///new.db"]}[place]
    with pytest.raises(SystemExit) as stopped:
        main(["import", file, *where])
    assert stopped.value.code == 130
    assert capsys.readouterr().err == "mnist-compact-study: interrupted\n"
    assert [path.name for path in tmp_path.iterdir()] == ["probe.study.json.gz"]


def test_refused_import_does_not_change_the_storage(here, capsys):
    """The file is damaged, or its study exists already."""
    output_of(capsys, "export", "probe")
    output_of(capsys, "import", "probe.study.json.gz", "--storage", "sqlite:///shared.db")
    before = (here / "shared.db").read_bytes()
    assert "exists there already" in refused(
        capsys, "import", "probe.study.json.gz", "--storage", "sqlite:///shared.db"
    )
    assert (here / "shared.db").read_bytes() == before
    content = read(here / "probe.study.json.gz")
    content["trials"].pop(1)
    write(here / "damaged.study.json.gz", content)
    assert "is damaged" in refused(capsys, "import", "damaged.study.json.gz", "--storage", "sqlite:///new.db")
    assert not (here / "new.db").exists()


# list


def test_list_finds_studies_and_files(here, capsys):
    exported(here / "outputs/sweeps/empty.study.json.gz", curves=[])
    output_of(capsys, "export", "probe", "--out", "outputs/sweeps/old.study.json.gz")
    lines = output_of(capsys, "list").splitlines()
    assert lines[0].split() == ["study", "complete", "pruned", "failed", "running", "waiting", "refused", "best", "in"]
    assert [" ".join(line.split()) for line in lines[2:]] == [
        "probe 0 0 0 0 1 1 outputs/sweeps/empty.study.json.gz",
        "probe 4 0 0 0 1 1 accuracy 99.4 outputs/sweeps/old.study.json.gz",
        "probe 4 0 0 1 0 1 accuracy 99.4 outputs/sweeps/probe/study.db",
    ]
    for path in ("outputs/sweeps/probe", "outputs/sweeps/probe/study.db"):
        assert cells(output_of(capsys, "list", path), "probe").endswith("outputs/sweeps/probe/study.db")


@pytest.mark.parametrize("scheme", ["sqlite", "journal"])
def test_list_finds_studies_in_a_storage(tmp_path, capsys, scheme):
    url = f"{scheme}:///{tmp_path}/shared"
    assert "--storage must exist" in refused(capsys, "list", "--storage", url)
    with opened(url) as storage:
        optuna.create_study(study_name="second", storage=storage)
        create_study(storage)
    lines = [" ".join(line.split()) for line in output_of(capsys, "list", "--storage", url).splitlines()[2:]]
    assert lines == [f"probe 4 0 0 1 0 1 accuracy 99.4 {url}", f"second 0 0 0 0 0 0 {url}"]


def test_list_names_unreadable_studies_and_continues(here, capsys):
    (here / "outputs/sweeps/bad.study.json.gz").write_bytes(b"hello")
    (here / "outputs/sweeps/torn").mkdir()
    (here / "outputs/sweeps/torn/study.db").write_bytes(b"hello" * 1000)
    main(["list"])
    captured = capsys.readouterr()
    assert "probe" in captured.out
    assert re.findall(r"sweeps/(\S+) (?:is|cannot)", captured.err) == ["bad.study.json.gz", "torn/study.db"]


def test_folder_without_studies_is_not_an_error(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main(["list"])
    main(["list", "."])
    lines = ["No studies yet: there is no folder 'outputs/sweeps' here.", "No studies found in ..", ""]
    assert capsys.readouterr() == ("", "\n".join(lines))
    assert list(tmp_path.iterdir()) == []
    assert "'nowhere'" in refused(capsys, "list", "nowhere")


# show


def test_show_prints_settings_counts_best_trials_and_correlation(here, capsys):
    text = output_of(capsys, "show", "probe", "--top", "2")
    assert text.startswith(
        "study 'probe': 4 complete, 0 pruned, 0 failed, 1 running, 0 waiting, 1 refused (17% of 6 proposals)\n"
    )
    assert 'params.optim.lr: "interval(0,1)"\nsampler.n: 3\ncommand line: ["sweeps=probe", "seed=3"]\n' in text
    assert "# long" not in text
    assert cells(text, "2") == "2 99.40 7,002 10.2 optim.lr=0.2"
    assert [line.split()[0] for line in text.splitlines() if "optim.lr=0." in line] == ["2", "1"]
    assert "4 complete trials" in text
    table = text.partition("4 complete trials")[2]
    # computed by hand: the ranks 3 2 1 4 and 3 2 1 4 of the scores against 2 3 4 1 of the final scores
    assert [cells(table, str(epoch)) for epoch in (1, 2, 3)] == ["1 4 -1", "2 4 -1", "3 4 1"]


def test_common_values_of_all_points_are_printed_once(tmp_path, capsys):
    storage = InMemoryStorage()
    study = optuna.create_study(study_name="s", storage=storage, direction="maximize")
    for number, rate in enumerate((0.012345678, 0.5, 12345678)):
        study.enqueue_trial({"rate": rate})
        trial = study.ask()
        trial.suggest_float("rate", 0, 1e8)
        trial.set_user_attr("overrides", ["optim=muon", f"optim.lr={rate}", "train.batch_size=64"])
        study.tell(trial, 99.0 - number)
    write(tmp_path / "s.study.json.gz", export_study(storage, "s"))
    text = output_of(capsys, "show", str(tmp_path / "s.study.json.gz"))
    assert "shared by all of these: optim=muon train.batch_size=64\n" in text
    assert [line.split()[-1] for line in text.splitlines() if "optim.lr" in line] == [
        "optim.lr=0.01235",
        "optim.lr=0.5",
        "optim.lr=1.235e+07",
    ]
    rows = list(
        csv.DictReader(io.StringIO(output_of(capsys, "show", str(tmp_path / "s.study.json.gz"), "--format", "csv")))
    )
    assert rows[0]["point"] == "optim=muon optim.lr=0.012345678 train.batch_size=64", "the exact point"


def test_rank_correlation_with_ties_and_shorter_curves(tmp_path, capsys):
    file = exported(tmp_path / "probe.study.json.gz", curves=[(1.0, 1.0), (1.0, 3.0), (2.0, 2.0), (3.0, 5.0), (4.0,)])
    table = output_of(capsys, "show", file).partition("5 complete trials")[2]
    # epoch 1: ranks 1.5 1.5 3 4 5 against 1 3 2 5 4: 7 / sqrt(9.5 · 10)
    assert cells(table, "1") == "1 5 0.718"
    assert cells(table, "2") == "2 4 1"


def test_few_curves_have_no_rank_correlation(tmp_path, capsys):
    file = exported(tmp_path / "probe.study.json.gz", curves=CURVES[:2])
    assert "Spearman" not in output_of(capsys, "show", file)


def test_equal_scores_have_no_rank_correlation(tmp_path, capsys):
    file = exported(tmp_path / "probe.study.json.gz", curves=[(10.0, 20.0), (10.0, 30.0), (10.0, 40.0)])
    assert cells(output_of(capsys, "show", file).partition("Spearman")[2], "1") == "1 3 –"


def test_csv_output_is_only_the_trials(here, capsys):
    rows = list(csv.reader(io.StringIO(output_of(capsys, "show", "probe", "--format", "csv"))))
    assert rows[0] == ["trial", "accuracy", "parameters", "seconds", "point"]
    assert rows[1] == ["2", "99.4", "7002", "10.25", "optim.lr=0.2"]
    assert [row[0] for row in rows[1:]] == ["2", "1", "0", "3"]


def test_exported_file_is_shown_like_the_study(here, capsys):
    output_of(capsys, "export", "probe")
    of_study, of_file = (output_of(capsys, "show", name) for name in ("probe", "probe.study.json.gz"))
    assert of_file == of_study.replace(
        "1 running, 0 waiting, 1 refused (17% of 6", "0 running, 1 waiting, 1 refused (20% of 5"
    )
    assert "```\nobjectives: " in output_of(capsys, "show", "probe.study.json.gz", "--format", "markdown")


def test_show_of_a_study_without_complete_trials(tmp_path, capsys):
    file = exported(tmp_path / "probe.study.json.gz", curves=[])
    assert "No trial is complete." in output_of(capsys, "show", file)


def test_pareto_set_is_shown_for_several_objectives(tmp_path, capsys):
    storage = InMemoryStorage()
    study = optuna.create_study(study_name="s", storage=storage, directions=["maximize", "minimize"])
    with warnings.catch_warnings(action="ignore", category=optuna.exceptions.ExperimentalWarning):
        study.set_metric_names(["accuracy", "parameters"])
    for accuracy, parameters in [(99.0, 7000), (99.2, 7500), (98.0, 7100)]:
        trial = study.ask()
        trial.set_user_attr("parameters", parameters)
        study.tell(trial, [accuracy, parameters])
    file = tmp_path / "s.study.json.gz"
    write(file, export_study(storage, "s"))
    assert "Pareto set of 2" in output_of(capsys, "list", str(tmp_path))
    text = output_of(capsys, "show", str(file), "--format", "csv")
    assert text.splitlines()[0] == "trial,accuracy,parameters,seconds,point"
    assert sorted(line[:12] for line in text.splitlines()[1:]) == ["0,99.0,7000,", "1,99.2,7500,"]


def test_missing_study_is_refused_and_not_created(here, capsys):
    assert "no study 'prob' in outputs/sweeps. Did you mean 'probe'?" in refused(capsys, "show", "prob")
    assert "--storage must exist" in refused(capsys, "show", "probe", "--storage", f"sqlite:///{here}/new.db")
    usual = f"sqlite:///{here}/outputs/sweeps/probe/study.db"
    assert "no study 'x' in this storage; its studies: probe" in refused(capsys, "show", "x", "--storage", usual)
    assert "cannot be opened" in refused(capsys, "show", "x", "--storage", "nonsense")
    assert "--top must be at least 1, got 0" in refused(capsys, "show", "probe", "--top", "0")
    assert [path.name for path in here.iterdir()] == ["outputs"]


# processes


@pytest.mark.process
def test_help_imports_no_heavy_library():
    code = """
import sys
from mnist_compact.study import main
try:
    main(["show", "--help"])
finally:
    assert not {"optuna", "pandas", "torch", "numpy", "rich", "hydra"} & sys.modules.keys()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def _search(*overrides, cwd):
    line = [sys.executable, "-m", "mnist_compact", "-m", "sweeps=smoke", "hydra.sweeper.n_jobs=2", *overrides]
    done = subprocess.run(line, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.process
def test_imported_search_continues_to_its_exact_total(tmp_path, monkeypatch, capsys):
    """Three trials ended and one was running before the export; after the import, it and one more make five."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    _search("hydra.sweeper.n_trials=3", cwd=first)
    monkeypatch.chdir(first)
    with opened("sqlite:///outputs/sweeps/smoke/study.db") as storage:
        snapshot = optuna.load_study(study_name="smoke", storage=storage).user_attrs["frozen"]
        small = PartialFixedSampler({"model.layers.conv6.width": 9}, RandomSampler(seed=0))  # not refused there
        study = optuna.load_study(study_name="smoke", storage=storage, sampler=small)
        left = study.ask()
        space_of(snapshot).suggest(left, lambda key: None)
        before = study.get_trials()
    output_of(capsys, "export", "smoke", "--out", str(second / "smoke.study.json.gz"))
    monkeypatch.chdir(second)
    output_of(capsys, "import", "smoke.study.json.gz")
    printed = _search("hydra.sweeper.n_trials=5", cwd=second)
    assert "all 5 trials have ended" in printed
    with opened("sqlite:///outputs/sweeps/smoke/study.db") as storage:
        after = optuna.load_study(study_name="smoke", storage=storage).get_trials()
    counted = tally(after)
    assert (counted.ended, counted.complete, counted.running) == (5, 5, 0)
    assert [trial.params for trial in after[: len(before)]] == [trial.params for trial in before]
    assert after[left.number].state is TrialState.COMPLETE
    assert [trial.values for trial in after[: left.number]] == [trial.values for trial in before[: left.number]]
    ours = [trial for trial in after[left.number :] if not is_refused(trial)]
    folders = sorted(path.name for path in Path("outputs/sweeps/smoke/trials").iterdir())
    assert folders == [f"{trial.number:04d}" for trial in ours]


# watch


@pytest.fixture
def watched(here, monkeypatch):
    """The study and a list of actions: each pause of `watch` performs the next one, and after the last comes Ctrl-C."""
    with opened("sqlite:///outputs/sweeps/probe/study.db") as storage:
        events = []

        def pause(seconds):
            if not events:
                raise KeyboardInterrupt
            events.pop(0)()

        monkeypatch.setattr(watch.time, "sleep", pause)
        yield optuna.load_study(study_name="probe", storage=storage), events


SETTINGS = StoppingCriteria(n_trials=5, target=None, target_trials=1, max_failures=3, max_refusals=4, maximize=True)


def test_watch_prints_one_line_per_change_until_the_end(watched, capsys):
    study, events = watched
    (number,) = (trial.number for trial in study.trials if trial.state is TrialState.RUNNING)
    events += [lambda: store_criteria(study, SETTINGS), lambda: None, lambda: study.tell(number, 99.45)]
    first, _, complete, done, found, *_ = output_of(capsys, "watch", "probe").splitlines()
    assert first.startswith("study probe is displayed; Ctrl-C ends the display, not the search: 4 complete, 0 pruned")
    assert complete.startswith(f"trial {number}  complete  99.45")
    assert done == "all 5 trials have ended: 5 complete, 0 pruned, 0 failed, 0 running, 1 refused"
    assert found == "1 trial better than 99.4:"
    assert events == []


def test_watch_without_a_total_ends_with_ctrl_c(watched, capsys):
    study, _ = watched
    before = export_study(study._storage, "probe")
    assert len(output_of(capsys, "watch", "probe").splitlines()) == 2, (
        "the study and the command that shows it in a browser"
    )
    assert export_study(study._storage, "probe") == before
