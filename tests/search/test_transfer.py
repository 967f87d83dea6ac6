"""Export and import of a study: everything that does not depend on the machine is restored."""

import gzip
import json
from contextlib import contextmanager
from datetime import datetime

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState

from mnist_compact.common.errors import ConfigError
from mnist_compact.search import bulk, transfer
from mnist_compact.search.counts import is_refused, quieten, tally
from mnist_compact.search.locate import opened
from mnist_compact.search.transfer import SCHEMA_VERSION, export_study, import_study, read, write

FROZEN = {"settings": {"params": {"optim": "choice(sgd,adamw)", "a": "interval(0,1)"}}, "arguments": ["seed=3"]}


@pytest.fixture(autouse=True)
def _quiet():
    quieten()


@pytest.fixture(params=["sqlite", "journal", "memory"])
def storage(request, tmp_path):
    """A storage that is closed at the end, because a connection that is only garbage-collected warns."""
    if request.param == "memory":
        yield InMemoryStorage()
        return
    url = f"sqlite:///{tmp_path}/study.db" if request.param == "sqlite" else f"journal://{tmp_path}/study.log"
    with opened(url) as storage:
        yield storage


def suggested(trial, parameters=-12):
    trial.suggest_categorical("optim", ["sgd", "adamw"])
    trial.suggest_float("sgd:optim.lr", 1e-3, 1e-1, log=True)
    trial.suggest_int("width", 4, 12, step=4)
    trial.set_user_attr("lease", {"worker": "1-0", "host": "here", "lock": "/tmp/x", "until": 1.5})
    trial.set_user_attr("overrides", ["optim=sgd", f"width={trial.params['width']}"])
    trial.set_user_attr("folder", f"trials/{trial.number:04d}")
    trial.set_constraint("parameters", parameters)
    trial.set_constraint("unbuildable", 0)
    return trial


def study_of_every_kind(storage, name="s"):
    """Create a study with one trial of every kind."""
    study = optuna.create_study(
        study_name=name, storage=storage, direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0)
    )
    study.set_metric_names(["accuracy"])
    study.set_user_attr("frozen", FROZEN)
    study.enqueue_trial({"width": 8, "optim": "adamw"})
    complete = suggested(study.ask())
    for epoch, score in enumerate((90.0, 97.123456789012345, 99.31), 1):
        complete.report(score, epoch)
    study.tell(complete, 99.31)
    refused = suggested(study.ask(), parameters=900)
    refused.set_user_attr("refused", "over budget")
    study.tell(refused, state=TrialState.PRUNED)
    pruned = suggested(study.ask())
    pruned.report(50.0, 1)
    study.tell(pruned, state=TrialState.PRUNED)
    failed = suggested(study.ask())
    failed.set_user_attr("reason", "diverged")
    study.tell(failed, state=TrialState.FAIL)
    running = suggested(study.ask())
    running.report(12.0, 1)
    study.enqueue_trial({"width": 4})
    return study


def content_of(trial):
    """The content of a trial without its id in the storage and its lease."""
    user_attrs = {key: value for key, value in trial.user_attrs.items() if key != "lease"}
    return {**vars(trial), "_trial_id": None, "_user_attrs": user_attrs}


def test_import_restores_everything(storage, tmp_path):
    study = study_of_every_kind(storage)
    write(tmp_path / "s.study.json.gz", export_study(storage, "s"))
    other = import_study(read(tmp_path / "s.study.json.gz"), InMemoryStorage(), "again")
    assert (other.study_name, other.directions, other.metric_names) == ("again", study.directions, ["accuracy"])
    assert other.user_attrs == study.user_attrs
    assert list(other.user_attrs["frozen"]["settings"]["params"]) == ["optim", "a"], (
        "the order in which the trial suggested its parameters"
    )
    assert [trial.number for trial in other.trials] == [0, 1, 2, 3, 4, 5]
    for before, after in zip(study.trials, other.trials, strict=True):
        if before.state is not TrialState.RUNNING:
            assert content_of(after) == content_of(before)
        assert "lease" not in after.user_attrs
    complete, refused, *_ = other.trials
    assert complete.constraints == {"parameters": -12, "unbuildable": 0}
    assert complete.intermediate_values == {1: 90.0, 2: 97.123456789012345, 3: 99.31}
    assert complete.system_attrs["fixed_params"] == {"width": 8, "optim": "adamw"}
    assert complete.distributions == {
        "optim": CategoricalDistribution(["sgd", "adamw"]),
        "sgd:optim.lr": FloatDistribution(1e-3, 1e-1, log=True),
        "width": IntDistribution(4, 12, step=4),
    }
    assert is_refused(refused)
    assert isinstance(refused.datetime_complete, datetime)


def test_running_trial_is_exported_as_waiting_with_its_point():
    storage = InMemoryStorage()
    study = study_of_every_kind(storage)
    running = study.trials[4]
    other = import_study(export_study(storage, "s"), InMemoryStorage(), "s")
    waiting = other.trials[4]
    assert waiting.state is TrialState.WAITING
    assert waiting.system_attrs == {"fixed_params": running.params}
    assert (waiting.params, waiting.user_attrs, waiting.intermediate_values) == ({}, {}, {})
    assert tally(other.trials).running == 0
    again = suggested(other.ask())
    assert (again.number, again.params) == (4, running.params)
    assert other.ask().suggest_int("width", 4, 12, step=4) == 4, "then the trial that was already waiting"
    assert other.ask().number == 6


def test_running_trial_without_parameters_keeps_its_point():
    storage = InMemoryStorage()
    study = optuna.create_study(study_name="s", storage=storage)
    study.enqueue_trial({"width": 8})
    study.ask()
    (waiting,) = import_study(export_study(storage, "s"), InMemoryStorage(), "s").trials
    assert (waiting.state, waiting.system_attrs) == (TrialState.WAITING, {"fixed_params": {"width": 8}})


def test_quasi_random_sequence_continues_after_import():
    def proposed(storage, name):
        """Propose four more points and return all."""
        sampler = optuna.samplers.QMCSampler(seed=0, warn_independent_sampling=False)
        study = optuna.load_study(study_name=name, storage=storage, sampler=sampler)
        for _ in range(4):
            trial = study.ask({"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)})
            study.tell(trial, trial.params["x"])
        return {tuple(trial.params.values()) for trial in study.trials}

    here, there = InMemoryStorage(), InMemoryStorage()
    optuna.create_study(study_name="s", storage=here)
    assert len(proposed(here, "s")) == 4
    import_study(export_study(here, "s"), there, "s")
    assert len(proposed(there, "s")) == 8, "no point twice"


def test_file_without_positions_is_of_an_earlier_version(exported):
    earlier = {key: value for key, value in exported.items() if key != "system_attrs"}
    assert len(import_study(earlier, InMemoryStorage(), "s").trials) == len(exported["trials"])


def test_import_restores_several_objectives():
    storage = InMemoryStorage()
    study = optuna.create_study(study_name="s", storage=storage, directions=["maximize", "minimize"])
    study.tell(suggested(study.ask()), [99.0, 7000.0])
    other = import_study(export_study(storage, "s"), InMemoryStorage(), "s")
    assert (other.directions, other.metric_names) == (study.directions, None)
    assert other.trials[0].values == [99.0, 7000.0]
    assert [trial.number for trial in other.best_trials] == [0]


def test_equal_studies_give_equal_bytes(storage, tmp_path):
    study_of_every_kind(storage)
    once, twice, back = tmp_path / "once", tmp_path / "twice", tmp_path / "back"
    write(once, export_study(storage, "s"))
    write(twice, export_study(storage, "s"))
    assert once.read_bytes() == twice.read_bytes()
    memory = InMemoryStorage()
    import_study(read(once), memory, "s")
    write(back, export_study(memory, "s"))
    assert back.read_bytes() == once.read_bytes(), "on another storage too"
    assert {path.name for path in tmp_path.iterdir()} >= {"once", "twice", "back"}
    assert not list(tmp_path.glob(".writing.*"))


# Refused imports


def test_import_under_an_existing_name_is_refused(storage):
    study = study_of_every_kind(storage)
    with pytest.raises(ConfigError, match="a study 's' exists there already"):
        import_study(export_study(storage, "s"), storage, "s")
    assert len(study.trials) == 6
    assert len(import_study(export_study(storage, "s"), storage, "other").trials) == 6


def test_export_of_a_missing_study_is_refused():
    storage = InMemoryStorage()
    with pytest.raises(ConfigError, match="no study 'x' in this storage; its studies: none"):
        export_study(storage, "x")


@pytest.fixture
def exported():
    memory = InMemoryStorage()
    study_of_every_kind(memory)
    return export_study(memory, "s")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda whole: whole[: len(whole) // 2], "is damaged or not an exported study"),
        (lambda whole: whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:], "is damaged or not an exported study"),
        (lambda whole: b"", "is damaged or not an exported study"),
        (lambda whole: b"hello", "is damaged or not an exported study"),
        (lambda whole: gzip.compress(b"\xff{"), "is damaged or not an exported study"),
        (lambda whole: gzip.compress(b"[]"), "has no schema_version"),
        (lambda whole: gzip.compress(b'{"schema_version":99}'), f"has schema_version 99; .* reads {SCHEMA_VERSION}"),
        (lambda whole: gzip.compress(b'{"schema_version":1}'), "has no name of the study"),
    ],
)
def test_file_without_a_study_is_refused(exported, tmp_path, spoil, message):
    path = tmp_path / "s.study.json.gz"
    write(path, exported)
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ConfigError, match=message):
        read(path)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content.pop("trials"),
        lambda content: content["trials"].pop(1),
        lambda content: content["trials"][0].pop("start"),
        lambda content: content["trials"][0].update(state="DONE"),
        lambda content: content["trials"][0].update(params={"width": 4}),
        lambda content: content["trials"][3].update(values=[1.0]),
        lambda content: content["trials"][0].update(values=[1.0, 2.0]),
        lambda content: content["trials"][0].update(start="yesterday"),
        lambda content: content.update(directions=["up"]),
        lambda content: content.update(metric_names=["one", "two"]),
    ],
)
def test_damaged_study_is_refused_and_leaves_nothing(exported, spoil):
    content = json.loads(json.dumps(exported))
    spoil(content)
    memory = InMemoryStorage()
    with pytest.raises(ConfigError, match="the exported study is damaged"):
        import_study(content, memory, "s")
    assert memory.get_all_studies() == []


def test_slow_steps_of_reading_and_writing_are_announced(exported, tmp_path, monkeypatch):
    announced = []

    @contextmanager
    def noted(work):
        announced.append(work)
        yield

    for module in (bulk, transfer):
        monkeypatch.setattr(module, "announced", noted)
    file, url = tmp_path / "s.study.json.gz", f"sqlite:///{tmp_path}/study.db"
    write(file, exported)
    with opened(url) as storage:
        import_study(read(file), storage, "again")
    with opened(url) as storage:
        assert len(optuna.load_study(study_name="again", storage=storage).trials) == len(exported["trials"])
    assert announced == [
        f"reading {file}",
        "checking the exported study",
        "writing the study again",
        "reading the study's trials",
    ]


def test_study_is_complete_after_all_other_attributes(monkeypatch):
    """A search on the same storage may load the study as soon as it has the attribute `founded`."""
    storage, written, write_attribute = InMemoryStorage(), [], optuna.Study.set_user_attr
    study = study_of_every_kind(storage)
    study.set_user_attr("founded", True)
    exported = export_study(storage, "s")

    def noted(self, key, value):
        written.append(key)
        write_attribute(self, key, value)

    monkeypatch.setattr(optuna.Study, "set_user_attr", noted)
    import_study(exported, storage, "again")
    assert (sorted(written), written[-1]) == (["founded", "frozen"], "founded")
