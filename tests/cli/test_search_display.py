"""The live table of a search and its summary at several terminal widths."""

import dataclasses
import io

import optuna
import pytest
from optuna.trial import TrialState, create_trial
from rich.console import Console

from mnist_compact.cli.search_display import View, findings
from mnist_compact.search.stopping import StoppingCriteria

OVERRIDES = ["optim=sgd", "model.layers.conv1.width=5", "optim.lr=0.020116558402099742"]
SETTINGS = StoppingCriteria(n_trials=8, target=None, target_trials=1, max_failures=3, max_refusals=4, maximize=True)


def trials(running):
    attributes = {"overrides": OVERRIDES, "parameters": 7869}
    ended, lease = attributes | {"seconds": 3600.0}, {"worker": "long-name-4711-a1b2c3-1", "host": "long-name"}
    found = [create_trial(state=TrialState.COMPLETE, value=value, user_attrs=ended) for value in (98.25, 97.0)]
    found += [
        create_trial(state=TrialState.RUNNING, user_attrs=attributes | {"lease": lease}, intermediate_values=reported)
        for reported in running
    ]
    for number, trial in enumerate(found):
        trial.number = number
    return found


def drawn(tmp_path, found, width):
    view = View("smoke", tmp_path, "sqlite:///study.db", SETTINGS, jobs=2)
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(view.picture(found))
    return console.file.getvalue().removesuffix("\n").split("\n")


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_running_trials_show_epoch_and_score_at_every_width(tmp_path, width):
    lines = drawn(tmp_path, trials([{1: 91.0, 2: 95.125}, {}]), width)
    assert max(map(len, lines)) <= width
    assert lines[0].strip() == "smoke: 2 of 8 trials have ended"
    assert lines[1].strip() == "2 complete, 0 pruned, 0 failed, 2 running, 0 refused"
    assert lines[2].strip() == "2.0 trials/hour, about 3 h 0 min left"
    assert lines[3].startswith("best: trial 0  complete  98.25  7,869 parameters  ")
    (heading,) = [line.split() for line in lines if "epoch" in line]
    assert heading == ["worker", "trial", "epoch", "score", "point"]
    rows = [line.split() for line in lines if line.strip().startswith("long-name")]
    assert rows[0][:5] == ["long-name/1", "2", "2", "95.12", "optim=sgd"]
    assert rows[1][:3] == ["long-name/1", "3", "optim=sgd"], "no epoch is complete yet"


def test_queued_workers_are_shown(tmp_path, capsys):
    view = View("smoke", tmp_path, "sqlite:///study.db", SETTINGS, jobs=2)
    for queued in (2, 2, 1, 0):
        view.update([], queued)
    assert capsys.readouterr().out.splitlines() == [f"{queued} of 2 workers queued" for queued in (2, 1, 0)]
    view.queued = 1
    console = Console(width=100, file=io.StringIO(), color_system=None)
    console.print(view.picture([]))
    assert "0 running, 0 refused, 1 worker queued" in console.file.getvalue()


def test_sampled_number_is_printed_with_four_digits(tmp_path):
    text = "\n".join(drawn(tmp_path, trials([{}]), 200))
    assert "optim.lr=0.02012" in text
    assert "0.020116" not in text


def test_last_line_is_empty_for_the_echo_of_ctrl_c(tmp_path):
    assert drawn(tmp_path, trials([{}]), 60)[-1].strip() == ""


def test_no_trial_is_called_best_with_several_objectives(tmp_path):
    found = [create_trial(values=[98.25, 7000.0], user_attrs={"overrides": OVERRIDES}), *trials([{}])[2:]]
    assert "best" not in "\n".join(drawn(tmp_path, found, 100))


def test_no_speed_is_shown_before_a_trial_has_ended(tmp_path):
    assert "trials/hour" not in "\n".join(drawn(tmp_path, trials([{}])[2:], 100))


def test_dashboard_command_is_quoted_for_the_shell(tmp_path, capsys):
    for url, place in {
        "sqlite:///a/study.db": "sqlite:///a/study.db",
        "sqlite:///a/study.db?timeout=5": "'sqlite:///a/study.db?timeout=5'",
        "journal:///tmp/x.log": "/tmp/x.log",
    }.items():
        View("smoke", tmp_path, url, SETTINGS, jobs=2).begin([])
        assert f"optuna-dashboard {place} " in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize(
    ("objective", "values", "target", "message", "listed"),
    [
        ("accuracy", (99.25, 99.5, 99.41), None, ["2 trials better than 99.4:"], [1, 2]),
        (
            "accuracy",
            (99.25, 99.0),
            None,
            ["no trial is better than 99.4; the best falls short by 0.15 percentage points: trial 0  complete  99.25 "],
            [],
        ),
        ("accuracy", (99.25, 99.0), 99.2, ["1 trial better than 99.2:"], [0]),
        ("score", (99.5,), None, ["best: trial 0  complete  99.5 "], []),
        ("accuracy", (), None, ["no trial is complete", "  1 x over budget"], []),
    ],
)
def test_summary_compares_accuracies_with_target_or_threshold(objective, values, target, message, listed):
    study = optuna.create_study(direction="maximize")
    study.set_metric_names([objective])
    study.add_trials([create_trial(value=value, user_attrs={"overrides": OVERRIDES}) for value in values])
    study.add_trial(create_trial(value=99.9, user_attrs={"refused": "over budget"}))
    lines, found = findings(study, dataclasses.replace(SETTINGS, target=target))
    assert [line[: len(begins)] for line, begins in zip(lines, message, strict=True)] == message
    assert [trial.number for trial in found] == listed


@pytest.mark.parametrize("width", [None, 60])
def test_summary_lists_differences_of_trials_past_the_target(tmp_path, capsys, width):
    study = optuna.create_study(direction="maximize")
    for value, momentum in ((99.25, "0.5"), (99.5, "0.8999999761581421"), (99.41, "0.25")):
        overrides = ["optim=sgd", f"optim.momentum={momentum}", f"augment={'a' * 60}{momentum}"]
        study.add_trial(create_trial(value=value, user_attrs={"overrides": overrides}))
    view = View("smoke", tmp_path, "sqlite:///study.db", dataclasses.replace(SETTINGS, target=99.3), jobs=2)
    if width:
        view.console = Console(width=width, force_terminal=True, color_system=None)
    view.reported = {0, 1, 2}
    view.end(study, "done", ranks=False)
    lines = capsys.readouterr().out.splitlines()
    first = lines.index("2 trials better than 99.3:") + 1
    best, other, alike = lines[first : first + 3]
    assert best.startswith("  trial 1  complete  99.5  optim.momentum=0.9 ")
    assert other.startswith("  trial 2  complete  99.41  optim.momentum=0.25 ")
    assert alike == "  shared by all of these: optim=sgd"
    assert best.endswith("…") == bool(width)
    assert (len(best) == 60) == bool(width)


def test_display_states_whether_a_search_starts_or_continues(tmp_path, capsys):
    waiting = create_trial(state=TrialState.WAITING)
    for found, action in (([], "starts"), ([waiting], "starts"), ([waiting, *trials([{}])[2:]], "continues")):
        View("smoke", tmp_path, "sqlite:///study.db", SETTINGS, jobs=2).begin(found)
        assert f"study smoke {action} in " in capsys.readouterr().out


def test_without_a_complete_trial_causes_are_listed_by_frequency():
    study = optuna.create_study(direction="maximize")
    for reason in ("the loss was not finite", "killed", "the loss was not finite"):
        study.add_trial(create_trial(state=TrialState.FAIL, user_attrs={"reason": reason}))
    assert findings(study, SETTINGS)[0][1:] == ["  2 x the loss was not finite", "  1 x killed"]


def next_steps(
    tmp_path, capsys, scored="holdout, averaged weights, epoch 15", values=(99.5,), url=None, there=True, ranks=False
):
    """The last lines of a search with one complete trial."""
    study = optuna.create_study(directions=["maximize"] * len(values))
    attributes = {"folder": "trials/0000", "scored": scored, "overrides": OVERRIDES}
    study.add_trial(create_trial(values=values, user_attrs=attributes))
    if there:
        (tmp_path / "trials/0000").mkdir(parents=True)
        (tmp_path / "trials/0000/result.json").touch()
    view = View("smoke", tmp_path, url or f"sqlite:///{tmp_path}/study.db", SETTINGS, jobs=2)
    view.reported = {0}
    view.end(study, "done", ranks=ranks)
    lines = capsys.readouterr().out.splitlines()
    return lines[next(place for place, line in enumerate(lines) if line.startswith("trial 0 ")) :]


def test_next_steps_name_the_trials_folder_and_commands(tmp_path, capsys):
    where = f" --sweeps {tmp_path.parent}"
    assert next_steps(tmp_path, capsys) == [
        f"trial 0 is in {tmp_path}/trials/0000; it was scored on holdout, averaged weights, epoch 15",
        f"to rerun it: python -m mnist_compact rerun={tmp_path}/trials/0000",
        f"to repeat it over fresh seeds: python -m mnist_compact.confirm --trial smoke:0{where}",
        f"to rank the best trials over fresh seeds: python -m mnist_compact.confirm --study smoke --top 8{where}",
    ]


def test_next_steps_of_a_search_on_synthetic_data_name_the_split(tmp_path, capsys):
    lines = next_steps(tmp_path, capsys, scored="synthetic, raw weights, epoch 1")
    assert [line.endswith(" --split synthetic") for line in lines[-2:]] == [True, True]


def test_next_steps_of_several_objectives_have_no_ranking(tmp_path, capsys):
    assert not any("--top" in line for line in next_steps(tmp_path, capsys, values=(99.5, 7000.0)))


def test_next_steps_have_no_ranking_if_it_follows_the_search(tmp_path, capsys):
    assert not any("--top" in line for line in next_steps(tmp_path, capsys, ranks=True))


def test_next_steps_without_the_trials_folder_have_no_rerun(tmp_path, capsys):
    lines = next_steps(tmp_path, capsys, there=False)
    assert lines[0].startswith("trial 0 was trained on another machine; ")
    assert not any("rerun=" in line for line in lines)


def test_next_steps_mention_the_hidden_password(tmp_path, capsys):
    lines = next_steps(tmp_path, capsys, url="postgresql://user:secret@host/studies")
    assert not any("secret" in line for line in lines)
    assert lines[-1] == "replace *** by the password of the storage"
