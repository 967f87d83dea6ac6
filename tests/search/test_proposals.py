"""Proposals of several machines that share the storage of a study but no lock."""

from contextlib import ExitStack, closing

import optuna
import pytest
from hydra import compose
from optuna.trial import TrialState

from mnist_compact.search.builders import sampler_of
from mnist_compact.search.counts import is_refused, tally
from mnist_compact.search.leases import TrialLeases
from mnist_compact.search.objectives import OBJECTIVES
from mnist_compact.search.proposals import Proposer
from mnist_compact.search.snapshot import take_snapshot
from mnist_compact.search.space import SearchSpace
from mnist_compact.search.stopping import StoppingCriteria, StopReason, stop_of
from mnist_compact.search.storage import open_storage
from mnist_compact.search.summary import best

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")  # as in a search

TINY = ("sweeps=smoke", "hydra/sweeper/sampler=random")


@pytest.fixture(params=["sqlite", "journal"])
def machines(request, configure, tmp_path):
    """Proposers of two machines with separate folders and therefore separate locks."""
    url = f"sqlite:///{tmp_path}/study.db" if request.param == "sqlite" else f"journal://{tmp_path}/study.log"
    optuna.create_study(study_name="s", storage=open_storage(url), direction="maximize")
    config = compose("config", overrides=list(TINY), return_hydra_config=True)
    snapshot = take_snapshot(config.hydra.sweeper, ["sweeps=smoke"])
    with ExitStack() as open_ones:
        proposers = []
        for host in ("here", "there"):
            leases = TrialLeases(tmp_path / host, url, "s", host, private=False)
            proposers.append(Proposer(leases, snapshot))
            open_ones.enter_context(closing(proposers[-1].composer))
        yield proposers


def test_one_of_two_machines_gets_the_last_trial(machines):
    first, second = machines
    jobs, ask = [], second.leases.study.ask

    def ask_late():
        jobs.append(first.propose(1, 500))  # after the second has seen that one trial is left
        return ask()

    second.leases.study.ask = ask_late
    assert second.propose(1, 500) is None
    (job,) = jobs
    trials = first.leases.trials()
    assert tally(trials).running == 1
    assert trials[job.number].state is TrialState.RUNNING
    assert "another machine" in trials[-1].user_attrs["refused"]
    assert not trials[-1].params, "no sampler learns from it"
    first.leases.study.tell(job.number, 50.0)
    assert tally(second.leases.trials()).ended == 1
    assert not second.leases.needs_another(1)


@pytest.fixture
def proposer_of(configure, tmp_path):
    """Return proposers of a new study, in a private storage unless `url` is given."""
    with ExitStack() as open_ones:

        def made(space, *words, points=(), branches=(), worker="ours", url=None):
            where = url or f"sqlite:///{tmp_path}/study.db"
            config = compose("config", overrides=["hydra/sweeper=compact", *words], return_hydra_config=True)
            snapshot = take_snapshot(config.hydra.sweeper, ["data=synthetic", "model=compact", *space])
            snapshot["settings"]["branches"].update(branches)
            objectives = snapshot["settings"]["objectives"]
            directions = [OBJECTIVES[name].direction for name in objectives]
            study = optuna.create_study(
                study_name="s", storage=open_storage(where), directions=directions, load_if_exists=True
            )
            for point in points:
                study.enqueue_trial(point)
            proposer = Proposer(TrialLeases(tmp_path / worker, where, "s", worker, private=url is None), snapshot)
            open_ones.enter_context(closing(proposer.composer))
            return proposer

        yield made


RATES = ("optim=choice(sgd,adamw)", "optim.lr=interval(0.01,0.1)")


@pytest.mark.parametrize("sampler", ["tpe_joint", "random"])
def test_incomplete_points_are_completed_differently(proposer_of, sampler):
    proposer = proposer_of(RATES, f"hydra/sweeper/sampler={sampler}", points=[{"optim": "sgd"}] * 3)
    jobs = [proposer.propose(5, 5) for _ in range(5)]
    trials = proposer.leases.trials()
    assert [trials[job.number].params["optim"] for job in jobs[:3]] == ["sgd"] * 3
    assert len({trial.params["optim.lr"] for trial in trials}) == 5


@pytest.mark.parametrize("sampler", ["tpe_joint", "random", "qmc", "nsgaii"])
def test_study_override_and_run_share_a_readable_number(proposer_of, sampler):
    proposer = proposer_of(RATES, f"hydra/sweeper/sampler={sampler}", points=[{"optim.lr": 0.0123456789}])
    jobs = [proposer.propose(4, 5) for _ in range(4)]
    for job, trial in zip(jobs, proposer.leases.trials(), strict=True):
        assert trial.params["optim.lr"] == job.config.optim.lr
        assert f"optim.lr={trial.params['optim.lr']}" in job.overrides
    rates = [job.config.optim.lr for job in jobs]
    assert rates[0] == 0.0123456789, "an enqueued point is not changed"
    assert all(len(str(rate)) <= len("0.01234") for rate in rates[1:])


def test_machines_with_equal_names_propose_different_points(proposer_of, tmp_path):
    """Workers have their own token, because containers may share a host name."""
    url = f"sqlite:///{tmp_path}/shared.db"
    first, second = (proposer_of(RATES, worker=worker, url=url) for worker in ("vm-1-a1b2c3-0", "vm-1-d4e5f6-0"))
    occasions = {first._seed_key(), second._seed_key()}
    assert len(occasions) == 2
    assert len({sampler_of(first.snapshot, occasion).base._rng.rng.randint(2**31) for occasion in occasions}) == 2


@pytest.mark.filterwarnings("ignore:Constraints have been set")  # README: CMA-ES does not learn from refusals
def test_cma_es_learns_from_complete_trials(proposer_of):
    pytest.importorskip("cmaes")
    proposer = proposer_of(RATES, "hydra/sweeper/sampler=cmaes")
    for _ in range(2):
        proposer.leases.study.tell(proposer.propose(9, 9).number, 90.0)
    trials = proposer.leases.trials()
    assert ["cma:generation" in trial.system_attrs for trial in trials] == [False, True]
    assert not proposer.leases.study.sampler.base._warn_independent_sampling, "it would repeat this at every proposal"


@pytest.mark.parametrize(
    ("words", "state"),
    [
        (("hydra/sweeper/sampler=tpe_joint",), TrialState.PRUNED),
        (("hydra/sweeper/sampler=nsgaii",), TrialState.COMPLETE),
        (("hydra/sweeper/sampler=gp",), TrialState.COMPLETE),
        (("hydra/sweeper/sampler=tpe_joint", "hydra.sweeper.objectives=[accuracy,parameters]"), TrialState.COMPLETE),
    ],
)
def test_refusal_is_stored_as_a_constraint_of_the_sampler(proposer_of, words, state):
    """GP and genetic samplers read only complete trials; refused trials do not affect the best trial or the pruner."""
    proposer = proposer_of(("model.layers.conv6.width=range(300,400)",), *words)
    assert proposer.propose(1, 1) is None
    (trial,) = proposer.leases.trials()
    assert (trial.state, is_refused(trial)) == (state, True)
    assert max(trial.constraints.values()) > 0
    assert tally([trial]).ended == 0
    assert best(proposer.leases.study) == []


def test_sampler_receives_the_excess_of_parameters(proposer_of):
    """An Optuna constraint is satisfied at 0 and below, here by networks with fewer parameters than the limit."""
    key = "model.layers.conv6.width"
    points = [{key: width} for width in (4, 300)]
    proposer = proposer_of((f"{key}=range(4,301)", "budget.parameters_below=8000"), points=points)
    assert proposer.propose(1, 9) is not None
    assert proposer.propose(2, 1) is None
    within, over = proposer.leases.trials()
    assert within.user_attrs["parameters"] < 8000 < over.user_attrs["parameters"]
    for trial in (within, over):
        assert trial.constraints == {"parameters": trial.user_attrs["parameters"] - 7999, "unbuildable": 0}


def test_sampler_receives_a_constraint_for_unbuildable_networks(proposer_of):
    key = "model.layers.conv5.pool"
    proposer = proposer_of((f"{key}=choice(none,max)", "model.layers.conv6.pool=max"), points=[{key: "max"}])
    assert proposer.propose(1, 1) is None
    (trial,) = proposer.leases.trials()
    assert "must fit" in trial.user_attrs["refused"]
    assert trial.constraints == {"parameters": 0, "unbuildable": 1}


FEW = ("optim=choice(sgd,adamw)", "model.layers.conv1.width=range(4,6)")


def settings():
    return StoppingCriteria(n_trials=99, target=None, target_trials=1, max_failures=9, max_refusals=99, maximize=True)


def tried(proposer, jobs=9):
    """All points that would be trained, proposed one after the other until the space is exhausted."""
    points = []
    while len(points) < jobs and (job := proposer.propose(99, 20)):
        points.append(tuple(job.overrides))
        proposer.leases.study.tell(job.number, 90.0)
    return points


def test_earlier_studies_of_stepped_ranges_end(proposer_of):
    """Earlier versions proposed 0.30000000000000004 instead of 0.3."""
    space = ("model.dropout=range(0.1,0.5,0.1)",)
    proposer = proposer_of(space, "hydra/sweeper/sampler=random", points=[{"model.dropout": 0.1 + 2 * 0.1}])
    assert sorted(tried(proposer)) == [(f"model.dropout={value}",) for value in (0.1, 0.2, 0.1 + 2 * 0.1, 0.4)]


def test_nested_branches_of_a_finite_space_end(proposer_of):
    branches = {
        "sgd": {"when": {"optim": ["sgd"]}, "params": {"optim.nesterov": "choice(true,false)"}},
        "inner": {"when": {"optim.nesterov": [True]}, "params": {"optim.momentum": "choice(0.8,0.9)"}},
    }
    proposer = proposer_of(("optim=choice(sgd,adamw)",), "hydra/sweeper/sampler=random", branches=branches)
    assert len({*tried(proposer)}) == 4
    assert stop_of(proposer.leases.trials(), settings()) == StopReason("the space is exhausted after 4 trials")


@pytest.mark.parametrize("sampler", ["tpe_joint", "random", "grid"])
def test_finite_space_is_tried_completely_and_ends(proposer_of, sampler):
    proposer = proposer_of(FEW, f"hydra/sweeper/sampler={sampler}", points=[{"optim": "sgd"}])
    points = tried(proposer)
    assert len(points) == len(set(points)) == 4
    stop = stop_of(proposer.leases.trials(), settings())
    assert stop == StopReason("the space is exhausted after 4 trials")
    assert tally(proposer.leases.trials()).waiting == 0


def test_point_enqueued_twice_is_trained_once(proposer_of):
    point = {"optim": "sgd", "optim.lr": 0.05}
    proposer = proposer_of(RATES, points=[point, point])
    first, second = (proposer.propose(9, 20) for _ in range(2))
    assert first.overrides == ["optim=sgd", "optim.lr=0.05"]
    assert second.overrides != first.overrides
    assert tally(proposer.leases.trials()).waiting == 0


def test_grid_sampler_visits_branches_in_order():
    branch = {"sgd": {"when": {"optim": ["sgd"]}, "params": {"optim.momentum": "choice(0.0, 0.9)"}}}
    space = SearchSpace.parse({"optim": "choice(adamw,sgd)"}, branch, [])
    points = [{"optim": "adamw"}, *({"optim": "sgd", "sgd:optim.momentum": momentum} for momentum in (0.0, 0.9))]
    assert list(space.points({}.get)) == points
    assert SearchSpace.parse({"optim.lr": "interval(0.1, 0.2)"}, branch, []).points({}.get) is None


@pytest.mark.parametrize(
    ("point", "fault"),
    [
        ({"model.dropout": 7.0}, "model.dropout must lie in FloatDistribution"),
        ({"model.dropuot": 0.01}, "model.dropuot is not searched"),
    ],
)
def test_point_outside_the_space_is_refused(machines, point, fault):
    """The point is enqueued with Optuna's own API, which does not check it."""
    proposer, _ = machines
    proposer.leases.study.enqueue_trial(point)
    job = proposer.propose(1, 500)
    refused = proposer.leases.trials()[0]
    assert is_refused(refused)
    assert fault in refused.user_attrs["refused"]
    assert (job.number, tally(proposer.leases.trials()).running) == (1, 1)
