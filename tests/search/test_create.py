"""Creating and loading: one study for each name, whichever process comes first, and no study of another search."""

import dataclasses
import sqlite3
import sys
from contextlib import closing

import optuna
import pytest
from hydra_plugins.hydra_optuna_sweeper.config import TPESamplerConfig
from omegaconf import OmegaConf
from optuna.trial import TrialState

from mnist_compact.common.errors import ConfigError
from mnist_compact.config.sweeper import CompactSweeperConfig, NopPrunerConfig
from mnist_compact.search import create
from mnist_compact.search.create import StudySpec, stored_snapshot
from mnist_compact.search.snapshot import take_snapshot
from mnist_compact.search.storage import StorageLost

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")  # as in a search

POINTS = [{"optim.lr": 0.01}, {"optim.lr": 0.02}]


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/shared.db"


@pytest.fixture
def study_spec(tmp_path, url):
    """Return the study of a machine: all machines share a storage, and each has its own folder."""

    def of(machine="one", *, lr="interval(0.001,0.1)"):
        sweeper = OmegaConf.structured(CompactSweeperConfig)
        sweeper.sampler, sweeper.pruner, sweeper.params = TPESamplerConfig(), NopPrunerConfig(), {"optim.lr": lr}
        return StudySpec("probe", tmp_path / machine, url, False, take_snapshot(sweeper, ["data=holdout"], []), POINTS)

    return of


def loaded(url):
    return optuna.load_study(study_name="probe", storage=url)


def test_first_process_creates_and_second_loads(study_spec, url):
    study_spec("one").create_or_load()
    study_spec("two").create_or_load()
    assert [trial.state for trial in loaded(url).trials] == [TrialState.WAITING] * len(POINTS)


@pytest.mark.parametrize(
    "reading", [lambda url, study_spec: stored_snapshot("probe", url, 0.2), lambda url, study_spec: study_spec()]
)
def test_database_locked_at_the_start_is_reported(study_spec, tmp_path, reading):
    url = f"sqlite:///{tmp_path}/shared.db?timeout=0.2"
    study_spec().create_or_load()
    with closing(sqlite3.connect(tmp_path / "shared.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StorageLost, match=r"shared\.db is locked by another process") as lost:
            reading(url, lambda: dataclasses.replace(study_spec(), url=url).create_or_load())
        assert (lost.value.locked, lost.value.remedy) == (True, "when it is unlocked,")
    assert stored_snapshot("probe", url, 0.2)


def test_error_of_an_unreachable_server_hides_its_password(monkeypatch):
    pytest.importorskip("psycopg")
    url, shown = "postgresql://ada:secret@127.0.0.1:1/studies", r"postgresql://ada:\*\*\*@127\.0\.0\.1:1/studies"
    with pytest.raises(ConfigError, match=rf"^hydra\.sweeper\.storage cannot be opened, got {shown} .* connection .*$"):
        stored_snapshot("probe", url, 0.2)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigError, match=rf"{shown} \(PostgreSQL needs psycopg: pip install 'psycopg\[binary\]', or"):
        stored_snapshot("probe", url, 0.2)


def trained_in(folder):
    (folder / "trials/0000").mkdir(parents=True)


def test_folder_continues_its_own_study_and_refuses_others(study_spec, url, tmp_path):
    """Trial folders are named by number, so trials of another study would be resumed as trials of this one."""
    study_spec("one").create_or_load()
    trained_in(tmp_path / "one")
    study_spec("one").create_or_load()
    (tmp_path / "shared.db").rename(tmp_path / "aside.db")
    study_spec("two").create_or_load()
    with pytest.raises(ConfigError, match="one contains trials of another study: move them"):
        study_spec("one").create_or_load()
    (tmp_path / "one/trials").rename(tmp_path / "moved")
    study_spec("one").create_or_load()
    trained_in(tmp_path / "one")
    study_spec("one").create_or_load()


def test_trials_of_a_study_without_id_do_not_belong_to_a_newer_one(study_spec, tmp_path):
    study_spec("two").create_or_load()
    trained_in(tmp_path / "one")
    with pytest.raises(ConfigError, match="contains trials of another study"):
        study_spec("one").create_or_load()


def test_study_without_an_id_continues_in_its_folder(study_spec, url, tmp_path):
    """It was created by an earlier version."""
    study_spec("one").create_or_load()
    older = create_older(url)
    trained_in(tmp_path / "old")
    study_spec("old").create_or_load()
    trained_in(tmp_path / "one")
    with pytest.raises(ConfigError, match="contains trials of another study"):
        study_spec("one").create_or_load()
    assert "id" not in older.user_attrs


def create_older(url):
    """Create the study `probe` without its id."""
    attributes = loaded(url).user_attrs
    optuna.delete_study(study_name="probe", storage=url)
    study = optuna.create_study(study_name="probe", storage=url, direction="maximize")
    for key in ("frozen", "founded"):
        study.set_user_attr(key, attributes[key])
    return study


def test_other_settings_are_refused_with_the_difference(study_spec):
    study_spec().create_or_load()
    with pytest.raises(ConfigError, match=r"created with other settings:\n.*optim\.lr"):
        study_spec(lr="interval(0.001,0.5)").create_or_load()


def test_study_of_another_program_is_not_changed(study_spec, url, monkeypatch):
    monkeypatch.setattr(create, "CREATION_S", 0.0)
    study = optuna.create_study(study_name="probe", storage=url)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    with pytest.raises(ConfigError, match="that this program has not created"):
        study_spec().create_or_load()
    assert len(loaded(url).trials) == 3


def test_empty_study_of_another_program_is_not_changed(study_spec, url, monkeypatch):
    monkeypatch.setattr(create, "CREATION_S", 0.0)
    optuna.create_study(study_name="probe", storage=url).set_user_attr("theirs", True)
    with pytest.raises(ConfigError, match="that this program has not created"):
        study_spec().create_or_load()
    assert loaded(url).user_attrs == {"theirs": True}


def test_study_is_created_again_after_its_creator_died(study_spec, url, monkeypatch):
    monkeypatch.setattr(create, "CREATION_S", 0.0)
    half = optuna.create_study(study_name="probe", storage=url, direction="maximize")
    half.set_user_attr("frozen", study_spec().snapshot)
    half.enqueue_trial(POINTS[0])
    study_spec().create_or_load()
    assert len(loaded(url).trials) == len(POINTS)
    assert loaded(url).user_attrs["founded"]


def test_new_points_are_added_to_an_existing_study_once(study_spec, url):
    first = study_spec()
    first.create_or_load()
    more = {"optim.lr": 0.05}
    settings = {**first.snapshot["settings"], "enqueue": [more]}
    later = dataclasses.replace(first, snapshot={**first.snapshot, "settings": settings}, points=[POINTS[0], more])
    for _ in range(2):
        later.create_or_load()
    assert [trial.system_attrs["fixed_params"] for trial in loaded(url).trials] == [*POINTS, more]
    assert stored_snapshot("probe", url, 0.2)["settings"]["enqueue"] == [more], (
        "rerunning the command does not read the run again"
    )
