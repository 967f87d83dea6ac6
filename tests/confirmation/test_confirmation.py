"""Confirmations: configuration, seeds, files and sources."""

import dataclasses
import json
import shutil
from pathlib import Path

import optuna
import pytest

from mnist_compact.common.errors import ConfigError
from mnist_compact.config.composition import compose
from mnist_compact.config.conversion import from_record
from mnist_compact.config.schema import to_record
from mnist_compact.confirmation import sources
from mnist_compact.confirmation.confirmation import Confirmation, comparable, create_or_load
from mnist_compact.confirmation.preregistration import Preregistration
from mnist_compact.search.bulk import METRIC_NAMES
from mnist_compact.search.snapshot import take_snapshot


def confirmation(run, split="test", used=(0,), name="probe", ranking=False):
    return Confirmation.of(name, "a test", run, split, set(used), ranking=ranking)


def test_more_seeds_extend_the_same_fresh_seeds():
    probe = confirmation(compose(), used=(0, 1001))
    assert probe.seeds(3) == [1000, 1002, 1003]
    assert probe.seeds(5)[:3] == probe.seeds(3)


@pytest.mark.parametrize(("data", "split"), [("holdout", "test"), ("holdout", "holdout"), ("synthetic", "synthetic")])
def test_ranking_and_confirmation_share_no_seed(data, split):
    run = compose(f"data={data}")
    ranked, confirmed = confirmation(run, data, ranking=True).seeds(500), confirmation(run, split).seeds(500)
    assert not set(ranked) & set(confirmed)


def test_comparable_leaves_out_seed_experiment_and_machine():
    """A confirmation is continued only if nothing differs that its scores depend on."""
    probe = confirmation(compose())
    alike = set()
    for group in probe.config:
        other = dataclasses.replace(probe, config={**probe.config, group: {"name": "another"}})
        if comparable(other) == comparable(probe):
            alike.add(group)
    assert alike == {"seed", "experiment", "machine"}


def test_ranking_uses_another_held_out_part():
    run = compose("data=holdout", "data.split_seed=3")
    ranked = confirmation(run, "holdout", ranking=True).run_config(100)
    assert ranked.data == dataclasses.replace(run.data, split_seed=4)
    assert dataclasses.replace(ranked, data=run.data, seed=run.seed) == run


def test_split_changes_only_the_images():
    run = compose("experiment=m3_logged", "data=holdout", "machine.data_root=/somewhere")
    on_test = confirmation(run).run_config(1000)
    assert (on_test.data.evaluated_split, on_test.data.train_size, on_test.machine.data_root) == (
        "test",
        60_000,
        "/somewhere",
    )
    assert dataclasses.replace(on_test, data=run.data, seed=run.seed) == run
    assert confirmation(run, "holdout").run_config(100).data == run.data


@pytest.mark.parametrize(("data", "split"), [("synthetic", "test"), ("mnist", "synthetic"), ("synthetic", "holdout")])
def test_split_that_the_data_lack_is_refused(data, split):
    with pytest.raises(ConfigError, match="--split must be"):
        confirmation(compose(f"data={data}"), split)


def test_create_or_load_refuses_another_configuration(tmp_path):
    first = create_or_load(confirmation(compose("model=m3"), used=(0, 5)), tmp_path / "probe")
    elsewhere = compose("model=m3", "machine=one_core", "machine.data_root=/elsewhere")
    again = create_or_load(confirmation(elsewhere), tmp_path / "probe")
    assert again == first == Confirmation.read(tmp_path / "probe")
    path = tmp_path / "probe" / "confirmation.json"
    raw = json.loads(path.read_text())
    del raw["config"]["machine"]
    raw["config"]["train"] |= {"threads": 1, "device": "auto"}
    path.write_text(json.dumps({**raw, "schema_version": 1}))
    assert create_or_load(confirmation(elsewhere), tmp_path / "probe").run_config(1000).machine.threads == 1
    with pytest.raises(ConfigError, match=r"optim\.lr: 0\.01 → 0\.02"):
        create_or_load(confirmation(compose("model=m3", "optim.lr=0.02")), tmp_path / "probe")
    with pytest.raises(ConfigError, match="split: 'test' → 'holdout'"):
        create_or_load(confirmation(compose("model=m3"), "holdout"), tmp_path / "probe")


def test_committed_confirmation_continues_with_its_experiment(tmp_path):
    """Its record describes the network by layers, the experiment by stages."""
    committed = Path(__file__).parents[2] / "evidence/under_8k/confirmations/under_8k"
    found = Confirmation.read(committed)
    for name in ("confirmation.json", "plan.json"):
        shutil.copy(committed / name, tmp_path / name)
    assert found.config["model"]["kind"] == "compact"
    assert create_or_load(confirmation(compose("experiment=under_8k")), tmp_path) == found
    plan = Preregistration.read(tmp_path / "plan.json")
    present = confirmation(compose("experiment=under_8k"))
    assert plan.deviations(present, plan.seeds, plan.threshold, stop_early=plan.stop_early, started={}) == []
    for other in ("model.stages.third.width=11", "model.stages.first.unpadded=1", "model.activation=relu"):
        with pytest.raises(ConfigError, match="confirms another configuration"):
            create_or_load(confirmation(compose("experiment=under_8k", other)), tmp_path)


def test_create_or_load_leaves_out_seeds_used_since(tmp_path):
    create_or_load(confirmation(compose(), used=(0,)), tmp_path)
    assert create_or_load(confirmation(compose(), used=(1000,)), tmp_path).seeds(2) == [1001, 1002]
    assert Confirmation.read(tmp_path).used_seeds == [0, 1000]
    (tmp_path / "seeds" / "1001").mkdir(parents=True)
    with pytest.raises(ConfigError, match="seeds 1001 in "):
        create_or_load(confirmation(compose(), used=(1001, 1002)), tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "holds no confirmation"),
        ("{", "damaged"),
        ('{"schema_version": 9}', "schema version 9"),
        ("[]", "None"),
        ('{"schema_version": 2, "name": "x"}', "the confirmation lacks config, source, split"),
        (
            '{"schema_version": 2, "name": 1, "source": "", "split": "", "config": {}}',
            "name of .* must be a string, got 1",
        ),
    ],
)
def test_read_refuses_other_files(tmp_path, content, message):
    if content is not None:
        (tmp_path / "confirmation.json").write_text(content)
    with pytest.raises(ConfigError, match=message):
        Confirmation.read(tmp_path)


def test_confirmation_survives_writing_and_reading(tmp_path):
    run = compose("experiment=m3_reference")
    probe = confirmation(run)
    probe.write(tmp_path)
    raw = json.loads((tmp_path / "confirmation.json").read_text())
    assert from_record(raw["config"]) == run
    assert Confirmation.read(tmp_path).run_config(7) == dataclasses.replace(run, seed=7)


# Sources


def test_experiment_source_is_the_composed_experiment():
    source = sources.of_experiment("m3_logged")
    assert (source.name, source.run, source.used_seeds) == ("m3_logged", compose("experiment=m3_logged"), {0})
    with pytest.raises(ConfigError, match=r"experiment=m3_loged does not exist.*Did you mean 'm3_logged'"):
        sources.of_experiment("m3_loged")


@pytest.fixture
def make_study(tmp_path, configure):
    """Return a function that makes a study of four trials: 0 and 2 complete, 1 refused, 3 failed."""
    from hydra_plugins.hydra_optuna_sweeper.config import TPESamplerConfig
    from omegaconf import OmegaConf

    from mnist_compact.config.sweeper import CompactSweeperConfig, NopPrunerConfig

    def make(name, *, scores=(98.0, 99.0), data="holdout", objective="accuracy"):
        sweeper = OmegaConf.structured(CompactSweeperConfig)
        sweeper.sampler, sweeper.pruner = TPESamplerConfig(), NopPrunerConfig()
        sweeper.params = {"optim.lr": "interval(0.001,0.1)", "seed": "range(3,9)"}
        folder = tmp_path / "sweeps" / name
        folder.mkdir(parents=True)
        direction = "maximize" if objective == "accuracy" else "minimize"
        made = optuna.create_study(storage=f"sqlite:///{folder}/study.db", study_name=name, direction=direction)
        made._storage.set_study_system_attr(made._study_id, METRIC_NAMES, [objective])
        made.set_user_attr("frozen", take_snapshot(sweeper, ["model=m1", f"data={data}"]))
        first, second = scores
        for lr, seed, score in ((0.01, 3, first), (0.02, 4, None), (0.03, 3, second), (0.04, 7, None)):
            made.enqueue_trial({"optim.lr": lr, "seed": seed})
            trial = made.ask(
                {
                    "optim.lr": optuna.distributions.FloatDistribution(0.001, 0.1),
                    "seed": optuna.distributions.IntDistribution(3, 8),
                }
            )
            if seed == 4:
                trial.set_user_attr("refused", "too many parameters")
                made.tell(trial, state=optuna.trial.TrialState.PRUNED)
                continue
            trial.set_user_attr("overrides", [f"optim.lr={lr}", f"seed={seed}"])
            made.tell(trial, score, state=None if score else optuna.trial.TrialState.FAIL)

    return make


@pytest.fixture
def study(make_study, tmp_path):
    make_study("probe")
    return tmp_path / "sweeps"


def test_trial_source_is_composed_from_the_snapshot(study):
    source = sources.of_trial("probe:2", study)
    assert source.name == "probe-2"
    assert (source.run.model.name, source.run.optim.lr, source.run.seed) == ("m1", 0.03, 3)
    assert {3, 4, 7} <= source.used_seeds  # also those of trials that failed
    assert not set(source.used_seeds) & set(confirmation(source.run, used=source.used_seeds).seeds(20))


def test_best_trials_are_complete_and_sorted(study):
    assert [source.name for source in sources.best_trials(["probe"], 5, study)] == ["probe-2", "probe-0"]
    assert [source.name for source in sources.best_trials(["probe"], 1, study)] == ["probe-2"]


def test_best_trials_of_several_studies_are_sorted_together(study, make_study):
    make_study("other", scores=(98.5, 98.0))
    best = sources.best_trials(["probe", "other"], 3, study)
    assert [source.trial for source in best] == ["probe:2", "other:0", "probe:0"]
    assert [source.run.optim.lr for source in best] == [0.03, 0.01, 0.01]


def test_lower_values_are_better_for_an_objective_that_is_minimised(study, make_study):
    for name, scores in (("a", (0.03, 0.01)), ("b", (0.02, 0.04))):
        make_study(name, scores=scores, objective="loss")
    assert [source.trial for source in sources.best_trials(["a", "b"], 2, study)] == ["a:2", "b:0"]


@pytest.mark.parametrize(
    ("settings", "what"), [({"objective": "loss"}, "objective"), ({"data": "fashion_holdout"}, "data")]
)
def test_studies_that_cannot_be_compared_are_not_ranked_together(study, make_study, settings, what):
    make_study("other", **settings)
    with pytest.raises(ConfigError, match=f"studies with the same {what}: that of other differs from probe"):
        sources.best_trials(["probe", "other"], 4, study)


def test_data_are_compared_although_no_trial_of_a_study_is_among_the_best(study, make_study):
    make_study("other", scores=(90.0, 91.0), data="fashion_holdout")
    with pytest.raises(ConfigError, match="studies with the same data"):
        sources.best_trials(["probe", "other"], 1, study)


def test_study_that_is_named_twice_is_not_ranked(study):
    """Their trials would share the folders of the ranking."""
    with pytest.raises(ConfigError, match="must name each study once, got probe twice"):
        sources.best_trials(["probe", "probe"], 2, study)


def test_trial_added_by_optuna_is_not_among_the_best(study):
    """It has no run of this program."""
    other = optuna.load_study(study_name="probe", storage=f"sqlite:///{study}/probe/study.db")
    other.add_trial(optuna.trial.create_trial(value=99.9))
    assert [source.name for source in sources.best_trials(["probe"], 1, study)] == ["probe-2"]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("probe", "must be STUDY:N"),
        ("probe:x", "must be STUDY:N"),
        ("prob:1", "Did you mean 'probe'"),
        ("probe:9", "has no trial 9; it has 4 trials, numbered from 0"),
        ("probe:1", "was never trained"),
    ],
)
def test_missing_trial_is_refused(study, word, message):
    with pytest.raises(ConfigError, match=message):
        sources.of_trial(word, study)


def test_run_source_is_the_configuration_of_its_record(tmp_path, configure, recording_callback):
    from mnist_compact.runs.trainer import run

    config = configure("seed=5", "model=m1")
    run(config, tmp_path / "run", recording_callback())
    source = sources.of_run(tmp_path / "run")
    assert (source.name, source.used_seeds) == ("run", {5})
    assert to_record(source.run) == to_record(config)


def test_trial_folder_excludes_the_seeds_of_its_study(study, configure, recording_callback):
    from mnist_compact.runs.trainer import run

    folder = study / "probe" / "trials" / "0002"
    run(configure("seed=3"), folder, recording_callback())
    source = sources.of_run(folder)
    assert (source.name, source.used_seeds) == ("probe-0002", {3, 4, 7})
    (study / "probe" / "study.db").unlink()  # as if it were in another storage
    run(configure("seed=1001"), folder.with_name("0005"), recording_callback())
    assert sources.of_run(folder).used_seeds == {3, 1001}


def test_study_is_found_in_another_storage(study, tmp_path):
    elsewhere = (study / "probe" / "study.db").rename(tmp_path / "shared.db")
    with pytest.raises(ConfigError, match=r"There is no study 'probe' in .* give --storage <URL>"):
        sources.of_trial("probe:2", study)
    assert sources.of_trial("probe:2", study, f"sqlite:///{elsewhere}").run.optim.lr == 0.03
    assert [source.name for source in sources.best_trials(["probe"], 1, study, f"sqlite:///{elsewhere}")] == ["probe-2"]
