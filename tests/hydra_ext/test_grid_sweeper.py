"""A grid is checked as a whole: if one member cannot run, none of them starts."""

import sys

import pytest
from hydra.errors import HydraException

from mnist_compact.config.error_messages import explain
from mnist_compact.hydra_ext import grid_sweeper

SHORT = ("data=synthetic", "data.train_images=64", "train.batch_size=32", "train.epochs=1")


def test_all_invalid_members_are_named_before_any_runs(type_in, tmp_path):
    status, out, message = type_in("-m", *SHORT, "optim=sgd", "optim.lr=0.1,-1,1e30,inf,0.2", "model.dropout=0,1.5")
    assert (status, out) == (2, "")
    assert message == (
        "mnist_compact: 7 of 10 jobs cannot run, so none was started:\n"
        "optim.lr=0.1 model.dropout=1.5: model.dropout must be in [0, 1), got 1.5\n"
        "optim.lr=-1 model.dropout=0: optim.lr must be above 0, got -1.0\n"
        "optim.lr=-1 model.dropout=1.5: model.dropout must be in [0, 1), got 1.5; optim.lr must be above 0, got -1.0\n"
        "optim.lr=1e+30 model.dropout=1.5: model.dropout must be in [0, 1), got 1.5\n"
        "optim.lr=inf model.dropout=0: optim.lr must be finite, got inf\n"
        "optim.lr=inf model.dropout=1.5: model.dropout must be in [0, 1), got 1.5; optim.lr must be finite, got inf\n"
        "optim.lr=0.2 model.dropout=1.5: model.dropout must be in [0, 1), got 1.5\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_member_over_the_budget_refuses_the_grid(type_in, tmp_path):
    _, _, message = type_in("-m", *SHORT, "hydra.sweeper.max_batch_size=1", "model.layers.conv4.width=10,200")
    assert message == (
        "mnist_compact: 1 of 2 jobs cannot run, so none was started:\n"
        "model.layers.conv4.width=200: budget.parameters_below must "
        "exceed the network's parameters, got 8,000 for 38,508 (budget=none removes the limit)\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("momentum", ["0.9", "0.9,0.95"])
def test_key_that_a_member_lacks_refuses_the_grid(type_in, tmp_path, momentum):
    _, _, message = type_in("-m", *SHORT, "optim=sgd,adam", f"optim.momentum={momentum}")
    named = "optim=adam" if momentum == "0.9" else "optim=adam optim.momentum=0.9"
    assert message.splitlines()[1].startswith(f"{named}: optim.momentum is not a key of the configuration.")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("-m optim=sgd,rmsprop optim.momentum=0.8", "-m optim=sgd,rmsprop optim.momentum=choice(0.8)"),
        ("-m optim=sgd,adam ++optim.lr=0.8 seed=3", "-m optim=sgd,adam ++optim.lr=choice(0.8) seed=3"),
        ("-m experiment=a,b model.order=[a,b]", "-m experiment=a,b model.order=choice([a,b])"),
        ("-m optim=sgd,adam optim.lr=0.1,0.2", "-m optim=sgd,adam optim.lr=0.1,0.2"),
        ("-m optim=sgd optim.lr=0.1", "-m optim=sgd optim.lr=0.1"),
        ("-m optim=sgd,adam model.dropout=0", "-m optim=sgd,adam model.dropout=0"),
        ("optim=sgd,adam optim.lr=0.1", "optim=sgd,adam optim.lr=0.1"),
        ("-m sweeps=smoke optim=sgd,adam optim.lr=0.1", "-m sweeps=smoke optim=sgd,adam optim.lr=0.1"),
        ("-m optim=sgd,adam optim.lr=[", "-m optim=sgd,adam optim.lr=["),
    ],
)
def test_shared_overrides_are_not_part_of_the_labels(typed, expected):
    assert grid_sweeper.for_each_member(typed.split()) == expected.split()


def test_value_of_a_common_key_reaches_every_member(type_in, monkeypatch, tmp_path):
    started_jobs = []
    monkeypatch.setattr(
        "mnist_compact.hydra_ext.launcher.run_all", lambda jobs, *_, **__: started_jobs.extend(jobs) or exit_early()
    )

    def exit_early():
        raise KeyboardInterrupt

    assert type_in("-m", *SHORT, "optim=sgd,muon", "optim.momentum=0.8")[0] == 130
    assert all("optim.momentum=0.8" in job.command for job in started_jobs)
    assert [job.label for job in started_jobs] == ["optim=sgd", "optim=muon"]


def test_interval_in_a_grid_is_refused_with_the_search_command(type_in, tmp_path):
    given = ["-m", *SHORT, "optim.lr=interval(1e-3,1e-1)", "hydra/sweeper=basic", "model.dropout=tag(a,interval(0,1))"]
    message = (
        "mnist_compact: optim.lr=interval(1e-3,1e-1) and model.dropout=tag(a,interval(0,1)): a grid cannot "
        "enumerate an interval. A search can sample it: python -m mnist_compact -m hydra/sweeper=compact "
        f"{' '.join(SHORT)} 'optim.lr=interval(1e-3,1e-1)' 'model.dropout=tag(a,interval(0,1))'\n"
    )
    assert type_in(*given) == (2, "", message)
    assert list(tmp_path.iterdir()) == []


def test_error_for_an_interval_in_a_file_names_its_key(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["mnist_compact", "-m", "seed=0"])
    error = HydraException("BasicSweeper does not support sweep type : INTERVAL_SWEEP")
    assert explain(error).startswith("hydra.sweeper.params: a grid cannot enumerate an interval.")


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("-m sweeps=smokee", "sweeps=smokee does not exist. Did you mean 'smoke'? Options of sweeps: fast, "),
        ("sweeps=smokee", "sweeps=smokee does not exist. Did you mean 'smoke'?"),
        ("-m hydra/sweeper=compact sweeps=smokee", "sweeps=smokee does not exist. Did you mean 'smoke'?"),
        ("-m sweeps=smoke,fast", "sweeps must name one search question, got smoke,fast"),
    ],
)
def test_question_that_does_not_exist_is_named(type_in, tmp_path, typed, message):
    status, out, error = type_in(*typed.split())
    assert (status, out) == (2, "")
    assert error.startswith(f"mnist_compact: {message}")
    assert list(tmp_path.iterdir()) == []


def test_question_without_the_search_sweeper_is_refused(type_in, tmp_path):
    (tmp_path / "mine/sweeps").mkdir(parents=True)
    (tmp_path / "mine/sweeps/own.yaml").write_text("# @package _global_\nseed: 1\n")
    _, _, message = type_in(f"--config-dir={tmp_path}/mine", "-m", "sweeps=own")
    assert "sweeps=own is a search question: its file must have 'override /hydra/sweeper: compact'" in message


def test_grid_above_the_limit_is_refused_at_once(type_in, tmp_path):
    status, out, message = type_in("-m", *SHORT, "seed=range(0,1000)", "optim.beta1=range(0.1,0.9,0.0001)")
    assert (status, out) == (2, "")
    assert message == (
        "mnist_compact: a grid must have at most 5,000 jobs, got more, of seed, optim.beta1; use a search instead\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_check_of_a_large_grid_is_announced(type_in, monkeypatch):
    monkeypatch.setattr(grid_sweeper, "MANY_JOBS", 2)
    _, _, message = type_in("-m", *SHORT, "seed=0,-1")
    assert message.startswith("checking the configurations of 2 jobs\nmnist_compact: 1 of 2 jobs cannot run")
