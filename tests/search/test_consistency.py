"""A space that contradicts itself is refused before its study exists."""

from pathlib import Path

import pytest

from mnist_compact.common.errors import ConfigError
from mnist_compact.search.builders import space_of
from mnist_compact.search.consistency import check_space
from mnist_compact.search.migrations import migrate_snapshot
from mnist_compact.search.space import SearchSpace
from mnist_compact.search.transfer import read

EVIDENCE = Path(__file__).parents[2] / "evidence"
SGD = {"when": {"optim": ["sgd"]}, "params": {"optim.momentum": "interval(0.8,0.9)"}}


def checked(params, branches, *arguments, known=None):
    check_space(SearchSpace.parse(params, branches, arguments), arguments, (known or {}).get)


@pytest.mark.parametrize(
    ("params", "branches", "message"),
    [
        ({"optim": "choice(sgd,sgd)"}, {}, "optim must list each choice once, got sgd, sgd"),
        ({"train.batch_size": "choice(64,64.0)"}, {}, "train.batch_size must list each choice once, got 64, 64.0"),
        ({"callbacks": "choice(none,mlflow)"}, {}, "callbacks must have one value in a search, got a sweep"),
        (
            {"machine.threads": "choice(1,2)"},
            {},
            "machine.threads must not be searched, because it describes the machine",
        ),
        (
            {"optim": "choice(sgd,adam)", "optim.momentum": "interval(0.5,0.9)"},
            {"sgd": SGD},
            "optim.momentum must be searched either in params or in branches, got it in both (branch sgd)",
        ),
        (
            {"optim": "choice(sgd,adam)", "seed": "choice(1,2)"},
            {"sgd": SGD, "second": {**SGD, "when": {"seed": [1]}}},
            "optim.momentum must be searched by one branch at a time, got sgd and second, whose conditions can both "
            "hold: optim=sgd seed=1",
        ),
        (
            {"optim": "choice(adam,adamw)"},
            {"sgd": SGD},
            "hydra.sweeper.branches.sgd.when.optim must name values that are searched, one of adam, adamw, got sgd",
        ),
        (
            {"optim": "choice(sgd,adam)"},
            {"sgd": {**SGD, "when": {"optim": []}}},
            "must name at least one value, got []",
        ),
        (
            {"optim.lr": "interval(0.1,0.2)"},
            {"sgd": {**SGD, "when": {"optim.lr": [0.15]}}},
            "must not depend on one value of an interval without steps, got 0.15",
        ),
        (
            {"optim": "choice(sgd,adam)"},
            {
                "sgd": {"when": {"optim": ["sgd"]}, "params": {"optim.nesterov": "choice(true,false)"}},
                "never": {**SGD, "when": {"optim": ["adam"], "optim.nesterov": [True]}},
            },
            "hydra.sweeper.branches.never.when can never hold",
        ),
    ],
)
def test_contradictory_space_is_refused(params, branches, message):
    with pytest.raises(ConfigError) as caught:
        checked(params, branches)
    assert message in str(caught.value)


def test_swept_key_given_twice_is_refused():
    with pytest.raises(ConfigError, match=r"optim\.lr must be given once on the command line"):
        checked({"optim": "choice(sgd,adam)"}, {}, "optim.lr=interval(0.1,0.2)", "optim.lr=0.1")
    checked({}, {}, "optim.lr=interval(0.1,0.2)", "seed=1", "seed=2")


def test_space_without_an_active_branch_is_refused():
    with pytest.raises(ConfigError, match="at least one branch whose conditions hold"):
        checked({}, {"sgd": SGD}, known={"optim": "adam"})
    checked({}, {"sgd": SGD}, known={"optim": "sgd"})


def test_exclusive_branches_may_share_a_key():
    """Also if only their parent branches exclude each other."""
    branches = {
        "sgd": {"when": {"optim": ["sgd"]}, "params": {"optim.nesterov": "choice(true,false)"}},
        "first": {"when": {"optim.nesterov": [True]}, "params": {"optim.lr": "interval(0.1,0.2)"}},
        "second": {"when": {"optim": ["adam"]}, "params": {"optim.lr": "interval(0.01,0.02)"}},
    }
    checked({"optim": "choice(sgd,adam)"}, branches)


def test_command_line_may_leave_a_branch_without_points():
    checked({"optim": "choice(sgd,adam)", "seed": "choice(1,2)"}, {"sgd": SGD}, "optim=adam")
    checked({"optim": "choice(sgd,adam)"}, {"sgd": SGD}, "optim=choice(adam,adamw)")


@pytest.mark.parametrize("path", sorted(EVIDENCE.rglob("*.study.json.gz")), ids=lambda path: path.name)
def test_committed_studies_are_consistent(path):
    """Each of them must be able to continue."""
    snapshot = migrate_snapshot(read(path)["user_attrs"]["frozen"])
    check_space(space_of(snapshot), snapshot["arguments"], {}.get)
