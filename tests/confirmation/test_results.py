"""What seeds say: summaries, verdicts, rankings, from records made by hand."""

import pytest
from seeds_by_hand import SPLIT, scored, write_seed

from mnist_compact.common.errors import ConfigError, ExecutionError
from mnist_compact.config.composition import compose
from mnist_compact.config.schema import to_record
from mnist_compact.confirmation import reranking
from mnist_compact.confirmation.confirmation import Confirmation
from mnist_compact.confirmation.results import SeedResults
from mnist_compact.confirmation.save_experiment import header, save
from mnist_compact.confirmation.seed_pool import home_of
from mnist_compact.records.record import Status

FEW = " (only an indication: fewer than 5 seeds)"


@pytest.mark.parametrize(
    ("accuracies", "verdict"),
    [
        ((99.45, 99.46, 99.47), "mean > 99.40: yes, lower bound 99.435" + FEW),
        ((99.35, 99.41, 99.47), "mean > 99.40: not shown, interval 99.261 to 99.559" + FEW),
        ((99.33, 99.39, 99.45), "mean > 99.40: not shown, interval 99.241 to 99.539" + FEW),
        ((99.35, 99.36, 99.37), "mean > 99.40: no, upper bound 99.385" + FEW),
        ((99.40, 99.40), "mean > 99.40: no, upper bound 99.400" + FEW),
        ((99.45, 99.46, 99.47, 99.45, 99.47), "mean > 99.40: yes, lower bound 99.448"),
        ((99.50,), "mean > 99.40: not shown, one seed has no interval"),
        ((99.50, 99.51, None), "mean > 99.40: no, 1 of 3 seeds diverged"),
    ],
)
def test_the_verdict_is_the_intervals(seed_results, accuracies, verdict):
    assert seed_results(*accuracies).verdict() == verdict


def test_a_bar_is_told_with_the_decimals_it_has(seed_results):
    assert (
        seed_results(99.45, 99.46, 99.47, threshold=99.405).verdict() == "mean > 99.405: yes, lower bound 99.435" + FEW
    )


def test_more_than_the_bar_is_one_image_more(seed_results):
    assert seed_results(99.39, 99.40, 99.41, 99.50, None).above() == 2


def test_averaged_weights_count_once_there_are_any(tmp_path):
    Confirmation.of("probe", "a test", compose(), SPLIT, set()).write(tmp_path)
    write_seed(tmp_path, 1000, scored(99.1), scored(99.5, "averaged"))
    found = SeedResults.gather(tmp_path, [1000])
    assert found.accuracies == [99.5]
    assert found.seeds[0].raw.accuracy == 99.1


def test_a_run_takes_what_it_takes_on_each_machine(tmp_path):
    Confirmation.of("probe", "a test", compose(), SPLIT, set()).write(tmp_path)
    for seed, machine in ((1000, {}), (1001, {"threads": 4}), (1002, {"device": "a GPU", "threads": 4}), (1003, {})):
        write_seed(tmp_path, seed, scored(99.5), on=machine)
    found = SeedResults.gather(tmp_path, [1000, 1001, 1002, 1003])
    assert found.minutes() == {"one core of a processor": 2.0, "4 cores of a processor": 2.0, "a GPU": 2.0}
    (line,) = [line for line in header(found) if "parameters" in line]
    assert "2.0 minutes on one core of a processor, 2.0 on 4 cores of a processor, 2.0 on a GPU;" in line


def test_seeds_that_have_not_ended_are_no_evidence(seed_results, tmp_path):
    seed_results(99.5)
    write_seed(tmp_path / "probe", 1001, scored(98.0), status=Status.RUNNING)
    (tmp_path / "probe/seeds/1002").mkdir()
    found = SeedResults.gather(tmp_path / "probe", [1000, 1001, 1002, 1003])
    assert [result.seed for result in found.seeds] == [1000]
    with pytest.raises(ConfigError, match="no seed of probe has been completed"):
        SeedResults.gather(tmp_path / "probe", [1003]).summary()


def test_seeds_that_could_not_be_trained_leave_the_verdict_open(seed_results, tmp_path):
    seed_results(99.45, 99.46, 99.47)
    found = SeedResults.gather(tmp_path / "probe", [1000, 1001, 1002, 1003])
    assert found.verdict() == "mean > 99.40: not shown, 1 of 4 seeds could not be trained"


# Rankings


@pytest.mark.parametrize(
    ("candidates", "plan"),
    [(8, [(8, 3), (4, 6), (2, 12)]), (5, [(5, 3), (3, 6), (2, 12)]), (2, [(2, 3)]), (1, [(1, 3)])],
)
def test_each_round_halves_the_candidates_and_doubles_the_seeds(candidates, plan):
    assert reranking.rounds(candidates, 3) == plan


def test_a_ranking_goes_by_mean_then_by_loss_and_trains_only_who_is_left(tmp_path, monkeypatch):
    scores = {"a": (99.2, 0.03), "b": (99.4, 0.02), "c": (99.2, 0.01), "d": (None, None), "e": (98.0, 0.01)}
    folders = []
    for name in scores:
        folders.append(tmp_path / name)
        Confirmation.of(name, "a test", compose(), SPLIT, set()).write(folders[-1])
    asked = []

    def train(wanted, jobs):
        asked.append({folder.name: len(seeds) for folder, seeds in wanted})
        for folder, seeds in wanted:
            accuracy, loss = scores[folder.name]
            for seed in seeds:
                if home_of(folder, seed).exists():
                    continue
                if accuracy is None:
                    write_seed(folder, seed, status=Status.DIVERGED)
                else:
                    write_seed(folder, seed, scored(accuracy, loss=loss))
        return []

    monkeypatch.setattr(reranking.seed_pool, "train", train)
    done = list(reranking.rank(folders, 2, jobs=1))
    assert asked == [{"a": 2, "b": 2, "c": 2, "d": 2, "e": 2}, {"b": 4, "c": 4, "a": 4}, {"b": 8, "c": 8}]
    assert [[folder.name for folder, _ in each.standings] for each in done] == [
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
        monkeypatch.setattr(reranking.seed_pool, "train", lambda wanted, jobs: [])
        first = next(reranking.rank([tmp_path / name for name in candidates], 2, jobs=1))
        return [folder.name for folder, _ in first.standings]

    return rank


def test_ranking_puts_diverged_seeds_behind_lower_means(ranked):
    assert ranked(none=(None, None), half=(99.9, None), low=(98.0, 98.1), high=(99.0, 99.1)) == [
        *("high", "low", "half", "none")
    ]


def test_ranking_without_a_complete_candidate_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(reranking.seed_pool, "train", lambda wanted, jobs: [])
    for name in ("a", "b"):
        Confirmation.of(name, "a test", compose(), SPLIT, set()).write(tmp_path / name)
        write_seed(tmp_path / name, 1000, scored(99.5))
        write_seed(tmp_path / name, 1001, status=Status.DIVERGED)
    with pytest.raises(ExecutionError, match="no candidate"):
        list(reranking.rank([tmp_path / "a", tmp_path / "b"], 2, jobs=1))


# Saved as an experiment


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
    ],
)
def test_a_saved_configuration_comes_out_the_same(seed_results, tmp_path, monkeypatch, overrides):
    """Composed again out of a copy of conf/ that has the new file."""
    import shutil

    from mnist_compact.config import composition, schema
    from mnist_compact.confirmation import save_experiment

    conf = tmp_path / "conf"
    shutil.copytree(schema.configuration_folder(), conf)
    for module in (composition, save_experiment):
        monkeypatch.setattr(module, "configuration_folder", lambda: conf)
    run = compose(*overrides)
    found = seed_results(99.45, 99.47, run=run)
    path = save(found, "winner")
    assert path == conf / "experiment/winner.yaml"
    saved, wanted = to_record(compose("experiment=winner")), to_record(run)
    for group in ("model", "augment", "optim", "scheduler", "train", "budget"):
        assert saved[group] == wanted[group]
    text = path.read_text()
    assert "99.460 ± 0.014 % (mean ± sd of 2 fresh seeds" in text
    assert "2 of 2 seeds above 99.40" in text
    assert "7,206 parameters; a run takes 2.0 minutes on one core of a processor" in text
    with pytest.raises(ConfigError, match="exists already"):
        save(found, "winner")


def test_a_saved_header_does_not_hide_seeds_that_diverged(seed_results, tmp_path):
    text = save(seed_results(99.52, 99.53, None, 99.54, None), "probe", tmp_path).read_text()
    assert "99.530 ± 0.010 % (mean ± sd of 3 fresh seeds, while 2 of 5 diverged, last epoch" in text
    assert "3 of 5 seeds above 99.40" in text


def test_a_name_that_cannot_be_typed_is_refused(seed_results, tmp_path):
    with pytest.raises(ConfigError, match="letters, digits"):
        save(seed_results(99.5), "two words", tmp_path)
    assert not list(tmp_path.glob("two*"))
