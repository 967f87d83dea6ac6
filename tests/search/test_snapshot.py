"""The config snapshot of a study, and which changes of a command make it another study."""

from contextlib import closing
from copy import deepcopy
from pathlib import Path

import pytest
from hydra_plugins.hydra_optuna_sweeper.config import RandomSamplerConfig
from omegaconf import OmegaConf

from mnist_compact.callbacks.config import MLflowConfig
from mnist_compact.common.errors import ConfigError
from mnist_compact.config.conversion import callbacks_of
from mnist_compact.config.sweeper import CONTINUABLE, BranchConfig, CompactSweeperConfig, NopPrunerConfig
from mnist_compact.search.builders import space_of
from mnist_compact.search.migrations import migrate_snapshot
from mnist_compact.search.snapshot import Composer, differences, digits_of, held_out, take_snapshot
from mnist_compact.search.transfer import read
from mnist_compact.training.config import MachineConfig

EVIDENCE = Path(__file__).parents[2] / "evidence"


@pytest.fixture
def sweeper():
    config = OmegaConf.structured(CompactSweeperConfig)
    config.sampler = RandomSamplerConfig()
    config.pruner = NopPrunerConfig()
    return config


def test_keys_that_may_change_are_not_a_difference(sweeper):
    then = take_snapshot(sweeper, ["sweeps=smoke"])
    for key, value in {"n_trials": 99, "n_jobs": 7, "target": 99.4, "storage": "sqlite:///x.db"}.items():
        assert key in CONTINUABLE
        sweeper[key] = value
    assert differences(then, take_snapshot(sweeper, ["sweeps=smoke"])) == []


def test_change_of_any_other_key_is_named(sweeper):
    then = take_snapshot(sweeper, ["model=m3"])
    assert "model=m1" in " ".join(differences(then, take_snapshot(sweeper, ["model=m1"])))
    sweeper.params = {"optim.lr": "interval(0.1,0.2)"}
    (line,) = differences(then, take_snapshot(sweeper, ["model=m3"]))
    assert "params.optim.lr" in line


def test_glob_is_replaced_by_the_matching_options(sweeper):
    sweeper.params = {"scheduler": "glob([c*,l*])"}
    sweeper.branches = {"sgd": BranchConfig(when={"optim": ["sgd"]}, params={"augment": "glob(*,exclude=[none,j*])"})}
    snapshot = take_snapshot(sweeper, ["optim=glob(*,exclude=muon)", "seed=3"])
    assert snapshot["arguments"] == ["optim=choice(adam,adamw,nadam,rmsprop,sgd)", "seed=3"]
    assert snapshot["settings"]["params"] == {"scheduler": "choice(cosine,linear)"}
    assert snapshot["settings"]["branches"]["sgd"]["params"] == {"augment": "choice(affine,elastic)"}
    with pytest.raises(ConfigError, match=r"^optim must match at least one option, got glob\(z\*\); options of"):
        take_snapshot(sweeper, ["optim=glob(z*)"])
    with pytest.raises(ConfigError, match=r"optim\.lr is not a config group$"):
        take_snapshot(sweeper, ["optim.lr=glob(*)"])


def test_edited_yaml_is_named_but_not_its_comments_or_new_options(sweeper):
    then = take_snapshot(sweeper, ["optim=sgd"])
    now = deepcopy(then)
    now["files"]["optim/sgd.yaml"] = "# another comment\n" + now["files"]["optim/sgd.yaml"]
    now["files"]["optim/brand_new.yaml"] = "lr: 1\n"
    now["files"]["config.yaml"] = now["files"]["config.yaml"].replace("launcher: processes", "launcher: basic")
    assert now["files"]["config.yaml"] != then["files"]["config.yaml"]
    assert differences(then, now) == []
    now["files"]["optim/sgd.yaml"] = now["files"]["optim/sgd.yaml"].replace("momentum: 0.9", "momentum: 0.777")
    (line,) = differences(then, now)
    assert "momentum" in line
    assert "0.777" in line


def test_value_may_move_between_a_file_and_its_defaults(sweeper):
    """The value may move to the config class or to another file, because the trials stay the same."""
    then = take_snapshot(sweeper, ["optim=own"])
    then["files"]["optim/own.yaml"] = "defaults: [sgd, _self_]\nname: own\nlr: 0.2\n"
    now = deepcopy(then)
    now["files"]["optim/own.yaml"] += "nesterov: true\nmomentum: 0.9\n"
    assert differences(then, now) == differences(now, then) == []
    now["files"]["optim/own.yaml"] = now["files"]["optim/own.yaml"].replace("true", "false")
    assert differences(then, now) == ["optim/own.yaml.nesterov: True → False"]
    assert differences(now, then) == ["optim/own.yaml.nesterov: False → True"]


@pytest.mark.parametrize(
    "study", ["fast/fast", "recipe_m3/recipe_m3", "recipe_m3/recipe_m3_2", "recipe_m3/recipe_m3_3"]
)
def test_command_of_a_committed_study_continues_it(sweeper, study):
    """Those whose searches have not changed. `resume=` continues every committed study (test_resuming)."""
    then = migrate_snapshot(read(EVIDENCE / f"{study}.study.json.gz")["user_attrs"]["frozen"])
    now = take_snapshot(sweeper, then["arguments"])
    assert differences(then, {**now, "settings": then["settings"]}) == []


QUESTION = "# @package _global_\ndefaults:\n  - override /model: own\n  - override /optim: muon\n"
OWN = "defaults: [m3, _self_]\nname: own\n"


@pytest.mark.parametrize(
    ("file", "words", "counts"),
    [
        ("config.yaml", (), True),
        ("optim/adam.yaml", (), True),  # what config.yaml takes
        ("optim/adam.yaml", ("optim=sgd",), False),
        ("optim/sgd.yaml", ("optim=sgd",), True),
        ("optim/sgd.yaml", ("optim=choice(sgd,adamw)",), True),
        ("optim/nadam.yaml", ("optim=choice(sgd,adamw)",), True),  # rather one too many
        ("optim/nadam.yaml", ("optim.lr=interval(0.01,0.1)",), False),
        ("train/standard.yaml", ("train=quick",), True),  # which stands on it
        ("train/quick.yaml", (), False),
        ("model/m3.yaml", ("sweeps=own",), True),  # the question's model stands on it
        ("model/m2.yaml", ("sweeps=own",), False),
        ("optim/muon.yaml", ("sweeps=own",), True),
        ("optim/adam.yaml", ("sweeps=own",), False),
        ("optim/adam.yaml", ("sweeps=own", "optim=adam"), True),
        ("scheduler/onecycle.yaml", ("sweeps=own",), True),  # which it leaves to config.yaml
        ("experiment/m3_logged.yaml", ("experiment=m3_logged",), True),
        ("scheduler/step.yaml", ("experiment=m3_logged",), True),
        ("scheduler/onecycle.yaml", ("experiment=m3_logged",), False),
        ("scheduler/onecycle.yaml", ("experiment=choice(m3_logged,under_8k)",), True),
        ("experiment/m3_logged.yaml", (), False),
        ("hydra/launcher/processes.yaml", (), False),
    ],
)
def test_edited_option_counts_only_if_trials_can_use_it(sweeper, file, words, counts):
    then = take_snapshot(sweeper, list(words))
    then["files"] |= {"sweeps/own.yaml": QUESTION, "model/own.yaml": OWN}
    now = deepcopy(then)
    now["files"][file] += "\nedited: true\n"
    assert bool(differences(then, now)) == counts


def test_options_of_a_branch_count(sweeper):
    sweeper.branches = {"long": BranchConfig(when={"train.epochs": [15]}, params={"optim": "choice(sgd, adamw)"})}
    then = take_snapshot(sweeper, [])
    for file in ("optim/sgd.yaml", "optim/adam.yaml"):
        now = deepcopy(then)
        now["files"][file] += "\nedited: true\n"
        assert differences(then, now)


def test_groups_of_a_config_dir_follow_those_of_conf(sweeper, tmp_path):
    for name, text in {
        "optim/own.yaml": "defaults: [sgd, _self_]\nname: own\nlr: 0.123\n",
        "optim/sgd.yaml": "lr: not looked at\n",
        "outputs/one.yaml": "no: group\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    plain, snapshot = take_snapshot(sweeper, []), take_snapshot(sweeper, [], beside=[tmp_path])
    assert snapshot["files"].keys() - plain["files"].keys() == {"optim/own.yaml"}
    assert snapshot["files"]["optim/sgd.yaml"] == plain["files"]["optim/sgd.yaml"]
    (tmp_path / "optim/own.yaml").unlink()
    with closing(Composer(snapshot, ["data=synthetic"])) as composer:
        assert composer.run_config(["optim=own"]).optim.lr == 0.123


def test_search_without_a_name_is_named_after_its_space(sweeper):
    words = ["optim.lr=interval(0.01,0.1)", "model=m1"]
    name = digits_of(take_snapshot(sweeper, words))
    assert len(name) == 8
    sweeper.n_trials += 10
    assert digits_of(take_snapshot(sweeper, words[::-1])) == name
    assert digits_of(take_snapshot(sweeper, [words[0], "model=m2"])) != name
    sweeper.objectives = ["loss"]
    assert digits_of(take_snapshot(sweeper, words)) != name


def test_machine_is_not_part_of_the_snapshot(sweeper):
    question, machine = ["optim.lr=interval(0.1,0.2)", "train.epochs=2"], ["machine=one_core", "machine.threads=3"]
    here = take_snapshot(sweeper, [question[0], *machine, question[1]])
    there = take_snapshot(sweeper, [*question, "machine.data_root=/images"])
    assert (here["arguments"], here["machine"]) == (question, machine)
    assert differences(here, there) == []
    assert digits_of(here) == digits_of(there)


def test_study_from_before_the_group_machine_continues(sweeper):
    """Its keys were in every kind of file and on the command line."""
    now = take_snapshot(sweeper, ["sweeps=smoke", "train=slow", "train.epochs=2"])
    own = {
        "train/slow.yaml": "defaults: [standard, _self_]\nname: slow\n",
        "experiment/own.yaml": "# @package _global_\nexperiment: own\ntrain: {epochs: 3}\n",
    }
    now["files"] |= own
    then = deepcopy(now)
    files = then["files"]
    files = then["files"] = {name: text for name, text in files.items() if not name.startswith("machine/")}
    files["config.yaml"] = files["config.yaml"].replace("  - machine: auto\n", "")
    files["train/standard.yaml"] += "threads: 0\ndevice: auto\n"
    files["train/slow.yaml"] += "threads: 1\n"
    files["data/synthetic.yaml"] += "root: null\n"
    files["experiment/own.yaml"] = files["experiment/own.yaml"].replace("epochs: 3", "epochs: 3, device: cpu")
    then["arguments"] = ["sweeps=smoke", "train=slow", "train.threads=1", "train.epochs=2", "data.root=/images"]
    found = migrate_snapshot(then)
    assert migrate_snapshot(now) is now
    assert differences(found, now) == []
    assert found["machine"] == ["machine.threads=1", "machine.data_root=/images"]
    with closing(Composer(found, ["data=synthetic"])) as composer:
        config, slow = composer.run_config(["experiment=own"]), composer.run_config(["train=slow"])
    assert (config.train.epochs, config.machine) == (3, MachineConfig(name="auto"))
    assert (slow.train.name, slow.train.epochs) == ("slow", 15)


def test_study_with_a_tracker_has_the_callback(sweeper, monkeypatch):
    monkeypatch.setattr("mnist_compact.callbacks.config.check_installed", lambda *_, **__: None)  # MLflow is an extra
    now = take_snapshot(sweeper, ["sweeps=smoke", "callbacks=mlflow", "callbacks.mlflow.experiment=probe"])
    then = deepcopy(now)
    then["arguments"] = ["sweeps=smoke", "tracker=mlflow", "tracker.experiment=probe"]
    then["files"] = {name: text for name, text in now["files"].items() if not name.startswith("callbacks/")}
    for name in ("none", "mlflow"):
        option = f"defaults: [/schema/tracker/{name}@_here_, _self_]\nname: {name}\n"
        then["files"][f"tracker/{name}.yaml"] = option + ("uri: sqlite:///own.db\n" if name == "mlflow" else "")
    then["files"]["config.yaml"] = now["files"]["config.yaml"].replace("- callbacks: none", "- tracker: none")
    found = migrate_snapshot(then)
    assert found["arguments"] == now["arguments"]
    assert differences(found, now) == []
    with closing(Composer(found, ["data=synthetic", *found["arguments"][1:]])) as composer:
        callbacks = callbacks_of(composer.composed([]))
    assert callbacks == {"mlflow": MLflowConfig(uri="sqlite:///own.db", experiment="probe")}


def test_trial_of_exported_study_still_equals_its_experiment(configure):
    """The study comes from a version with another default pruner and without a group for the machine."""
    study = read(EVIDENCE / "under_8k/under_8k.study.json.gz")
    snapshot = migrate_snapshot(study["user_attrs"]["frozen"])
    (trial,) = (trial for trial in study["trials"] if trial["number"] == 55)
    with closing(Composer(snapshot, space_of(snapshot).fixed)) as composer:
        found = composer.run_config(trial["user_attrs"]["overrides"])
    experiment = configure("experiment=under_8k_plain", "train.epochs=15", "train.batch_size=64")
    for group in ("model", "augment", "optim", "scheduler", "train"):
        assert getattr(found, group) == getattr(experiment, group)


def test_only_the_selected_search_is_in_the_snapshot(sweeper):
    then = take_snapshot(sweeper, ["sweeps=smoke"])
    now = deepcopy(then)
    now["files"]["sweeps/fast.yaml"] += "\nseed: 7\n"
    now["files"]["sweeps/smoke.yaml"] = now["files"]["sweeps/smoke.yaml"].replace("n_trials: 8", "n_trials: 9")
    assert differences(then, now) == []
    now["files"]["sweeps/smoke.yaml"] = now["files"]["sweeps/smoke.yaml"].replace(
        "train_images: 512", "train_images: 99"
    )
    (line,) = differences(then, now)
    assert "smoke" in line
    assert "99" in line


@pytest.mark.parametrize(
    ("arguments", "choices", "expected"),
    [
        (["optim.lr=interval(0.1,0.2)"], {"data": "mnist"}, ["optim.lr=interval(0.1,0.2)", "data=holdout"]),
        (["data=mnist"], {"data": "mnist"}, ["data=mnist"]),  # refused later, with a message
        (["data=synthetic"], {"data": "synthetic"}, ["data=synthetic"]),
        (["sweeps=own"], {"data": "mnist", "sweeps": "own"}, ["sweeps=own"]),  # a file in sweeps/ states its own split
    ],
)
def test_ad_hoc_search_scores_on_held_out_images(arguments, choices, expected):
    config = OmegaConf.create({"hydra": {"runtime": {"choices": choices}}})
    assert held_out(config, arguments) == expected
