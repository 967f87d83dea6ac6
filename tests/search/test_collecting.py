"""Run folders of several machines become one folder: of each trial the run that gave the study its result."""

import re
import shutil

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from mnist_compact.common.errors import ConfigError
from mnist_compact.records.record import RunRecord, Status
from mnist_compact.search.collecting import collect_trials

SNAPSHOT = {"settings": {"objectives": ["accuracy"]}}


@pytest.fixture
def study():
    """A study of two complete trials, a pruned and a refused one."""
    made = optuna.create_study(study_name="probe", direction="maximize")
    made.set_user_attr("frozen", SNAPSHOT)
    made.set_user_attr("id", "5eed")
    for state, value, attributes in [
        (TrialState.COMPLETE, 99.0, {"overrides": ["n=0"], "lease": {"host": "a"}}),
        (TrialState.COMPLETE, 99.0, {"overrides": ["n=1"], "lease": {"host": "b"}}),
        (TrialState.PRUNED, None, {"overrides": ["n=2"]}),
        (TrialState.PRUNED, None, {"refused": "over budget"}),
    ]:
        made.add_trial(create_trial(state=state, value=value, user_attrs=attributes))
    return made


@pytest.fixture
def machine(make_run, tmp_path):
    """Return a function that makes the study's folder of a machine, with the runs of these trials."""

    def made(name, runs, study_id="5eed"):
        (tmp_path / name / "trials").mkdir(parents=True)
        (tmp_path / name / "study.id").write_text(study_id)
        for number, fields in runs.items():
            make_run(f"{name}/trials/{number:04d}", overrides=[f"n={number}"], **fields)
        return tmp_path / name

    return made


PRUNED = {"status": Status.STOPPED, "reason": "pruned"}
INTERRUPTED = {"status": Status.INTERRUPTED, "reason": "signal"}


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_run_folders_of_two_machines_become_one_folder(study, machine, tmp_path):
    a, b = machine("a", {0: {}, 2: PRUNED}), machine("b", {1: {}})
    lines, complete = collect_trials(study, tmp_path / "home/probe", [a, b])
    assert (lines, complete) == (
        [f"study probe: 3 run folders copied to {tmp_path}/home/probe/trials; 0 existed"],
        True,
    )
    assert contents(tmp_path / "home/probe") == contents(a) | contents(b)
    again, complete = collect_trials(study, tmp_path / "home/probe", [a, b])
    assert ("0 run folders copied" in again[0], again[0].endswith("; 3 existed"), complete) == (True, True, True)


def test_run_that_gave_the_result_is_copied_and_no_other_attempt(study, machine, score, tmp_path):
    late = {"scores": [score("train", "raw", "last", 98.0), score("test", "raw", "last", 98.5)]}
    a = machine("a", {0: INTERRUPTED, 1: late, 2: {}})
    b = machine("b", {0: {}, 1: {}, 3: {}})
    lines, complete = collect_trials(study, tmp_path / "home", [a, b])
    assert ("2 run folders copied" in lines[0], complete) == (True, True)
    assert sorted(path.name for path in (tmp_path / "home/trials").iterdir()) == ["0000", "0001"]
    for number in ("0000", "0001"):
        assert contents(tmp_path / "home/trials" / number) == contents(b / "trials" / number)


def test_run_of_another_configuration_is_not_copied(study, machine, make_run, tmp_path):
    a = machine("a", {0: {}})
    make_run("a/trials/0001", overrides=["n=7"])
    _, complete = collect_trials(study, tmp_path / "home", [a])
    assert not complete
    assert not (tmp_path / "home/trials/0001").exists()


def test_other_attempt_in_the_way_is_named_and_not_changed(study, machine, tmp_path):
    home, b = machine("home", {0: INTERRUPTED, 1: {}}), machine("b", {0: {}})
    before = contents(home)
    lines, complete = collect_trials(study, home, [b])
    assert lines[1] == (
        f"{home}/trials/0000 contains another attempt at the trial whose result is in {b}/trials/0000: "
        "move the former away and rerun the command"
    )
    assert (contents(home), complete) == (before, False)
    shutil.move(home / "trials/0000", tmp_path / "away")
    assert collect_trials(study, home, [b])[1]
    assert RunRecord.read(home / "trials/0000").status is Status.COMPLETED


def test_complete_trials_without_a_run_are_named_by_machine(study, machine, tmp_path):
    study.ask()
    lines, complete = collect_trials(study, tmp_path / "home", [machine("c", {2: PRUNED})])
    assert not complete
    assert lines[1:] == [
        "1 complete trial of a without a run folder: 0",
        "1 complete trial of b without a run folder: 1",
        "1 trial still running: rerun the command when the search has ended",
    ]


@pytest.mark.parametrize("name", ["home", "b"])
def test_folder_of_another_study_is_refused_before_anything_is_copied(study, machine, tmp_path, name):
    foreign = machine(name, {1: {}}, study_id="0ther")
    with pytest.raises(ConfigError, match=rf"{foreign} contains trials of another study"):
        collect_trials(study, tmp_path / "home", [machine("a", {0: {}}), *([foreign] if name == "b" else [])])
    assert not (tmp_path / "home/trials/0000").exists()


def test_folders_that_are_not_of_a_study_are_all_named(study, tmp_path):
    sources = [tmp_path / "missing", tmp_path]
    with pytest.raises(ConfigError) as refused:
        collect_trials(study, tmp_path / "home", sources)
    assert refused.value.faults == [
        f"--from must be a study's folder, which contains trials, got {each}" for each in sources
    ]


def test_copy_that_fails_leaves_nothing_and_a_killed_one_is_removed(study, machine, monkeypatch, tmp_path):
    a, home = machine("a", {0: {}}), tmp_path / "home"
    (home / "trials/.collecting.killed/0000").mkdir(parents=True)
    (home / "study.id").write_text("5eed")

    def full(source, target, **settings):
        target.mkdir()
        raise OSError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "copytree", full)
        with pytest.raises(OSError, match="no space left"):
            collect_trials(study, home, [a])
    assert not list((home / "trials").iterdir())


def test_study_of_another_program_is_refused(machine, tmp_path):
    with pytest.raises(ConfigError, match=re.escape("the study other was not created by this program")):
        collect_trials(optuna.create_study(study_name="other"), tmp_path / "home", [machine("a", {})])
