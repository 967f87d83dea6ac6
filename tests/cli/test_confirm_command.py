"""`python -m mnist_compact.confirm` as it answers: what is refused, and what is printed."""

import dataclasses
import shutil
import subprocess
import sys

import pytest
from seeds_by_hand import scored, write_seed

from mnist_compact import confirm, load_runs
from mnist_compact.cli.confirm import main
from mnist_compact.common.errors import ConfigError
from mnist_compact.config import composition
from mnist_compact.config.composition import compose
from mnist_compact.config.schema import configuration_folder
from mnist_compact.confirmation import save_experiment, seed_pool, sources
from mnist_compact.confirmation.confirmation import Confirmation
from mnist_compact.confirmation.preregistration import Preregistration
from mnist_compact.confirmation.results import SeedResults
from mnist_compact.confirmation.seed_pool import seed_folder
from mnist_compact.confirmation.sources import ConfirmSource
from mnist_compact.records.record import Status
from mnist_compact.runs.artifacts import write_metrics


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def trained(monkeypatch):
    """Seeds are not trained but given these accuracies, one after another; None for one that diverged."""

    def accuracies(*values):
        def train(wanted, jobs):
            left = iter(values)
            for folder, seeds in wanted:
                split = Confirmation.read(folder).split
                for seed in seeds:
                    if (seed_folder(folder, seed) / "result.json").exists():
                        continue
                    value = next(left)
                    status = Status.DIVERGED if value is None else Status.COMPLETED
                    score = scored(value or 9.8, split=split)
                    write_seed(folder, seed, score, status=status, started_at="2099-01-01T00:00:00+00:00")
                    write_metrics(seed_folder(folder, seed), [])
            return []

        monkeypatch.setattr(seed_pool, "train", train)

    return accuracies


def refused(capsys, *words):
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    assert ended.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--run", "nowhere"), "nowhere is not a run folder"),
        (("--trial", "under_8k"), "--trial must be STUDY:N"),
        (("--trial", "under_8k:3"), "There is no study 'under_8k'"),
        (("--experiment", "m3_loged"), "Did you mean 'm3_logged'"),
        (("--experiment", "m3_logged", "--seeds", "0"), "--seeds must be at least 1, got 0"),
        (("--experiment", "m3_logged", "--split", "synthetic"), "--split must be 'test' for data=mnist"),
        (("--experiment", "m3_logged", "--versus", "nobody"), "holds no confirmation"),
        (("--study", "under_8k", "--split", "test"), "compose_cache by test images would spoil them"),
        (("--study", "under_8k", "--save", "winner"), "--save cannot be used with --study"),
        (("--study", "under_8k", "--top", "0"), "--top and --seeds must be at least 1"),
        (("--study", "under_8k", "--plan", "my.json"), "--plan cannot be used with --study"),
        (("--experiment", "m3_logged", "--stop", "early", "--save", "winner"), "--stop early is for candidates"),
        (("--experiment", "m3_logged", "--stop", "early", "--versus", "m2"), "--stop early is for candidates"),
        (("--experiment", "m3_logged", "--stop", "early", "--seeds", "8"), "has limits for --seeds 20, got 8"),
        (("--experiment", "m3_logged", "--jobs", "-1"), "--jobs must be at least 0, got -1"),
        (("--experiment", "m3_logged", "--to", "elsewhere"), "--to says where --save writes"),
        (("--experiment", "m3_logged", "--save", "m3_logged"), "m3_logged.yaml exists already"),
        (("--experiment", "m3_logged", "--save", "a/b"), "--save must be a name of letters"),
        (("--experiment", "m3_logged", "--save", ""), "--save must be a name of letters"),
        (("--experiment", "m3_logged", "--name", "../b"), "--name must be a folder's below outputs/confirmations"),
        (("--experiment", "m3_logged", "--name", ""), "--name must be a folder's below outputs/confirmations"),
        (("--experiment", "m3_logged", "--threshold", "nan"), "--threshold must be per cent, from 0 to 100, got nan"),
        (("--experiment", "m3_logged", "--storage", "sqlite:///a.db"), "--storage says where the study of"),
        (("--experiment", ""), "experiment= does not exist"),
        (("--study", ""), "a study's name must be a folder's below"),
        (("--trial", "s:1", "--storage", "journal:///nowhere.log"), "--storage must exist"),
    ],
)
def test_what_cannot_be_done_is_said_and_leaves_nothing(capsys, words, complaint, trained, here):
    trained()
    said = refused(capsys, *words)
    assert complaint in said
    assert "mnist-compact-confirm: " in said
    assert not list(here.iterdir())


def test_seeds_that_all_diverged_are_shown_with_a_verdict(capsys, trained):
    trained(None, None)
    main(["--experiment", "m3_logged", "--seeds", "2"])
    printed = capsys.readouterr().out
    assert [line.split()[:2] for line in printed.splitlines()[-6:-4]] == [["1000", "diverged"], ["1001", "diverged"]]
    assert printed.endswith("mean > 99.40: no, 2 of 2 seeds diverged\n")


def test_a_comparison_says_what_diverged_in_place_of_leaving_it_out(capsys, trained):
    trained(99.40, 99.41, 99.42)
    main(["--experiment", "m3_reference", "--seeds", "3"])
    trained(99.50, 99.52, None)
    said = refused(capsys, "--experiment", "m3_logged", "--seeds", "3", "--versus", "m3_reference")
    assert "1 of 3 seeds of m3_logged diverged" in said


def test_the_evidence_is_printed_with_a_verdict(capsys, trained):
    trained(99.45, 99.47, 99.46)
    main(["--experiment", "m3_logged", "--seeds", "3"])
    printed = capsys.readouterr().out
    assert "experiment m3_logged: test accuracy in per cent at the last epoch, raw weights" in printed
    assert "mean > 99.40: yes, lower bound 99.435" in printed
    row = next(line for line in printed.splitlines() if line.split()[:1] == ["3"])
    assert row.split() == ["3", "99.460", "0.010", "99.45", "99.47", "99.435", "99.485", "3/3", "0.0200", "7,206"]


def test_more_seeds_add_to_those_there_are(capsys, trained, here):
    trained(99.45, 99.47)
    main(["--experiment", "m3_logged", "--seeds", "2"])
    trained(99.60)
    main(["--experiment", "m3_logged", "--seeds", "3", "--threshold", "99.6"])
    assert "mean > 99.60: not shown, interval 99.304 to 99.709" in capsys.readouterr().out
    assert len(list((here / "outputs/confirmations/m3_logged/seeds").iterdir())) == 3


def test_two_are_compared_by_name(capsys, trained):
    trained(99.40, 99.41, 99.42)
    main(["--experiment", "m3_reference", "--seeds", "3"])
    trained()
    said = refused(capsys, "--experiment", "m3_logged", "--seeds", "1", "--versus", "m3_reference")
    assert "would have 1 of two seeds in common" in said, "before any training"
    trained(99.50, 99.52, 99.51)
    main(["--experiment", "m3_logged", "--seeds", "3", "--versus", "m3_reference"])
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith("m3_logged - m3_reference: +0.100 points over 3 common seeds")
    assert said.endswith("exact sign-flip p = 0.25: 3 seeds are too few to show anything")
    main(["--experiment", "m3_reference", "--seeds", "3", "--versus", "m3_logged", "--versus", "m3_reference"])
    first, second = capsys.readouterr().out.splitlines()[-2:]
    assert first.startswith("m3_reference - m3_logged: -0.100 points")
    assert "p = 0.25, 0.5 by Holm for 2 comparisons: " in first
    assert "m3_reference - m3_reference: +0.000 points" in second


def test_a_confirmed_configuration_is_saved_where_told(capsys, trained, here):
    trained(99.45, 99.47)
    line = ["--experiment", "m3_logged", "--seeds", "2", "--save", "winner", "--to", "elsewhere"]
    main(line)
    assert capsys.readouterr().out.endswith("\nelsewhere/winner.yaml\n")
    text = (here / "elsewhere/winner.yaml").read_text()
    assert "test accuracy 99.460 ± 0.014 % (mean ± sd of 2 fresh seeds" in text
    assert "from experiment m3_logged" in text
    assert "winner.yaml exists already" in refused(capsys, *line)


def test_a_saved_configuration_is_an_experiment_at_once(capsys, trained, tmp_path, monkeypatch):
    conf = tmp_path / "conf"
    shutil.copytree(configuration_folder(), conf)
    for module in (composition, save_experiment):
        monkeypatch.setattr(module, "configuration_folder", lambda: conf)
    trained(99.45, 99.47)
    main(["--experiment", "m3_logged", "--seeds", "2", "--save", "winner"])
    assert capsys.readouterr().out.endswith(f"\n{conf / 'experiment/winner.yaml'}\n")
    trained(99.50, 99.52)
    main(["--experiment", "winner", "--seeds", "2"])
    assert "experiment winner: test accuracy in per cent" in capsys.readouterr().out


def test_a_ranking_has_folders_of_its_own_and_names_the_line_that_confirms_its_winner(
    capsys, trained, monkeypatch, here
):
    run = compose("data=synthetic")
    best = [ConfirmSource(f"s-{number}", f"trial s:{number}", run, {0}) for number in (3, 7)]
    monkeypatch.setattr(sources, "best_trials", lambda study, top, sweeps, url: best[:top])
    trained(33.3, 33.4, 55.5, 55.6)
    main(["--study", "s", "--seeds", "2", "--split", "synthetic", "--folder", "elsewhere"])
    assert capsys.readouterr().out.splitlines()[-1] == (
        "first: trial s:7. With fresh seeds: "
        "python -m mnist_compact.confirm --trial s:7 --folder elsewhere --split synthetic"
    )
    assert seed_pool.seeds_of(here / "elsewhere/s-7-ranking") == [100, 101]
    trained()
    ranking = confirm.rank("s", seeds=2, split="synthetic", folder="elsewhere")
    assert (ranking.trial, ranking.first.summary().mean) == ("s:7", 55.55)
    shown = ranking._repr_html_()
    assert "<p>round 1: 2 candidates, 2 seeds each; with fewer than 5 seeds an interval is only an indic" in shown
    assert shown.index("<td>s:7</td>") < shown.index("<td>s:3</td>")
    with pytest.raises(ConfigError, match="compose_cache by test images would spoil them"):
        confirm.rank("s", split="test")


def test_a_ranking_begins_with_a_seed_for_each_on_another_held_out_part(capsys, trained, monkeypatch, here):
    run = compose("data=holdout", "data.split_seed=4")
    best = [ConfirmSource(f"s-{number}", f"trial s:{number}", run, {0}) for number in range(20)]
    monkeypatch.setattr(sources, "best_trials", lambda study, top, sweeps, url: best[:top])
    trained(*[99.1] * 32)
    main(["--study", "s"])
    homes = {folder.parent.name: seed_pool.seeds_of(folder.parent) for folder in here.rglob("confirmation.json")}
    assert sorted(map(len, homes.values())) == [1] * 6 + [2] * 3 + [4] + [8] * 2
    assert len(homes) == 12
    assert all(
        Confirmation.read(here / "outputs/confirmations" / name).run_config(0).data.split_seed == 5 for name in homes
    )


# Plans


def test_a_plan_is_written_first_and_carried_out_by_the_same_line(capsys, trained, here):
    line = ["--experiment", "m3_logged", "--seeds", "2", "--threshold", "99.3", "--plan", "my.json", "--export", "kept"]
    trained()
    main(line)
    assert "my.json: planned, nothing read yet" in capsys.readouterr().out
    assert [path.name for path in here.iterdir()] == ["my.json"]
    trained(99.45, 99.47)
    main(line)
    printed = capsys.readouterr().out
    assert ": followed\n" in printed
    assert "no plan was written" not in printed
    wanted = (here / "my.json").read_bytes()
    for folder in ("outputs/confirmations/m3_logged", "kept/confirmations/m3_logged"):
        assert (here / folder / "plan.json").read_bytes() == wanted
    trained()
    main(["--experiment", "m3_logged", "--seeds", "2"])
    assert ": not followed; threshold: 99.3 → 99.4\n" in capsys.readouterr().out, "the plan stays with the confirmation"
    (here / "my.json").unlink()
    assert "a plan must come before the first" in refused(capsys, *line)
    other = Preregistration.read(here / "kept/confirmations/m3_logged/plan.json")
    dataclasses.replace(other, threshold=98.0).write(here / "my.json")
    assert "holds another plan" in refused(capsys, *line)


def test_without_a_plan_that_is_said(capsys, trained):
    trained(99.45, 99.47)
    main(["--experiment", "m3_logged", "--seeds", "2"])
    assert "no plan was written before the test images were read\n" in capsys.readouterr().out


# Ending early


def test_ending_early_trains_no_more_than_it_takes(capsys, trained, here):
    trained(*[99.30, 99.32] * 4)
    main(["--experiment", "m3_logged", "--stop", "early"])
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("mean > 99.40: open, one-sided p = 1, limit after 5 of 20 seeds: 2e-05")
    assert printed[-1] == "mean > 99.40: given up after 8 of 20 seeds, mean 99.307"
    assert len(seed_pool.seeds_of(here / "outputs/confirmations/m3_logged")) == 8


def test_one_that_diverges_ends_it(capsys, trained):
    trained(99.50, 99.51, None, 99.50, 99.52)
    main(["--experiment", "m3_logged", "--stop", "early"])
    assert capsys.readouterr().out.endswith("mean > 99.40: no, 1 of 5 seeds diverged\n")


def test_help_waits_for_no_heavy_import():
    code = """
import sys
from mnist_compact.confirm.__main__ import main
try:
    main(["--help"])
finally:
    assert not {"optuna", "pandas", "torch", "numpy", "rich", "hydra", "scipy"} & sys.modules.keys()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_exported_records_are_the_evidence_once_more(capsys, trained, here):
    """All that a report needs, without weights; a second export after more seeds adds theirs."""
    seed_results = here / "evidence"
    for accuracies in ((99.45, 99.47), (99.60,)):
        trained(*accuracies)
        done = 2 if len(accuracies) == 2 else 3
        main(["--experiment", "m3_logged", "--seeds", str(done), "--export", str(seed_results)])
        runs = load_runs(seed_results)
        assert len(runs) == done
    assert runs["test_accuracy_last"].tolist() == [99.45, 99.47, 99.60]
    assert set(runs["kind"]) == {"confirmation"}
    assert set(runs["confirmation"]) == {"m3_logged"}
    assert "records in evidence/confirmations/m3_logged" in capsys.readouterr().out.replace(f"{here}/", "")
    again = SeedResults.gather(
        seed_results / "confirmations" / "m3_logged", seed_pool.seeds_of(seed_results / "confirmations/m3_logged")
    )
    assert again.summary().mean == pytest.approx(99.5067, abs=1e-4)
