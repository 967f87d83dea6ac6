"""`python -m mnist_compact.confirm`: errors and output."""

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from seeds_by_hand import scored, write_seed

from mnist_compact import load_runs, rank
from mnist_compact.cli.confirm import main
from mnist_compact.cli.ranking import rank_best
from mnist_compact.common.errors import ConfigError
from mnist_compact.config import composition
from mnist_compact.config.composition import compose
from mnist_compact.config.schema import configuration_folder
from mnist_compact.config.sweeper import RankedBy
from mnist_compact.confirmation import save_experiment, seed_pool, sources
from mnist_compact.confirmation.confirmation import Confirmation
from mnist_compact.confirmation.defaults import RANKED_BY
from mnist_compact.confirmation.preregistration import Preregistration
from mnist_compact.confirmation.results import SeedResults
from mnist_compact.confirmation.seed_pool import seed_folder
from mnist_compact.confirmation.sources import ConfirmSource
from mnist_compact.records.record import Status
from mnist_compact.runs.artifacts import write_metrics
from mnist_compact.search.coordinator import RankingPlan, SearchResult


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def trained(monkeypatch):
    """Replace training: seeds get these accuracies one after the other, None for a diverged seed.

    Their calibrated losses are null, as in records of earlier versions, unless they are given.
    """

    def accuracies(*values, calibrated_losses=()):
        def train(wanted, jobs, callbacks):
            left, losses = iter(values), iter(calibrated_losses)
            for folder, seeds in wanted:
                split = Confirmation.read(folder).split
                for seed in seeds:
                    if (seed_folder(folder, seed) / "result.json").exists():
                        continue
                    value = next(left)
                    status = Status.DIVERGED if value is None else Status.COMPLETED
                    score = scored(value or 9.8, split=split, calibrated_loss=next(losses, None))
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
    ("words", "message"),
    [
        (("--run", "nowhere"), "nowhere is not a run folder"),
        (("--trial", "under_8k"), "--trial must be STUDY:N"),
        (("--trial", "under_8k:3"), "There is no study 'under_8k'"),
        (("--experiment", "m3_loged"), "Did you mean 'm3_logged'"),
        (("--experiment", "m3_logged", "--seeds", "0"), "--seeds must be at least 1, got 0"),
        (("--experiment", "m3_logged", "--split", "synthetic"), "--split must be 'test' for data=mnist"),
        (("--experiment", "m3_logged", "--versus", "nobody"), "holds no confirmation"),
        (("--study", "under_8k", "--split", "test"), "the test images must not be used to choose"),
        (("--study", "under_8k", "--save", "winner"), "--save cannot be used with --study"),
        (("--study", "under_8k", "--top", "0"), "--top and --seeds must be at least 1"),
        (("--study", "under_8k", "--plan", "my.json"), "--plan cannot be used with --study"),
        (("--experiment", "m3_logged", "--stop", "early", "--save", "winner"), "require all 20 seeds"),
        (("--experiment", "m3_logged", "--stop", "early", "--versus", "m2"), "require all 20 seeds"),
        (("--experiment", "m3_logged", "--stop", "early", "--seeds", "8"), "--stop early requires --seeds 20, got 8"),
        (("--experiment", "m3_logged", "--jobs", "-1"), "--jobs must be at least 0, got -1"),
        (("--experiment", "m3_logged", "--to", "elsewhere"), "--to can only be used with --save"),
        (("--experiment", "m3_logged", "--save", "m3_logged"), "m3_logged.yaml exists already"),
        (("--experiment", "m3_logged", "--save", "a/b"), "--save must be a name of letters"),
        (("--experiment", "m3_logged", "--save", ""), "--save must be a name of letters"),
        (
            ("--experiment", "m3_logged", "--name", "../b"),
            "--name must be the name of a folder below outputs/confirmations",
        ),
        (
            ("--experiment", "m3_logged", "--name", ""),
            "--name must be the name of a folder below outputs/confirmations",
        ),
        (("--experiment", "m3_logged", "--threshold", "nan"), "--threshold must be per cent, from 0 to 100, got nan"),
        (
            ("--experiment", "m3_logged", "--storage", "sqlite:///a.db"),
            "--storage can only be used with --trial or --study",
        ),
        (("--experiment", ""), "experiment= does not exist"),
        (("--study", ""), "a study's name must be that of a folder in"),
        (("--trial", "s:1", "--storage", "journal:///nowhere.log"), "--storage must exist"),
    ],
)
def test_invalid_arguments_are_refused_and_write_nothing(capsys, words, message, trained, here):
    trained()
    output = refused(capsys, *words)
    assert message in output
    assert "mnist-compact-confirm: " in output
    assert not list(here.iterdir())


def test_diverged_seeds_are_shown_with_a_conclusion(capsys, trained):
    trained(None, None)
    main(["--experiment", "m3_logged", "--seeds", "2"])
    printed = capsys.readouterr().out
    assert [line.split()[:2] for line in printed.splitlines()[-6:-4]] == [["1000", "diverged"], ["1001", "diverged"]]
    assert printed.endswith("mean > 99.40: no, 2 of 2 seeds diverged\n")


def test_comparison_with_a_diverged_seed_is_refused(capsys, trained):
    trained(99.40, 99.41, 99.42)
    main(["--experiment", "m3_reference", "--seeds", "3"])
    trained(99.50, 99.52, None)
    output = refused(capsys, "--experiment", "m3_logged", "--seeds", "3", "--versus", "m3_reference")
    assert "1 of 3 seeds of m3_logged diverged" in output


def test_results_are_printed_with_a_conclusion(capsys, trained):
    trained(99.45, 99.47, 99.46)
    main(["--experiment", "m3_logged", "--seeds", "3"])
    printed = capsys.readouterr().out
    assert "experiment m3_logged: test accuracy in per cent at the last epoch, raw weights" in printed
    assert "mean > 99.40: yes, lower bound 99.435" in printed
    row = next(line for line in printed.splitlines() if line.split()[:1] == ["3"])
    assert row.split() == ["3", "99.460", "0.010", "99.45", "99.47", "99.435", "99.485", "3/3", "0.0200", "7,206"]


def test_more_seeds_are_added(capsys, trained, here):
    trained(99.45, 99.47)
    main(["--experiment", "m3_logged", "--seeds", "2"])
    trained(99.60)
    main(["--experiment", "m3_logged", "--seeds", "3", "--threshold", "99.6"])
    assert "mean > 99.60: not shown, interval 99.304 to 99.709" in capsys.readouterr().out
    assert len(list((here / "outputs/confirmations/m3_logged/seeds").iterdir())) == 3


def test_confirmations_are_compared_by_name(capsys, trained):
    trained(99.40, 99.41, 99.42)
    main(["--experiment", "m3_reference", "--seeds", "3"])
    trained()
    output = refused(capsys, "--experiment", "m3_logged", "--seeds", "1", "--versus", "m3_reference")
    assert "m3_logged and m3_reference would have 1" in output, "before any training"
    trained(99.50, 99.52, 99.51)
    main(["--experiment", "m3_logged", "--seeds", "3", "--versus", "m3_reference"])
    output = capsys.readouterr().out.splitlines()[-1]
    assert output.startswith("m3_logged - m3_reference: +0.100 points over 3 common seeds")
    assert output.endswith("exact sign-flip p = 0.25: 3 seeds are too few for a significant result")
    main(["--experiment", "m3_reference", "--seeds", "3", "--versus", "m3_logged", "--versus", "m3_reference"])
    first, second = capsys.readouterr().out.splitlines()[-2:]
    assert first.startswith("m3_reference - m3_logged: -0.100 points")
    assert "p = 0.25, 0.5 after Holm's correction for 2 comparisons: " in first
    assert "m3_reference - m3_reference: +0.000 points" in second


def test_save_writes_into_the_folder_of_to(capsys, trained, here):
    trained(99.45, 99.47)
    line = ["--experiment", "m3_logged", "--seeds", "2", "--save", "winner", "--to", "elsewhere"]
    main(line)
    assert capsys.readouterr().out.endswith("\nelsewhere/winner.yaml\n")
    text = (here / "elsewhere/winner.yaml").read_text()
    assert "test accuracy 99.460 ± 0.014 % (mean ± sd of 2 fresh seeds" in text
    assert "from experiment m3_logged" in text
    assert "winner.yaml exists already" in refused(capsys, *line)


def test_saved_configuration_is_an_experiment(capsys, trained, tmp_path, monkeypatch):
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


def test_ranking_prints_the_command_that_confirms_the_winner(capsys, trained, monkeypatch, here):
    run = compose("data=synthetic")
    best = [ConfirmSource(f"s-{number}", f"trial s:{number}", run, {0}, f"s:{number}") for number in (3, 7)]
    monkeypatch.setattr(sources, "best_trials", lambda studies, top, sweeps, url: best[:top])
    trained(33.3, 33.4, 55.5, 55.6)
    main(["--study", "s", "--seeds", "2", "--split", "synthetic", "--folder", "elsewhere", "--export", "kept"])
    lines = capsys.readouterr().out.splitlines()
    schedule = "12 trials with 2 seeds each, 6 with 4 seeds, 3 with 8 seeds, 2 with 16 seeds"
    assert lines[0] == f"ranking in 4 rounds: {schedule}; at most 64 runs"
    assert lines[-2:] == [
        "winner: trial s:7. Confirm it with fresh seeds: "
        "python -m mnist_compact.confirm --trial s:7 --folder elsewhere --split synthetic",
        "records in kept/confirmations",
    ]
    kept = load_runs(here / "kept")
    assert kept["kind"].tolist() == ["ranking"] * 4
    assert sorted(kept["synthetic_accuracy_last"]) == [33.3, 33.4, 55.5, 55.6]
    assert seed_pool.seeds_of(here / "elsewhere/s-7-ranking") == [100, 101]
    trained()
    ranking = rank("s", seeds=2, split="synthetic", folder="elsewhere")
    assert (ranking.trial, ranking.first.summary().mean) == ("s:7", 55.55)
    shown = ranking._repr_html_()
    assert "<p>round 1: 2 candidates, 2 seeds each; with fewer than 5 seeds an interval is only an indic" in shown
    assert shown.index("<td>s:7</td>") < shown.index("<td>s:3</td>")
    with pytest.raises(ConfigError, match="the test images must not be used to choose"):
        rank("s", split="test")


def test_search_ends_with_a_ranking_that_the_command_would_continue(capsys, trained, monkeypatch, here):
    run = compose("data=synthetic")
    best = [ConfirmSource(f"s-{number}", f"trial s:{number}", run, {0}, f"s:{number}") for number in (3, 7, 8)]
    monkeypatch.setattr(sources, "best_trials", lambda studies, top, sweeps, url: best[:top])
    plan = RankingPlan(top=2, by="calibrated_loss", jobs=1, sweeps=Path("outputs/sweeps"), url=None)
    trained(55.5, 55.6, 33.3, 33.4, calibrated_losses=(0.02, 0.02, 0.01, 0.01))
    rank_best(SearchResult("s", Path("outputs/sweeps/s"), "ended", plan))
    printed = capsys.readouterr().out
    assert printed.startswith("the best 2 trials are ranked over several seeds by calibrated_loss\n")
    assert printed.splitlines()[-1] == (
        "winner: trial s:7. Confirm it with fresh seeds: python -m mnist_compact.confirm --trial s:7 --split synthetic"
    )
    trained()  # a seed that is trained now would fail
    main(["--study", "s", "--top", "2", "--seeds", "2", "--by", "calibrated_loss"])
    assert capsys.readouterr().out.splitlines()[-1] == printed.splitlines()[-1]


def test_ranking_of_a_search_does_not_print_the_password_of_its_storage(capsys, trained, monkeypatch, here):
    best = [ConfirmSource("s-3", "trial s:3", compose("data=synthetic"), {0}, "s:3")]
    monkeypatch.setattr(sources, "best_trials", lambda studies, top, sweeps, url: best)
    trained(55.5, 55.6, calibrated_losses=(0.01, 0.02))
    url = "postgresql://ada:secret@host/studies"
    plan = RankingPlan(top=1, by="calibrated_loss", jobs=1, sweeps=Path("outputs/sweeps"), url=url)
    rank_best(SearchResult("s", Path("outputs/sweeps/s"), "ended", plan))
    printed = capsys.readouterr().out
    assert "secret" not in printed
    assert "postgresql://ada:***@host/studies" in printed
    assert printed.splitlines()[-1] == "replace *** by the password of the storage"


def test_search_without_a_ranking_plan_ends(capsys, trained, here):
    trained()
    rank_best(SearchResult("s", Path("outputs/sweeps/s"), "ended"))
    assert not capsys.readouterr().out


def test_criteria_of_searches_and_of_the_command_are_the_same():
    assert {each.value for each in RankedBy} == {*RANKED_BY}


def test_ranking_sorts_by_the_given_criterion(capsys, trained, monkeypatch, here):
    run = compose("data=synthetic")
    best = [ConfirmSource(f"s-{number}", f"trial s:{number}", run, {0}, f"s:{number}") for number in (3, 7)]
    monkeypatch.setattr(sources, "best_trials", lambda studies, top, sweeps, url: best[:top])
    trained(33.3, 33.4, 55.5, 55.6, calibrated_losses=(0.01, 0.01, 0.02, 0.02))
    main(["--study", "s", "--seeds", "2", "--split", "synthetic", "--by", "calibrated_loss"])
    assert "winner: trial s:3." in capsys.readouterr().out
    trained()
    assert rank("s", seeds=2, split="synthetic", by="calibrated_loss").trial == "s:3"
    assert rank("s", seeds=2, split="synthetic").trial == "s:7"
    with pytest.raises(ConfigError, match="--by must be one of accuracy, calibrated_loss, got loss"):
        rank("s", by="loss")


def test_ranking_uses_another_held_out_part(capsys, trained, monkeypatch, here):
    run = compose("data=holdout", "data.split_seed=4")
    best = [ConfirmSource(f"s-{number}", f"trial s:{number}", run, {0}, f"s:{number}") for number in range(20)]
    monkeypatch.setattr(sources, "best_trials", lambda studies, top, sweeps, url: best[:top])
    trained(*[99.1] * 32)
    main(["--study", "s"])
    homes = {folder.parent.name: seed_pool.seeds_of(folder.parent) for folder in here.rglob("confirmation.json")}
    assert sorted(map(len, homes.values())) == [1] * 6 + [2] * 3 + [4] + [8] * 2
    assert len(homes) == 12
    assert all(
        Confirmation.read(here / "outputs/confirmations" / name).run_config(0).data.split_seed == 5 for name in homes
    )


# Preregistrations


def test_plan_writes_a_preregistration_then_confirms(capsys, trained, here):
    line = ["--experiment", "m3_logged", "--seeds", "2", "--threshold", "99.3", "--plan", "my.json", "--export", "kept"]
    trained()
    main(line)
    assert "my.json: preregistration written, no seed trained yet" in capsys.readouterr().out
    assert [path.name for path in here.iterdir()] == ["my.json"]
    trained(99.45, 99.47)
    main(line)
    printed = capsys.readouterr().out
    assert ": followed\n" in printed
    assert "no preregistration was written" not in printed
    expected = (here / "my.json").read_bytes()
    for folder in ("outputs/confirmations/m3_logged", "kept/confirmations/m3_logged"):
        assert (here / folder / "plan.json").read_bytes() == expected
    trained()
    main(["--experiment", "m3_logged", "--seeds", "2"])
    assert ": not followed; threshold: 99.3 → 99.4\n" in capsys.readouterr().out, (
        "the preregistration stays with the confirmation"
    )
    (here / "my.json").unlink()
    assert "a preregistration must come before the first" in refused(capsys, *line)
    other = Preregistration.read(here / "kept/confirmations/m3_logged/plan.json")
    dataclasses.replace(other, threshold=98.0).write(here / "my.json")
    assert "holds another preregistration" in refused(capsys, *line)


def test_missing_preregistration_is_reported(capsys, trained):
    trained(99.45, 99.47)
    main(["--experiment", "m3_logged", "--seeds", "2"])
    assert "no preregistration was written before the test images were read\n" in capsys.readouterr().out


# Early stopping


def test_stop_early_stops_when_futile(capsys, trained, here):
    trained(*[99.30, 99.32] * 4)
    main(["--experiment", "m3_logged", "--stop", "early"])
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("mean > 99.40: undecided, one-sided p = 1, limit after 5 of 20 seeds: 2e-05")
    assert printed[-1] == "mean > 99.40: not shown, stopped as futile after 8 of 20 seeds, mean 99.307"
    assert len(seed_pool.seeds_of(here / "outputs/confirmations/m3_logged")) == 8


def test_stop_early_stops_after_a_diverged_seed(capsys, trained):
    trained(99.50, 99.51, None, 99.50, 99.52)
    main(["--experiment", "m3_logged", "--stop", "early"])
    assert capsys.readouterr().out.endswith("mean > 99.40: no, 1 of 5 seeds diverged\n")


def test_help_imports_no_heavy_library():
    code = """
import sys
from mnist_compact.confirm import main
try:
    main(["--help"])
finally:
    assert not {"optuna", "pandas", "torch", "numpy", "rich", "hydra", "scipy"} & sys.modules.keys()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_exported_records_give_the_same_results(capsys, trained, here):
    """A report needs no weights; a second export adds the seeds trained since."""
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
