"""A search that begins with trials of earlier studies: what its sampler learns, and what is not among its results."""

import copy
from contextlib import ExitStack, closing
from pathlib import Path

import optuna
import pytest
from hydra import compose
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState, create_trial

from mnist_compact.common.errors import ConfigError
from mnist_compact.confirmation.sources import best_trials
from mnist_compact.search.builders import space_of
from mnist_compact.search.coordinator import Coordinator
from mnist_compact.search.counts import tally
from mnist_compact.search.create import StudySpec
from mnist_compact.search.earlier_studies import collect
from mnist_compact.search.importing import import_file
from mnist_compact.search.leases import TrialLeases
from mnist_compact.search.locate import opened
from mnist_compact.search.objectives import OBJECTIVES
from mnist_compact.search.preflight import check_settings, preflight
from mnist_compact.search.prior import prior_trials
from mnist_compact.search.proposals import Proposer
from mnist_compact.search.snapshot import Composer, take_snapshot
from mnist_compact.search.summary import best, counts, prior_counts, settings
from mnist_compact.search.transfer import export_study, load, write

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")  # as in a search

LINE = ("data=synthetic", "model=compact", "optim=sgd")
RATES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
RATE, DROPOUT = f"optim.lr=choice({','.join(map(str, RATES))})", "model.dropout=interval(0.0,0.2)"
RANGE = "tag(log,interval(0.001,1))"
BY_OPTIMIZER = {name: {"when": {"optim": [name]}, "params": {"optim.lr": RANGE}} for name in ("sgd", "adamw")}
EARLIER = "earlier.study.json.gz"
HYDRA = ("hydra/sweeper=compact", "hydra.sweeper.study_name=new")


def score(rate):
    """A deterministic accuracy in place of training: the best rate is 0.02."""
    return 99.0 - abs(rate - 0.02)


@pytest.fixture
def configured(configure, tmp_path, monkeypatch):
    """Compose a search in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: compose("config", overrides=[*HYDRA, *words], return_hydra_config=True)


@pytest.fixture
def snapshot_of(configured):
    """Return the snapshot of a search."""
    base = take_snapshot(configured().hydra.sweeper, [])

    def made(*line, branches=None, prior=(), **changed):
        snapshot = copy.deepcopy(base)
        snapshot["settings"].update(changed, branches=branches or {})
        snapshot["arguments"] = [*LINE[: 2 if branches else 3], *line]
        if prior:
            snapshot["settings"]["prior"], snapshot["prior"] = ["earlier"], prior
        return snapshot

    return made


def prior_of(points, values=None):
    """Prior trials with these parameters, as a snapshot contains them."""
    constraints = {"parameters": -999, "unbuildable": 0}
    return [
        {"study": "earlier", "trial": i, "params": point, "values": values or [score(point["optim.lr"])]}
        | {"constraints": constraints}
        for i, point in enumerate(points)
    ]


@pytest.fixture
def export(snapshot_of):
    """Export an earlier study with a complete trial for each point, a refused and a failed trial."""

    def exported(*line, points, parameters=7000, **settings):
        snapshot = snapshot_of(*line, **settings)
        directions = [OBJECTIVES[name].direction for name in snapshot["settings"]["objectives"]]
        study = optuna.create_study(study_name="earlier", storage=InMemoryStorage(), directions=directions)
        study.set_user_attr("frozen", snapshot)
        for point in points:
            attributes = {"overrides": [f"{key}={value}" for key, value in point.items()], "parameters": parameters}
            study.add_trial(create_trial(values=[90.0], user_attrs=attributes))
        rejected = {"overrides": ["optim.lr=0.02"], "refused": "over budget"}
        study.add_trial(create_trial(values=[0.0], user_attrs=rejected))
        study.add_trial(create_trial(state=TrialState.FAIL, user_attrs={"overrides": ["optim.lr=0.02"]}))
        write(Path(EARLIER), export_study(study._storage, "earlier"))

    return exported


@pytest.fixture
def collected(snapshot_of):
    """Collect the prior trials that a new search takes from the exported study."""

    def found(*line, **settings):
        snapshot = snapshot_of(*line, **settings)
        snapshot["settings"]["prior"] = [EARLIER]
        space = space_of(snapshot)
        with closing(Composer(snapshot, space.fixed)) as composer:
            return collect(snapshot, space, composer, folder=Path(), url=None)

    return found


@pytest.fixture
def begin():
    """Create a study, and return its proposer."""
    with ExitStack() as open_ones:

        def begun(snapshot, name="new"):
            folder = Path("outputs/sweeps") / name
            folder.mkdir(parents=True)
            spec = StudySpec(name, folder, f"sqlite:///{folder}/study.db", True, snapshot, [])
            spec.create_or_load()
            leases = TrialLeases(folder, spec.url, name, "ours", private=True)
            proposer = Proposer(leases, leases.study.user_attrs["frozen"])
            open_ones.enter_context(closing(proposer.composer))
            return proposer

        yield begun


def proposed_rates(proposer, count=5):
    """Rates of the first proposals, each of which gets its deterministic score."""
    rates = []
    for _ in range(count):
        job = proposer.propose(99, 99)
        rates.append(job.config.optim.lr)
        proposer.leases.study.tell(job.number, score(rates[-1]))
    return rates


def test_sampler_proposes_near_the_optimum_of_the_earlier_study(snapshot_of, begin):
    points = [{"optim.lr": rate, "model.dropout": i / 40} for rate in RATES for i in range(8)]
    informed = begin(snapshot_of(RATE, DROPOUT, prior=prior_of(points)))
    assert proposed_rates(informed).count(0.02) >= 4
    assert proposed_rates(begin(snapshot_of(RATE, DROPOUT), name="without")).count(0.02) <= 2


def test_prior_trials_are_not_results_of_the_study(snapshot_of, begin, tmp_path):
    """They have better scores than its own trials; exported and imported, the study still has them."""
    proposer = begin(snapshot_of(RATE, prior=prior_of([{"optim.lr": rate} for rate in RATES])))
    study = proposer.leases.study
    for value in (50.0, 60.0):
        study.tell(proposer.propose(2, 99).number, value)
    assert proposer.propose(2, 99) is None
    assert tally(proposer.leases.trials()).ended == counts(study)["complete"] == 2
    assert [trial.values for trial in best(study)] == [[60.0], [50.0]]
    assert [source.name for source in best_trials(["new"], 8, Path("outputs/sweeps"))] == ["new-1", "new-0"]
    write(tmp_path / "new.study.json.gz", export_study(proposer.leases.storage, "new"))
    import_file(tmp_path / "new.study.json.gz", tmp_path / "elsewhere", None, None)
    with opened(f"sqlite:///{tmp_path}/elsewhere/new/study.db") as storage:
        imported = load(storage, "new")
        assert prior_counts(imported) == {"earlier": 6}
        assert 'prior: "6 trials of earlier"' in settings(imported)
        snapshot = imported.user_attrs["frozen"]
    trials = prior_trials(snapshot, space_of(snapshot))
    assert [(trial.params, trial.values) for trial in trials] == [({"optim.lr": rate}, [score(rate)]) for rate in RATES]
    assert trials[0].constraints == {"parameters": -999, "unbuildable": 0}


def test_random_points_of_the_earlier_study_are_not_proposed_again(snapshot_of, begin):
    earlier = proposed_rates(begin(snapshot_of(f"optim.lr={RANGE}"), name="earlier"), count=3)
    prior = prior_of([{"optim.lr": rate} for rate in earlier])
    rates = proposed_rates(begin(snapshot_of(f"optim.lr={RANGE}", prior=prior)), count=3)
    assert {*rates}.isdisjoint(earlier)


def test_study_that_does_not_exist_is_refused(snapshot_of):
    snapshot = snapshot_of(RATE)
    snapshot["settings"]["prior"] = ["nosuch"]
    space = space_of(snapshot)
    rule = r"^hydra\.sweeper\.prior must name a study in sweeps or an exported file, got 'nosuch'$"
    with closing(Composer(snapshot, space.fixed)) as composer, pytest.raises(ConfigError, match=rule):
        collect(snapshot, space, composer, folder=Path("sweeps"), url=None)


def test_study_continues_without_the_earlier_study(export, configured):
    export(RATE, points=[{"optim.lr": 0.1}, {"optim.lr": 0.2}])
    words = ("hydra/sweeper/sampler=tpe", f"hydra.sweeper.prior=[{EARLIER}]")

    def search(*words):
        coordinator = Coordinator(configured(*words), [*LINE, RATE])
        coordinator.check()
        coordinator.folder.mkdir(parents=True, exist_ok=True)
        StudySpec(
            "new", coordinator.folder, coordinator.url, True, coordinator.snapshot, [], coordinator.exists
        ).create_or_load()
        return coordinator

    first = search(*words)
    assert [entry["trial"] for entry in first.snapshot["prior"]] == [0, 1]
    assert first.prior == [f"the sampler learns from 2 trials of the earlier study {EARLIER}"]
    Path(EARLIER).unlink()
    assert search(*words).exists
    with pytest.raises(ConfigError, match=r"hydra\.sweeper\.prior: .* → None"):
        search(words[0])


def test_search_without_prior_has_the_snapshot_of_earlier_versions(snapshot_of):
    """An unnamed study is named after its snapshot, so it continues only if the snapshot is unchanged."""
    assert "prior" not in snapshot_of(RATE)["settings"]


def test_trials_outside_the_new_study_are_left_out_and_counted(export, collected):
    """A key that the earlier study did not search has the value with which its trials were trained."""
    points = [{"optim.lr": rate, "train.label_smoothing": 0.1} for rate in (0.01, 0.02, 0.5)]
    export("optim.lr=interval(0.001,1)", "model.dropout=0.125", points=points)
    space = ("optim.lr=interval(0.001,0.1)", DROPOUT)
    entries, lines = collected(*space)
    assert [(entry["trial"], entry["params"]) for entry in entries] == [
        (0, {"optim.lr": 0.01, "model.dropout": 0.125}),
        (1, {"optim.lr": 0.02, "model.dropout": 0.125}),
    ]
    assert entries[0]["constraints"] == {"parameters": -999, "unbuildable": 0}
    assert lines == [
        f"the sampler learns from 2 trials of the earlier study {EARLIER}; 1 left out: "
        "1 x optim.lr is outside its range here; 1 other setting differed there: train.label_smoothing"
    ]
    with pytest.raises(ConfigError, match=r"2 x its network is not below budget\.parameters_below = 7000; 1 x optim"):
        collected(*space, "budget.parameters_below=7000")


def test_parameters_are_found_in_other_branches(export, collected):
    """An earlier study may have searched a key in another branch, or in none."""
    points = [{"optim": "sgd", "optim.lr": 0.1}, {"optim": "adamw", "optim.lr": 0.005}]
    export("optim=choice(sgd,adamw)", "optim.lr=interval(0,1)", points=points)
    entries, _ = collected("optim=choice(sgd,adamw)", branches=BY_OPTIMIZER)
    assert [entry["params"] for entry in entries] == [
        {"optim": "sgd", "sgd:optim.lr": 0.1},
        {"optim": "adamw", "adamw:optim.lr": 0.005},
    ]


def test_scores_with_another_meaning_are_refused(export, collected):
    changes = ({"data": "holdout"}, {"data.data_seed": 1}, {"train.epochs": 3}, {"train.average_epochs": 1})
    export(RATE, points=[{**change, "optim.lr": 0.1} for change in changes])
    with pytest.raises(ConfigError, match=rf"^hydra\.sweeper\.prior: no trial of {EARLIER} can be used: ") as refused:
        collected(RATE)
    for reason in (
        *("data.kind is holdout there and synthetic here", "data.data_seed is 1 there and 0 here"),
        *("train.epochs is 3 there and 15 here", "the kind of the scored weights is averaged there and raw here"),
    ):
        assert f"1 x {reason}" in str(refused.value)
    with pytest.raises(ConfigError, match=r"must have the objectives \['loss'\] of this search, got \['accuracy'\]$"):
        collected(RATE, objectives=["loss"])


def test_study_without_usable_trials_is_refused(export, collected):
    export(points=[])
    with pytest.raises(ConfigError, match=rf"^hydra\.sweeper\.prior: {EARLIER} must have a complete trial, got none$"):
        collected(RATE)
    study = optuna.create_study(study_name="foreign", storage=InMemoryStorage())
    study.add_trial(create_trial(value=1.0))
    write(Path(EARLIER), export_study(study._storage, "foreign"))
    with pytest.raises(ConfigError, match=r"was not created by this program, so its configurations are unknown$"):
        collected(RATE)
    Path(EARLIER).unlink()
    with pytest.raises(ConfigError, match=rf"^{EARLIER} cannot be read"):
        collected(RATE)


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (("hydra/sweeper/sampler=nsgaii", "hydra.sweeper.prior=[a]"), "prior needs hydra/sweeper/sampler=tpe_joint"),
        (("hydra.sweeper.prior=[a,a]",), "prior must name each study once"),
    ],
)
def test_settings_that_exclude_prior_trials_are_refused(configured, words, rule):
    with pytest.raises(ConfigError, match=rf"^hydra\.sweeper\.{rule}"):
        check_settings(configured(*words))


SAMPLER, PRUNER = "optuna.samplers.", "optuna.pruners."


@pytest.mark.parametrize(
    "changed",
    [
        {"sampler": {"_target_": f"{SAMPLER}GPSampler", "seed": None}},
        {"sampler": {"_target_": f"{SAMPLER}TPESampler", "seed": None, "multivariate": True}},
        {"pruner": {"_target_": f"{PRUNER}HyperbandPruner"}},
        {"objectives": ["accuracy", "parameters"]},
    ],
)
def test_prior_trials_of_branches_suit_every_sampler_that_learns(snapshot_of, changed):
    """GP needs the same parameters and constraints in all trials."""
    points = [
        {"optim": ("sgd", "adamw")[i % 2], ("sgd:optim.lr", "adamw:optim.lr")[i % 2]: 0.02, "model.dropout": i / 100}
        for i in range(12)
    ]
    values = [90.0, 7000.0] if "objectives" in changed else [90.0]
    space = ("optim=choice(sgd,adamw)", DROPOUT)
    snapshot = snapshot_of(*space, branches=BY_OPTIMIZER, prior=prior_of(points, values), **changed)
    preflight(snapshot, space_of(snapshot), {})
