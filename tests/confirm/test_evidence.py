"""What seeds say: summaries, verdicts, comparisons, rankings, from records made by hand."""

import dataclasses

import pytest

from mnist_compact.composition import composed
from mnist_compact.config import to_record
from mnist_compact.confirm import ranking
from mnist_compact.confirm.confirmation import Confirmation
from mnist_compact.confirm.crew import home_of
from mnist_compact.confirm.evidence import Comparison, Evidence
from mnist_compact.confirm.saving import save
from mnist_compact.faults import ConfigError
from mnist_compact.results.record import NetworkFacts, RunRecord, Score, Status

SPLIT = "test"


def scored(accuracy, weights="raw", loss=0.02):
    return Score(
        split=SPLIT,
        weights=weights,
        at="last",
        epoch=15,
        accuracy=accuracy,
        loss=loss,
        correct=round(100 * accuracy),
        total=10_000,
    )


def write_seed(folder, seed, *scores, status=Status.COMPLETED, config=None):
    home = home_of(folder, seed)
    home.mkdir(parents=True)
    final = max(scores, key=lambda score: score.weights == "averaged", default=None)
    RunRecord(
        status=status,
        config=config or {},
        overrides=[],
        evaluated=SPLIT,
        scores=[dataclasses.replace(score, final=score is final) for score in scores],
        network=NetworkFacts(
            parameters=7206, trainable_parameters=7206, macs=500_000, receptive_field=24, input_shape=[1, 28, 28]
        ),
        seconds=120.0,
        started_at="2030-01-01T00:00:00+00:00",
        environment={"processor": "a processor", "threads": 1},
    ).write(home)


@pytest.fixture
def evidence(tmp_path):
    """Evidence of these accuracies, one a seed from 1000 on; None for a seed that diverged."""

    def made(*accuracies, name="probe", first=1000, run=None):
        folder = tmp_path / name
        Confirmation.of(name, "a test", run or composed(), SPLIT, set()).write(folder)
        for seed, accuracy in enumerate(accuracies, first):
            if accuracy is None:
                write_seed(folder, seed, status=Status.DIVERGED)
            else:
                write_seed(folder, seed, scored(accuracy))
        return Evidence.gather(folder, list(range(first, first + len(accuracies))))

    return made


@pytest.mark.parametrize(
    ("accuracies", "verdict"),
    [
        ((99.45, 99.46, 99.47), "mean > 99.40: yes, lower bound 99.435"),
        ((99.35, 99.41, 99.47), "mean > 99.40: not shown, interval 99.261 to 99.559"),
        ((99.33, 99.39, 99.45), "mean > 99.40: not shown, interval 99.241 to 99.539"),
        ((99.35, 99.36, 99.37), "mean > 99.40: no, upper bound 99.385"),
        ((99.40, 99.40), "mean > 99.40: no, upper bound 99.400"),
        ((99.50,), "mean > 99.40: not shown, one seed has no interval"),
        ((99.50, 99.51, None), "mean > 99.40: no, 1 of 3 seeds diverged"),
    ],
)
def test_the_verdict_is_the_intervals(evidence, accuracies, verdict):
    assert evidence(*accuracies).verdict(99.4) == verdict


def test_a_bar_is_told_with_the_decimals_it_has(evidence):
    assert evidence(99.45, 99.46, 99.47).verdict(99.405) == "mean > 99.405: yes, lower bound 99.435"


def test_more_than_the_bar_is_one_image_more(evidence):
    assert evidence(99.39, 99.40, 99.41, 99.50, None).above(99.4) == 2


def test_averaged_weights_count_once_there_are_any(tmp_path):
    Confirmation.of("probe", "a test", composed(), SPLIT, set()).write(tmp_path)
    write_seed(tmp_path, 1000, scored(99.1), scored(99.5, "averaged"))
    found = Evidence.gather(tmp_path, [1000])
    assert found.accuracies == [99.5]
    assert found.seeds[0].raw.accuracy == 99.1


def test_seeds_that_have_not_ended_are_no_evidence(evidence, tmp_path):
    evidence(99.5)
    write_seed(tmp_path / "probe", 1001, scored(98.0), status=Status.RUNNING)
    (tmp_path / "probe/seeds/1002").mkdir()
    found = Evidence.gather(tmp_path / "probe", [1000, 1001, 1002, 1003])
    assert [result.seed for result in found.seeds] == [1000]
    with pytest.raises(ConfigError, match="no seed of probe has been completed"):
        Evidence.gather(tmp_path / "probe", [1003]).summary()


def test_seeds_that_could_not_be_trained_leave_the_verdict_open(evidence, tmp_path):
    evidence(99.45, 99.46, 99.47)
    found = Evidence.gather(tmp_path / "probe", [1000, 1001, 1002, 1003])
    assert found.verdict(99.4) == "mean > 99.40: not shown, 1 of 4 seeds could not be trained"


# Two of them


def test_a_comparison_pairs_by_seed(evidence):
    """By hand: differences 0.10, 0.20, 0.30 have mean 0.2, sd 0.1, t = 3.464 with 2 degrees of freedom, p = 0.0742."""
    first = evidence(99.40, 99.60, 99.50, 99.0, name="first")
    second = evidence(99.30, 99.40, 99.20, name="second")
    found = Comparison.between(first, second)
    assert found.n == 3
    assert found.difference.mean == pytest.approx(0.2)
    assert found.p == pytest.approx(0.0742, abs=1e-4)
    assert found.told("first", "second").endswith(": not shown to be more than noise")


def test_a_difference_beyond_noise_is_said(evidence):
    first = evidence(*(99.50 + i / 100 for i in range(8)), name="first")
    second = evidence(*(99.40 + i / 100 + (i % 2) / 100 for i in range(8)), name="second")
    told = Comparison.between(first, second).told("first", "second")
    assert told.startswith("first - second: +0.095 points over 8 common seeds")
    assert told.endswith(": more than noise")


@pytest.mark.parametrize("offset", [0.0, 0.01])
def test_differences_without_spread_are_not_judged(evidence, offset):
    """Of two seeds, one more right image each is no evidence, whatever a division by nearly nothing gives."""
    first = evidence(99.41, 99.52, name="first")
    second = evidence(99.41 - offset, 99.52 - offset, name="second")
    found = Comparison.between(first, second)
    assert found.p is None
    told = found.told("first", "second")
    assert told.startswith(f"first - second: {offset:+.3f} points over 2 common seeds")
    assert told.endswith("without spread no test can tell it from noise")


def test_what_cannot_be_paired_is_refused(evidence, tmp_path):
    first, second = evidence(99.0, 99.1, name="first"), evidence(99.0, 99.1, name="second", first=2000)
    with pytest.raises(ConfigError, match="0 of two seeds in common"):
        Comparison.between(first, second)
    Confirmation.of("held", "a test", composed("data=holdout"), "holdout", set()).write(tmp_path / "held")
    with pytest.raises(ConfigError, match="different splits: test and holdout"):
        Comparison.between(first, Evidence.gather(tmp_path / "held", []))


# Rankings


@pytest.mark.parametrize(
    ("candidates", "plan"),
    [(8, [(8, 3), (4, 6), (2, 12)]), (5, [(5, 3), (3, 6), (2, 12)]), (2, [(2, 3)]), (1, [(1, 3)])],
)
def test_each_round_halves_the_candidates_and_doubles_the_seeds(candidates, plan):
    assert ranking.rounds(candidates, 3) == plan


def test_a_ranking_goes_by_mean_then_by_loss_and_trains_only_who_is_left(tmp_path, monkeypatch):
    scores = {"a": (99.2, 0.03), "b": (99.4, 0.02), "c": (99.2, 0.01), "d": (None, None), "e": (98.0, 0.01)}
    folders = []
    for name in scores:
        folders.append(tmp_path / name)
        Confirmation.of(name, "a test", composed(), SPLIT, set()).write(folders[-1])
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

    monkeypatch.setattr(ranking.crew, "train", train)
    done = list(ranking.rank(folders, 2, jobs=1))
    assert asked == [{"a": 2, "b": 2, "c": 2, "d": 2, "e": 2}, {"b": 4, "c": 4, "a": 4}, {"b": 8, "c": 8}]
    assert [[folder.name for folder, _ in each.standings] for each in done] == [
        ["b", "c", "a", "e", "d"],
        ["b", "c", "a"],
        ["b", "c"],
    ]


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
            "train.threads=1",
        ),
        ("experiment=m3_logged", "train.average_epochs=4", "augment.rotation_deg=3.5"),
        ("model=m2",),
    ],
)
def test_a_saved_configuration_comes_out_the_same(evidence, tmp_path, monkeypatch, overrides):
    """Composed again out of a copy of conf/ that has the new file."""
    import shutil

    from mnist_compact import composition, config
    from mnist_compact.confirm import saving

    conf = tmp_path / "conf"
    shutil.copytree(config.configuration_folder(), conf)
    for module in (composition, saving):
        monkeypatch.setattr(module, "configuration_folder", lambda: conf)
    run = composed(*overrides)
    found = evidence(99.45, 99.47, run=run)
    path = save(found, "winner", bar=99.4)
    assert path == conf / "experiment/winner.yaml"
    saved, wanted = to_record(composed("experiment=winner")), to_record(run)
    for place in ("threads", "device"):  # the machine's
        wanted["train"][place] = saved["train"][place]
    for group in ("model", "augment", "optim", "scheduler", "train", "budget"):
        assert saved[group] == wanted[group]
    text = path.read_text()
    assert "99.460 ± 0.014 % (mean ± sd of 2 fresh seeds" in text
    assert "2 of 2 seeds above 99.40" in text
    assert "7,206 parameters; 2.0 minutes a run on a processor" in text
    with pytest.raises(ConfigError, match="exists already"):
        save(found, "winner", bar=99.4)


def test_a_saved_header_does_not_hide_seeds_that_diverged(evidence, tmp_path):
    text = save(evidence(99.52, 99.53, None, 99.54, None), "probe", tmp_path, bar=99.4).read_text()
    assert "99.530 ± 0.010 % (mean ± sd of 3 fresh seeds, while 2 of 5 diverged, last epoch" in text
    assert "3 of 5 seeds above 99.40" in text


def test_a_name_that_cannot_be_typed_is_refused(evidence, tmp_path):
    with pytest.raises(ConfigError, match="letters, digits"):
        save(evidence(99.5), "two words", tmp_path, bar=99.4)
    assert not list(tmp_path.glob("two*"))
