"""Summaries of runs over seeds, and differences of two runs."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mnist_compact.common.statistics import Summary
from mnist_compact.records.record import Continuation, RecordError, RunRecord, Score, Status
from mnist_compact.records.settings import GROUPS, MACHINE, is_machines
from mnist_compact.reports.difference import difference
from mnist_compact.reports.grouping import by_configuration, grouped
from mnist_compact.reports.tables import epochs_of, load_runs

MakeRun = Callable[..., Path]
Settings = Callable[..., dict[str, Any]]
MakeScore = Callable[..., Score]
EVIDENCE = Path(__file__).parents[2] / "evidence"
NO_IDENTITY = (
    *("seed", "experiment", MACHINE),  # runs of one group may differ in these
    *(f"{group}__kind" for group in GROUPS),  # changes with the name of the option
    *(f"model__layers__conv{number}" for number in range(2, 8)),  # the same option as conv1
)


@pytest.fixture
def seeds(make_run: MakeRun, settings: Settings, score: MakeScore) -> Callable[..., None]:
    """seeds("name", [accuracies], split=…, **settings) creates a completed run for each accuracy, with seeds from 0."""

    def make(name: str, accuracies: list[float], split: str = "test", **changes: Any) -> None:
        for seed, accuracy in enumerate(accuracies):
            config = settings(seed=seed, **changes)
            make_run(f"{name}{seed}", config=config, scores=[score(split, "raw", "last", accuracy)])

    return make


def test_groups_are_summarized_over_seeds(seeds: Callable[..., None], tmp_path: Path) -> None:
    accuracies = [99.3, 99.5, 99.41]
    seeds("a", accuracies)
    seeds("b", [99.4], optim__lr=0.5)
    table, notes = grouped(load_runs(tmp_path), ["optim.lr"])
    summary = Summary.of(accuracies)
    assert notes == []
    assert [*table.columns] == [
        "optim.lr",
        *(f"test {name}" for name in ("n", "mean %", "sd", "min %", "max %", "low %", "high %", "over 99.40")),
    ]
    assert table["optim.lr"].tolist() == [0.015, 0.5]
    assert table.iloc[0, 1:].tolist() == pytest.approx(
        [3, summary.mean, summary.sd, 99.3, 99.5, summary.low, summary.high, 100 * 2 / 3]
    )
    assert table.iloc[1, 1:].tolist() == [
        1,
        99.4,
        pd.NA,
        99.4,
        99.4,
        pd.NA,
        pd.NA,
        0.0,
    ]  # 9,940 is not above the threshold
    assert str(table.dtypes["test n"]) == "Int64"


def test_one_image_more_than_9940_is_above_the_threshold(seeds: Callable[..., None], tmp_path: Path) -> None:
    seeds("a", [100 * 9940 / 10_000, 100 * 9941 / 10_000, 100 * 0.994])
    table, _ = by_configuration(load_runs(tmp_path))
    assert table["test over 99.40"].tolist() == pytest.approx([100 / 3])


def test_runs_of_a_configuration_differ_only_in_seed_and_name(seeds: Callable[..., None], tmp_path: Path) -> None:
    seeds("a", [99.0, 99.2])
    seeds("b", [98.0], optim__lr=0.5)
    seeds(
        "c", [97.0], experiment="named", machine__data_root="/elsewhere"
    )  # the folder of the images makes no difference
    table, notes = by_configuration(load_runs(tmp_path))
    assert table[["model", "optim.lr", "test n"]].to_numpy().tolist() == [["m3", 0.015, 3], ["m3", 0.5, 1]]
    assert "seed" not in table
    assert notes == ["Runs that repeat the configuration and seed of another run in their group: 1."]


def _leaves(config: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}__")
        else:
            yield f"{prefix}{key}"


def test_every_setting_distinguishes_configurations(
    make_run: MakeRun, settings: Settings, written: Path, tmp_path: Path
) -> None:
    """A change of any setting except seed, experiment and machine makes another configuration."""
    leaves = [leaf for leaf in _leaves(RunRecord.read(written).config) if not leaf.startswith(NO_IDENTITY)]
    assert {leaf.partition("__")[0] for leaf in leaves} == {*GROUPS} - {MACHINE}
    make_run("plain")
    for place, leaf in enumerate(leaves):
        make_run(f"changed{place}", config=settings(**{leaf: ["another"] if leaf == "model__order" else "another"}))
    table, notes = by_configuration(load_runs(tmp_path))
    assert table["test n"].tolist() == [1] * (1 + len(leaves))
    assert notes == []


def test_networks_of_former_stages_have_the_name_of_their_settings() -> None:
    """`model=stages` once had named layers: a comparison with today's networks does not list the settings of each."""
    former = EVIDENCE / "under_8k/confirmations/under_8k/seeds/1000"
    table, _ = by_configuration(load_runs(former, EVIDENCE / "frontier/confirmations/under_3k/seeds/1000"))
    assert table["model"].tolist() == ["compact", "stages"]
    assert not [name for name in table.columns if name.startswith("model.")]
    assert "model compact" in repr(RunRecord.read(former))


def test_machine_makes_no_group_and_no_difference(seeds: Callable[..., None], tmp_path: Path) -> None:
    seeds("a", [99.0, 99.2])
    seeds("b", [99.1], machine__threads=2, machine__device="cuda", machine__data_root="/elsewhere")
    frame = load_runs(tmp_path)
    machines = [name for name in frame.columns if is_machines(name)]
    assert machines == ["machine", "machine.data_root", "machine.device", "machine.threads"]
    table, _ = by_configuration(frame)
    assert table["test n"].tolist() == [3]
    assert not {*machines} & {*table.columns}
    _, notes = grouped(frame, ["model"])
    assert not any("more than the seed" in note for note in notes)


def test_splits_and_weights_have_separate_summary_columns(
    seeds: Callable[..., None], make_run: MakeRun, score: MakeScore, tmp_path: Path
) -> None:
    seeds("a", [99.0])
    seeds("b", [98.0], split="holdout")
    make_run("c", scores=[score("test", "averaged", "last", 99.5), score("test", "raw", "last", 97.0)])
    table, _ = grouped(load_runs(tmp_path), ["model"])
    assert table[["holdout mean %", "test mean %", "test averaged mean %"]].to_numpy().tolist() == [[98.0, 98.0, 99.5]]


def test_notes_name_excluded_runs_and_other_differences(
    seeds: Callable[..., None], make_run: MakeRun, tmp_path: Path
) -> None:
    seeds("a", [99.0, 99.2])
    seeds("b", [98.0], optim__lr=0.5)
    for number, status in enumerate([Status.FAILED, Status.STOPPED, Status.FAILED]):
        make_run(f"x{number}", status=status)
    (make_run("y") / "result.json").write_text("{")
    table, notes = grouped(load_runs(tmp_path), ["model"])
    assert table["test n"].tolist() == [3]
    assert notes == [
        "Left out, because only completed runs count: 2 failed, 1 stopped, 1 unreadable.",
        "Within groups, more than the seed differs: optim.lr. There, sd and interval are not those of seeds alone.",
    ]


def test_selected_trials_are_distinguished_from_fresh_seeds(
    make_run: MakeRun, settings: Settings, score: MakeScore, tmp_path: Path
) -> None:
    scored = {"scores": [score("holdout", "raw", "last", 99.5)]}
    make_run("sweeps/s/trials/0003", config=settings(seed=0), **scored)
    make_run("confirmations/s-3-ranking/seeds/100", config=settings(seed=100), **scored)
    (tmp_path / "confirmations/s-3-ranking/confirmation.json").write_text('{"ranking": true}')
    make_run("runs/other", config=settings(seed=0, optim__lr=0.5), **scored)
    assert (
        by_configuration(load_runs(tmp_path))[1] == []
    )  # the seeds of a ranking were used for the choice, like those of a trial
    make_run("confirmations/s-3/seeds/1000", config=settings(seed=1000), **scored)
    make_run("confirmations/s-4/seeds/1000", config=settings(seed=1000, optim__lr=0.7), **scored)
    make_run("mine/s-4-ranking/seeds/100", config=settings(seed=100, optim__lr=0.7), **scored)
    (tmp_path / "mine/s-4-ranking/confirmation.json").write_text('{"ranking": true}')
    message = "2 groups mix runs whose scores were used for selection (trials, rankings) with confirmations. "
    for notes in (by_configuration(load_runs(tmp_path))[1], grouped(load_runs(tmp_path), ["optim.lr"])[1]):
        assert [note.startswith(message) for note in notes] == [True]
    alone = load_runs(tmp_path).query('kind == "confirmation"')
    assert by_configuration(alone)[1] == []
    apart = grouped(load_runs(tmp_path), ["kind"])[1]
    assert not any("used for selection" in note for note in apart)


def test_each_group_counts_its_excluded_runs(
    seeds: Callable[..., None], make_run: MakeRun, settings: Settings, tmp_path: Path
) -> None:
    seeds("a", [99.0, 99.2])
    seeds("b", [98.0], optim__lr=0.5)
    seeds("c", [97.0], optim__lr=0.6)
    for seed in (1, 2):
        make_run(f"b{seed}", status=Status.DIVERGED, config=settings(seed=seed, optim__lr=0.5), scores=[])
    make_run("c1", status=Status.FAILED, config=settings(seed=1, optim__lr=0.6), scores=[])
    make_run(
        "d0", status=Status.FAILED, config=settings(optim__lr=0.7), scores=[]
    )  # it would be a group of its own, and has no row
    (make_run("y") / "result.json").write_text("{")
    frame = load_runs(tmp_path)
    for table, notes in (by_configuration(frame), grouped(frame, ["optim.lr"])):
        assert table[["optim.lr", "left out", "test n"]].to_numpy().tolist() == [
            [0.015, 0, 2],
            [0.5, 2, 1],
            [0.6, 1, 1],
        ]
        assert notes == ["Left out, because only completed runs count: 2 diverged, 2 failed, 1 unreadable."]


def test_lengthened_runs_in_a_group_are_noted(
    seeds: Callable[..., None], make_run: MakeRun, settings: Settings, score: MakeScore, tmp_path: Path
) -> None:
    seeds("a", [99.0, 99.2])
    # (epochs done, planned before, planned now); the last run lost its checkpoint
    runs = ([(1, 2, 2), (1, 2, 3)], [(2, 2, 3), (3, 3, 3)], [(2, 2, 3)], [(2, 2, 3), (0, 3, 3)])
    for seed, continued in enumerate(runs):
        more = [
            Continuation(after_epoch=after, planned_before=before, planned=planned, started_at="", environment={})
            for after, before, planned in continued
        ]
        scores = [score("test", "raw", "last", 98.0)]
        make_run(f"b{seed}", config=settings(seed=seed), scores=scores, continuations=more)
    frame = load_runs(tmp_path)
    table, notes = by_configuration(frame)
    assert table[["lengthened_from", "lengthened_after", "test n"]].to_numpy().tolist() == [
        [pd.NA, pd.NA, 3],
        [2, 1, 1],
        [2, 2, 2],
    ]
    assert notes == []
    assert grouped(frame, ["model"])[1] == [
        "Within groups, more than the seed differs: lengthened_from, lengthened_after. "
        "There, sd and interval are not those of seeds alone."
    ]


def test_differences_do_not_hide_repeated_runs(seeds: Callable[..., None], tmp_path: Path) -> None:
    seeds("a", [99.0, 99.2])
    seeds("b", [99.1], optim__lr=0.5)
    seeds("again", [99.0])
    _, notes = grouped(load_runs(tmp_path), ["model"])
    assert notes == [
        "Within groups, more than the seed differs: optim.lr. There, sd and interval are not those of seeds alone.",
        "Runs that repeat the configuration and seed of another run in their group: 1.",
    ]


def test_missing_values_form_a_group(seeds: Callable[..., None], make_run: MakeRun, tmp_path: Path) -> None:
    make_run("x", status=Status.FAILED)
    for grouping in (by_configuration, lambda frame: grouped(frame, ["experiment"])):
        table, notes = grouping(load_runs(tmp_path))
        assert (len(table), notes) == (0, ["Left out, because only completed runs count: 1 failed."])
    seeds("a", [99.0, 98.0])
    seeds("b", [97.0], experiment="champion")
    table, _ = grouped(load_runs(tmp_path), ["experiment"])
    assert table[["experiment", "test n"]].to_numpy().tolist() == [[pd.NA, 2], ["champion", 1]]


# Two runs


def test_difference_shows_settings_results_and_environment(
    make_run: MakeRun, settings: Settings, score: MakeScore
) -> None:
    a = make_run("a", environment={"versions": {"torch": "2.14", "numpy": "2.4"}, "threads": 1})
    b = make_run(
        "b",
        config=settings(optim__lr=0.5, seed=3),
        scores=[score("holdout", "raw", "last", 98.0)],
        environment={"versions": {"torch": "2.15", "numpy": "2.4"}, "threads": 2},
    )
    table = difference(a, b)
    assert table.columns.tolist() == ["key", "A", "B"]
    rows = {key: (of_a, of_b) for key, of_a, of_b in table.itertuples(index=False)}
    assert rows["run"] == (str(a), str(b))
    assert [key for key in rows if key in ("seed", "optim.lr", "model", "train.epochs")] == ["seed", "optim.lr"]
    assert rows["optim.lr"] == (0.015, 0.5)
    assert rows["parameters"] == (3928, 3928)
    assert rows["started_at"] == ("2025-11-20T10:00:00+00:00",) * 2
    assert rows["test_accuracy_last"] == (99.0, None)
    assert rows["holdout_accuracy_last"] == (None, 98.0)
    assert {key: cells for key, cells in rows.items() if key.startswith("environment")} == {
        "environment.versions.torch": ("2.14", "2.15"),
        "environment.threads": (1, 2),
    }
    assert [*rows].index("optim.lr") < [*rows].index("status") < [*rows].index("environment.threads")


def test_difference_requires_two_records(make_run: MakeRun, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="nowhere is not a run folder"):
        difference(make_run("a"), tmp_path / "nowhere")


# Epochs


def test_epochs_are_rows_with_columns_for_each_split(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("b", started_at="2025-11-19T10:00:00+00:00")
    make_run("a", metrics="epoch,holdout_accuracy,seconds\n1,97.5,3\n2,,4\n")
    make_run("none", metrics=None)
    frame = load_runs(tmp_path)
    table = epochs_of(frame, ["optim.lr", "seconds", "optim.lr"])
    shown = table.assign(run=[Path(run).name for run in table["run"]])
    names = ["run", "epoch", "test_accuracy", "holdout_accuracy", "seconds", "optim.lr"]
    assert shown[names].to_numpy().tolist() == [
        ["b", 1, 97.0, pd.NA, 2.5, 0.015],
        ["b", 2, 99.05, pd.NA, 2.5, 0.015],
        ["b", 3, 99.0, pd.NA, 2.5, 0.015],
        ["a", 1, pd.NA, 97.5, 3.0, 0.015],
        ["a", 2, pd.NA, pd.NA, 4.0, 0.015],
    ]
    assert table.dtypes.astype(str)[["epoch", "test_correct", "test_accuracy"]].tolist() == [
        "Int64",
        "Int64",
        "Float64",
    ]


def test_run_without_epochs_is_an_empty_table(make_run: MakeRun) -> None:
    table = epochs_of(load_runs(make_run(metrics=None)))
    assert (len(table), [*table.columns]) == (0, ["run", "epoch"])
