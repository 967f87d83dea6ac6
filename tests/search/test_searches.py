"""Searches as a user runs them: what is refused before the first trial, and how a search ends."""

import json
import re
import subprocess
import sys

import optuna
import pytest
from optuna.trial import TrialState

from mnist_compact.common.errors import EXIT_NO_COMPLETE_TRIAL
from mnist_compact.config.schema import GROUPS
from mnist_compact.search.counts import is_refused, tally
from mnist_compact.search.storage import open_storage

pytestmark = pytest.mark.process

SMALL = ("data.train_images=256", "data.evaluation_images=100", "train.batch_size=32", "train.epochs=1")
SMOKE = ("sweeps=smoke", *SMALL, "hydra.sweeper.n_trials=3", "hydra.sweeper.n_jobs=1")
FREE = "model.dropout=interval(0,0.01)"  # so that the space is infinite
AD_HOC = ("hydra/sweeper=compact", "data=synthetic", *SMALL, "hydra.sweeper.study_name=ad_hoc")


def search(folder, *words, multirun=True):
    command = [sys.executable, "-m", "mnist_compact", *(["-m"] if multirun else []), *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)


def trials_of(folder, name, url=None):
    storage = open_storage(url or f"sqlite:///{folder}/outputs/sweeps/{name}/study.db")
    return optuna.load_study(study_name=name, storage=storage).get_trials(deepcopy=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("sweeps=under_8k", "data=mnist"),
            "must not score a search on the test split",
        ),
        ((*AD_HOC, "model=m3"), "at least one key"),
        ((*AD_HOC, "model.layers.conv77.width=range(4,9)"), "conv77"),
        ((*AD_HOC, "optim.momentun=interval(0.1,0.9)"), "momentun"),
        ((*AD_HOC, "optim=choice(sgd,adamm)"), "adamm"),
        ((*SMOKE, "hydra.sweeper.objectives=[speed]"), "'speed'"),
        ((*SMOKE, "hydra.sweeper.n_trials=0"), "n_trials must be at least 1"),
        ((*SMOKE, "hydra.sweeper.n_jobs=-1", "hydra.sweeper.target_trials=0"), "n_jobs must be at least 0"),
        ((*SMOKE, "hydra.sweeper.study_name=../../elsewhere"), "study_name must be the name of a folder in"),
        (("sweeps=under_8k", "data=choice(holdout,mnist)"), "test split"),
        (
            (*SMOKE, "hydra/sweeper/pruner=percentile", "hydra.sweeper.pruner.percentile=500"),
            "hydra/sweeper/pruner must support this search space",
        ),
        ((*SMOKE, "hydra/sweeper/sampler=grid"), "a grid needs finite parameters"),
        ((*SMOKE, "+hydra.sweeper.enqueue=[{model.dropout: 7.0}]"), "must lie in"),
    ],
)
def test_invalid_search_is_refused_before_any_trial(tmp_path, words, message):
    done = search(tmp_path, *words)
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("study.db"))


def test_question_without_m_is_refused(tmp_path):
    done = search(tmp_path, *SMOKE, multirun=False)
    assert done.returncode == 2
    assert "add -m" in done.stderr


@pytest.mark.slow
def test_unwritable_folder_and_missing_storage_are_refused(tmp_path):
    (tmp_path / "taken").write_text("a file where the folder should be")
    done = search(tmp_path, *SMOKE, "hydra.sweeper.folder=taken")
    assert done.returncode == 2
    assert "hydra.sweeper.folder" in done.stderr
    done = search(tmp_path, *SMOKE, "hydra.sweeper.storage=sqlite:////nowhere/at/all/study.db")
    assert done.returncode == 2
    assert "hydra.sweeper.storage" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_other_settings_except_n_trials_are_refused(tmp_path):
    assert search(tmp_path, *SMOKE).returncode == 0
    changed = search(tmp_path, *SMOKE, "seed=5")
    assert changed.returncode == 2
    assert "seed=5" in changed.stderr
    assert "study_name" in changed.stderr
    more = search(tmp_path, *SMOKE, "hydra.sweeper.n_trials=4", "hydra.sweeper.n_jobs=2")
    assert more.returncode == 0, more.stderr
    assert tally(trials_of(tmp_path, "smoke")).ended == 4


@pytest.mark.slow
def test_refused_proposals_are_not_trained_and_are_counted(tmp_path):
    line = (*AD_HOC, "model=compact", "model.layers.conv6.width=choice(14,200)", "hydra.sweeper.n_trials=4", FREE)
    done = search(tmp_path, *line, "hydra/sweeper/sampler=random")
    assert done.returncode == 0, done.stderr
    trials = trials_of(tmp_path, "ad_hoc")
    refused = [trial for trial in trials if is_refused(trial)]
    assert tally(trials).ended == 4
    assert refused, "half of all proposals are too large"
    for trial in refused:
        assert trial.user_attrs["parameters"] > 8000
        assert trial.constraints["parameters"] > 0
        assert "budget.parameters_below" in trial.user_attrs["refused"]
        assert not (tmp_path / "outputs/sweeps/ad_hoc/trials" / f"{trial.number:04d}").exists()
    assert f"{len(refused)} refused" in done.stdout


@pytest.mark.slow
def test_too_many_refusals_stop_the_search_with_a_hint(tmp_path):
    line = (*AD_HOC, "model=compact", "model.layers.conv6.width=range(200,300)", "hydra.sweeper.max_refusals=5")
    done = search(tmp_path, *line)
    assert done.returncode == 1
    for message in (done.stdout, done.stderr):
        assert "5 refused proposals in a row (100% of all), the last because budget.parameters_below" in message
    assert tally(trials_of(tmp_path, "ad_hoc")).ended == 0


@pytest.mark.slow
def test_failures_are_recorded_and_the_search_continues(tmp_path):
    line = (
        *AD_HOC,
        "optim=sgd",
        "optim.lr=choice(0.05,1e30)",
        FREE,
        "hydra.sweeper.n_trials=5",
        "hydra/sweeper/sampler=random",
    )
    done = search(tmp_path, *line)
    assert done.returncode == 0, done.stderr
    trials = trials_of(tmp_path, "ad_hoc")
    failed = [trial for trial in trials if trial.state is TrialState.FAIL]
    assert tally(trials).ended == 5
    assert failed
    logs = "".join(log.read_text() for log in (tmp_path / "outputs/sweeps/ad_hoc/workers").glob("*.log"))
    for trial in failed:
        assert "not finite" in trial.user_attrs["reason"]
        record = json.loads(
            (tmp_path / "outputs/sweeps/ad_hoc" / trial.user_attrs["folder"] / "result.json").read_text()
        )
        assert record["status"] == "diverged"
        assert f"trial {trial.number}: {trial.user_attrs['reason']}\n" in logs
    assert search(tmp_path, *line, "hydra.sweeper.n_trials=40", "hydra.sweeper.max_failures=0").returncode == 1
    assert tally(trials_of(tmp_path, "ad_hoc")).ended == 5, "no trial is started after too many failures"


@pytest.mark.slow
def test_search_without_a_complete_trial_has_its_own_exit_code(tmp_path):
    done = search(tmp_path, *AD_HOC, "optim=sgd", "optim.lr=1e30", FREE, "hydra.sweeper.n_trials=2")
    assert done.returncode == EXIT_NO_COMPLETE_TRIAL
    assert "no trial is complete" in done.stderr
    assert "0 complete, 0 pruned, 2 failed" in done.stdout
    assert "  2 x the loss was not finite in epoch 1" in done.stdout


@pytest.mark.slow
def test_missing_data_end_the_search_without_a_failed_trial(tmp_path):
    (tmp_path / "images").touch()
    line = ("sweeps=fast", "machine.data_root=images", "hydra.sweeper.n_trials=2")
    done = search(tmp_path, *line, "hydra.sweeper.n_jobs=1")
    assert done.returncode == 1
    assert "mnist_compact: the data cannot be loaded: MNIST is not in " in done.stderr
    started = [trial for trial in trials_of(tmp_path, "fast") if trial.state is not TrialState.WAITING]
    assert [(trial.state, trial.user_attrs["attempts"]) for trial in started] == [(TrialState.RUNNING, 0)], "released"


@pytest.mark.slow
def test_target_ends_the_search(tmp_path):
    done = search(
        tmp_path, *SMOKE, "hydra.sweeper.n_trials=50", "hydra.sweeper.target=1", "hydra.sweeper.target_trials=2"
    )
    assert "better than the target of 1" in done.stdout, done.stdout + done.stderr
    assert tally(trials_of(tmp_path, "smoke")).ended < 50


@pytest.mark.slow
def test_time_limit_ends_the_search_and_releases_trials(tmp_path):
    long = (
        "sweeps=smoke",
        "data.train_images=40000",
        "train.epochs=15",
        "train.batch_size=32",
        "hydra.sweeper.n_jobs=1",
    )
    done = search(tmp_path, *long, "hydra.sweeper.time_limit_minutes=0.7")
    assert (done.returncode, done.stderr) == (0, "")
    assert (
        "the time limit of 0.7 minutes is reached; rerun the command to continue: 0 complete, 0 pruned" in done.stdout
    )
    (left,) = (trial for trial in trials_of(tmp_path, "smoke") if trial.state is TrialState.RUNNING)
    assert (left.user_attrs["attempts"], left.user_attrs["lease"]) == (0, {"worker": None}), "released"


@pytest.mark.slow
def test_search_with_several_objectives_ends_in_a_pareto_set(tmp_path):
    done = search(tmp_path, *SMOKE, "hydra.sweeper.objectives=[accuracy,parameters]", "hydra/sweeper/sampler=nsgaii")
    assert "several objectives: nothing is pruned" in done.stdout
    assert done.returncode == 0
    assert re.search(r"Pareto set of [1-3] trials?:", done.stdout), done.stdout + done.stderr
    complete = [trial for trial in trials_of(tmp_path, "smoke") if not is_refused(trial)]
    assert len(complete) == 3
    for trial in complete:
        assert trial.values[1] == trial.user_attrs["parameters"]
        assert trial.intermediate_values == {1: trial.values[0]}, "the curve is that of the first objective"


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["accuracy", "loss", "calibrated_loss"])
def test_pruned_trials_keep_their_curves(tmp_path, objective):
    line = (*SMOKE, "train.epochs=3", "hydra.sweeper.n_trials=6", "hydra/sweeper/pruner=percentile")
    line = (*line, f"hydra.sweeper.objectives=[{objective}]")
    eager = ("percentile=1.0", "n_startup_trials=1", "n_warmup_steps=1", "n_min_trials=1")
    done = search(tmp_path, *line, *(f"hydra.sweeper.pruner.{word}" for word in eager))
    assert done.returncode == 0, done.stderr
    trained = [trial for trial in trials_of(tmp_path, "smoke") if not is_refused(trial)]
    pruned = [trial for trial in trained if trial.state is TrialState.PRUNED]
    complete = [trial for trial in trained if trial.state is TrialState.COMPLETE]
    assert pruned
    assert complete
    assert all(trial.intermediate_values[3] == trial.value for trial in complete), "the curve is that of the objective"
    for trial in pruned:
        assert 0 < len(trial.intermediate_values) < 3
        assert "pruned after" in trial.user_attrs["reason"]


@pytest.mark.slow
def test_journal_can_be_the_storage(tmp_path):
    url = f"journal://{tmp_path}/journal.log"
    assert search(tmp_path, *SMOKE, f"hydra.sweeper.storage={url}").returncode == 0
    assert tally(trials_of(tmp_path, "smoke", url)).ended == 3


@pytest.mark.slow
def test_enqueued_points_are_tried_first(tmp_path):
    assert (
        search(
            tmp_path, "data=synthetic", "optim=sgd", "optim.lr=0.07", *SMALL, "hydra.run.dir=past", multirun=False
        ).returncode
        == 0
    )
    branch = "+hydra.sweeper.branches={sgd: {when: {optim: sgd}, params: {optim.momentum: 'interval(0.8,0.95)'}}}"
    enqueue = "hydra.sweeper.enqueue=[{optim.lr: 0.03, optim: adamw},{run: past},{run: past}]"
    line = (
        *AD_HOC,
        branch,
        enqueue,
        "optim=choice(sgd,adamw)",
        "optim.lr=interval(0.01,0.1)",
        "hydra.sweeper.n_jobs=1",
    )
    done = search(tmp_path, *line, "hydra.sweeper.n_trials=3")
    assert done.returncode == 0, done.stderr
    assert "1 point of hydra.sweeper.enqueue left out" in done.stdout
    first, second, _ = (trial.params for trial in trials_of(tmp_path, "ad_hoc"))
    assert first == {"optim": "adamw", "optim.lr": 0.03}
    assert second == {"optim": "sgd", "optim.lr": 0.07, "sgd:optim.momentum": 0.9}
    (tmp_path / "past").rename(tmp_path / "elsewhere")
    done = search(tmp_path, *line, "hydra.sweeper.n_trials=4")
    assert done.returncode == 0, "a started study does not need the folder any more: " + done.stderr
    assert tally(trials_of(tmp_path, "ad_hoc")).ended == 4


def test_help_lists_the_searches_and_no_other_folder(tmp_path):
    """The other folders would become groups if Hydra searched the whole folder."""
    for stray in ("evidence", "tests"):
        (tmp_path / stray).mkdir()
        (tmp_path / stray / "one.yaml").write_text("a: 1")
    text = search(tmp_path, "--help", multirun=False).stdout
    groups = text.partition("== Groups ==")[2].partition("== Keys ==")[0]
    listed = dict(line.split(maxsplit=1) for line in groups.splitlines() if line and not line.startswith(" "))
    assert set(listed) == {*GROUPS, "callbacks", "experiment", "sweeps"}
    assert "under_8k" in listed["sweeps"]


@pytest.mark.slow
def test_search_and_its_continuation_learn_from_an_earlier_study(tmp_path):
    assert search(tmp_path, *SMOKE).returncode == 0
    prior = ("hydra.sweeper.study_name=next", "hydra.sweeper.prior=[smoke]")
    done = search(tmp_path, *SMOKE, *prior, "hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=2")
    assert done.returncode == 0, done.stderr
    assert "the sampler learns from 3 trials of the earlier study smoke\n" in done.stdout
    again = search(tmp_path, "resume=outputs/sweeps/next", "hydra.sweeper.n_trials=3", multirun=False)
    assert again.returncode == 0, again.stderr
    assert tally(trials_of(tmp_path, "next")).complete == 3
    show = [sys.executable, "-m", "mnist_compact.study", "show", "next"]
    assert 'prior: "3 trials of smoke"' in subprocess.run(show, cwd=tmp_path, capture_output=True, text=True).stdout
