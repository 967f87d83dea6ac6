"""Summaries, conclusions, rankings and saved experiments, from records made by hand."""

import shutil
from pathlib import Path

import pytest
from seeds_by_hand import SPLIT, scored, write_seed

from mnist_compact.common.errors import ConfigError, ExecutionError
from mnist_compact.config import composition, schema
from mnist_compact.config.composition import compose
from mnist_compact.config.schema import to_record
from mnist_compact.confirmation import reranking, save_experiment
from mnist_compact.confirmation.confirmation import Confirmation
from mnist_compact.confirmation.results import SeedResults, ranking_table
from mnist_compact.confirmation.save_experiment import header, save
from mnist_compact.confirmation.seed_pool import seed_folder
from mnist_compact.confirmation.sources import of_trials
from mnist_compact.models.config import CompactConfig
from mnist_compact.records.record import Status

ROOT = Path(__file__).parents[2]
FEW = " (only an indication: fewer than 5 seeds)"


@pytest.mark.parametrize(
    ("accuracies", "conclusion"),
    [
        ((99.45, 99.46, 99.47), "mean > 99.40: yes, lower bound 99.435" + FEW),
        ((99.35, 99.41, 99.47), "mean > 99.40: not shown, interval 99.261 to 99.559" + FEW),
        ((99.33, 99.39, 99.45), "mean > 99.40: not shown, interval 99.241 to 99.539" + FEW),
        ((99.35, 99.36, 99.37), "mean > 99.40: no, upper bound 99.385" + FEW),
        ((99.40, 99.40), "mean > 99.40: no, upper bound 99.400" + FEW),
        ((99.45, 99.46, 99.47, 99.45, 99.47), "mean > 99.40: yes, lower bound 99.448"),
        ((99.50,), "mean > 99.40: not shown, a single seed has no interval"),
        ((99.50, 99.51, None), "mean > 99.40: no, 1 of 3 seeds diverged"),
    ],
)
def test_conclusion_follows_from_the_interval(seed_results, accuracies, conclusion):
    assert seed_results(*accuracies).conclusion() == conclusion


def test_threshold_is_shown_with_all_its_decimals(seed_results):
    assert (
        seed_results(99.45, 99.46, 99.47, threshold=99.405).conclusion()
        == "mean > 99.405: yes, lower bound 99.435" + FEW
    )


def test_above_needs_one_image_more_than_the_threshold(seed_results):
    assert seed_results(99.39, 99.40, 99.41, 99.50, None).above() == 2


def test_averaged_weights_are_used_if_there_are_any(tmp_path):
    Confirmation.of("probe", "a test", compose(), SPLIT, set()).write(tmp_path)
    write_seed(tmp_path, 1000, scored(99.1), scored(99.5, "averaged"))
    found = SeedResults.gather(tmp_path, [1000])
    assert found.accuracies == [99.5]
    assert found.seeds[0].raw.accuracy == 99.1


def test_minutes_are_separate_for_each_machine(tmp_path):
    Confirmation.of("probe", "a test", compose(), SPLIT, set()).write(tmp_path)
    for seed, machine in ((1000, {}), (1001, {"threads": 4}), (1002, {"device": "a GPU", "threads": 4}), (1003, {})):
        write_seed(tmp_path, seed, scored(99.5), on=machine)
    found = SeedResults.gather(tmp_path, [1000, 1001, 1002, 1003])
    assert found.minutes() == {"one core of a processor": 2.0, "4 cores of a processor": 2.0, "a GPU": 2.0}
    (line,) = [line for line in header(found) if "parameters" in line]
    assert "2.0 minutes on one core of a processor, 2.0 on 4 cores of a processor, 2.0 on a GPU;" in line


def test_gather_leaves_out_seeds_that_have_not_ended(seed_results, tmp_path):
    seed_results(99.5)
    write_seed(tmp_path / "probe", 1001, scored(98.0), status=Status.RUNNING)
    (tmp_path / "probe/seeds/1002").mkdir()
    found = SeedResults.gather(tmp_path / "probe", [1000, 1001, 1002, 1003])
    assert [result.seed for result in found.seeds] == [1000]
    with pytest.raises(ConfigError, match="no seed of probe has been completed"):
        SeedResults.gather(tmp_path / "probe", [1003]).summary()


def test_conclusion_is_open_if_seeds_could_not_be_trained(seed_results, tmp_path):
    seed_results(99.45, 99.46, 99.47)
    found = SeedResults.gather(tmp_path / "probe", [1000, 1001, 1002, 1003])
    assert found.conclusion() == "mean > 99.40: not shown, 1 of 4 seeds could not be trained"


# Rankings


@pytest.mark.parametrize(
    ("candidates", "schedule"),
    [(8, [(8, 3), (4, 6), (2, 12)]), (5, [(5, 3), (3, 6), (2, 12)]), (2, [(2, 3)]), (1, [(1, 3)])],
)
def test_rounds_halve_candidates_and_double_seeds(candidates, schedule):
    assert reranking.rounds(candidates, 3) == schedule


def test_rank_sorts_by_mean_and_loss_and_halves_candidates(tmp_path, monkeypatch):
    scores = {"a": (99.2, 0.03), "b": (99.4, 0.02), "c": (99.2, 0.01), "d": (None, None), "e": (98.0, 0.01)}
    folders = []
    for name in scores:
        folders.append(tmp_path / name)
        Confirmation.of(name, "a test", compose(), SPLIT, set()).write(folders[-1])
    trained = []

    def train(wanted, jobs, callbacks):
        trained.append({folder.name: len(seeds) for folder, seeds in wanted})
        for folder, seeds in wanted:
            accuracy, loss = scores[folder.name]
            for seed in seeds:
                if seed_folder(folder, seed).exists():
                    continue
                if accuracy is None:
                    write_seed(folder, seed, status=Status.DIVERGED)
                else:
                    write_seed(folder, seed, scored(accuracy, loss=loss))
        return []

    monkeypatch.setattr(reranking.seed_pool, "train", train)
    done = list(reranking.rank(dict.fromkeys(folders, "s:0"), 2, jobs=1))
    assert trained == [{"a": 2, "b": 2, "c": 2, "d": 2, "e": 2}, {"b": 4, "c": 4, "a": 4}, {"b": 8, "c": 8}]
    assert [[candidate.folder.name for candidate in each.candidates] for each in done] == [
        ["b", "c", "a", "e", "d"],
        ["b", "c", "a"],
        ["b", "c"],
    ]


@pytest.fixture
def ranked(tmp_path, monkeypatch):
    """The names of candidates, best first, after one round of two seeds; each has two scores, None if diverged."""

    def rank(**candidates):
        for name, scores in candidates.items():
            Confirmation.of(name, "a test", compose(), SPLIT, set()).write(tmp_path / name)
            for seed, accuracy in enumerate(scores, 1000):
                if accuracy is None:
                    write_seed(tmp_path / name, seed, status=Status.DIVERGED)
                else:
                    write_seed(tmp_path / name, seed, scored(accuracy))
        monkeypatch.setattr(reranking.seed_pool, "train", lambda wanted, jobs, callbacks: [])
        first = next(reranking.rank({tmp_path / name: f"s:{name}" for name in candidates}, 2, jobs=1))
        return [candidate.trial.removeprefix("s:") for candidate in first.candidates]

    return rank


def test_ranking_by_calibrated_loss(tmp_path, monkeypatch):
    monkeypatch.setattr(reranking.seed_pool, "train", lambda requested, jobs, callbacks: [])
    for name, accuracy, loss in (("a", 99.4, 0.021), ("b", 99.3, 0.019), ("c", 99.5, 0.020)):
        Confirmation.of(name, "a test", compose(), SPLIT, set()).write(tmp_path / name)
        for seed in (1000, 1001):
            write_seed(tmp_path / name, seed, scored(accuracy, calibrated_loss=loss))
    folders = {tmp_path / name: f"s:{name}" for name in "abc"}
    first = next(reranking.rank(folders, 2, jobs=1, by="calibrated_loss"))
    assert [candidate.trial for candidate in first.candidates] == ["s:b", "s:c", "s:a"]
    assert [*ranking_table(first.results)["calibrated loss"]] == [0.019, 0.02, 0.021]


def test_ranking_by_a_loss_that_earlier_records_lack_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(reranking.seed_pool, "train", lambda requested, jobs, callbacks: [])
    Confirmation.of("old", "a test", compose(), SPLIT, set()).write(tmp_path / "old")
    for seed in (1000, 1001):
        write_seed(tmp_path / "old", seed, scored(99.4))
    with pytest.raises(ConfigError, match="the runs of old were made by an earlier version"):
        next(reranking.rank({tmp_path / "old": "s:0"}, 2, jobs=1, by="calibrated_loss"))


def test_ranking_puts_diverged_seeds_behind_lower_means(ranked):
    assert ranked(none=(None, None), half=(99.9, None), low=(98.0, 98.1), high=(99.0, 99.1)) == [
        *("high", "low", "half", "none")
    ]


def test_ranking_without_a_complete_candidate_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(reranking.seed_pool, "train", lambda wanted, jobs, callbacks: [])
    for name in ("a", "b"):
        Confirmation.of(name, "a test", compose(), SPLIT, set()).write(tmp_path / name)
        write_seed(tmp_path / name, 1000, scored(99.5))
        write_seed(tmp_path / name, 1001, status=Status.DIVERGED)
    with pytest.raises(ExecutionError, match="no candidate completed"):
        list(reranking.rank({tmp_path / "a": "s:0", tmp_path / "b": "s:1"}, 2, jobs=1))


# Saved experiments


@pytest.fixture
def own_conf(tmp_path, monkeypatch):
    """A copy of conf/, from which experiments are composed and to which they are saved."""
    conf = tmp_path / "conf"
    shutil.copytree(schema.configuration_folder(), conf)
    for module in (composition, save_experiment):
        monkeypatch.setattr(module, "configuration_folder", lambda: conf)
    return conf


@pytest.mark.parametrize(
    "overrides",
    [
        (
            "model=compact",
            "data=holdout",
            "optim=sgd",
            "optim.lr=0.12",
            "model.layers.conv1.width=6",
            "machine.threads=1",
        ),
        ("experiment=m3_logged", "train.average_epochs=4", "augment.rotation_deg=3.5"),
        ("model=m2",),
        ("experiment=under_8k", "model.stages.second.first_width=null", "model.stages.third.depth=0"),
    ],
)
def test_saved_experiment_gives_the_same_configuration(seed_results, own_conf, overrides):
    run = compose(*overrides)
    found = seed_results(99.45, 99.47, run=run)
    path = save(found, "winner")
    assert path == own_conf / "experiment/winner.yaml"
    saved, expected = to_record(compose("experiment=winner")), to_record(run)
    for group in ("model", "augment", "optim", "scheduler", "train", "budget"):
        assert saved[group] == expected[group]
    text = path.read_text()
    assert "99.460 ± 0.014 % (mean ± sd of 2 fresh seeds" in text
    assert "2 of 2 seeds above 99.40" in text
    assert "7,206 parameters; a run takes 2.0 minutes on one core of a processor" in text
    with pytest.raises(ConfigError, match="exists already"):
        save(found, "winner")


def test_saved_experiment_of_an_earlier_form_builds_the_same_network(seed_results, own_conf):
    """A committed trial of `stages`, which described its network by layers, most of them named `inner`."""
    (run,) = [source.run for source in of_trials(str(ROOT / "evidence/under_8k/under_8k_2.study.json.gz"), [87], ROOT)]
    assert (run.model.name, type(run.model)) == ("stages", CompactConfig)
    save(seed_results(99.45, 99.47, run=run), "winner")
    saved = compose("experiment=winner")
    assert saved.model.name == "compact"
    assert saved.model.specification() == run.model.specification()
    assert [*saved.model.build().state_dict()] == [*run.model.build().state_dict()]


def test_saved_header_counts_diverged_seeds(seed_results, tmp_path):
    text = save(seed_results(99.52, 99.53, None, 99.54, None), "probe", tmp_path).read_text()
    assert "99.530 ± 0.010 % (mean ± sd of 3 fresh seeds, while 2 of 5 diverged, last epoch" in text
    assert "3 of 5 seeds above 99.40" in text


def test_save_refuses_a_name_with_a_space(seed_results, tmp_path):
    with pytest.raises(ConfigError, match="letters, digits"):
        save(seed_results(99.5), "two words", tmp_path)
    assert not list(tmp_path.glob("two*"))
