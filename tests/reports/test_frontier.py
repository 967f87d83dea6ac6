"""The frontier's figure shows the means of confirmations at their sizes, and all seeds of each."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mnist_compact.cli.report import main
from mnist_compact.common.statistics import FEWEST, Summary
from mnist_compact.reports.frontier import best_by_size, frontier_figure, frontier_points
from mnist_compact.reports.published import published
from mnist_compact.reports.tables import load_runs

MakeRun = Callable[..., Path]
SCORES = {"c": (99.5, 99.3, 99.45, 99.4, 99.38), "d": (99.0, 99.1, 99.2, 99.15, 99.25)}


@pytest.fixture
def confirmed(make_run: MakeRun, settings: Callable[..., Any], score: Callable[..., Any], tmp_path: Path) -> Path:
    """Make two confirmations that belong to the figure, one on held-out images, and one of too few seeds."""
    splits = dict.fromkeys(SCORES, "test") | {"held": "holdout"}
    for name, accuracies in (SCORES | {"held": SCORES["c"]}).items():
        for seed, accuracy in enumerate(accuracies, start=1000):
            scores = [score(splits[name], "raw", "last", accuracy)]
            make_run(f"o/confirmations/{name}/seeds/{seed}", config=settings(seed=seed), scores=scores)
    for seed in range(FEWEST - 1):
        scores = [score("test", "raw", "last", 99.9)]
        make_run(f"o/confirmations/few/seeds/{seed}", config=settings(seed=seed), scores=scores)
    return tmp_path / "o"


def point(size: int, mean: float) -> dict[str, Any]:
    summary = {"mean": mean, "low": mean - 0.02, "high": mean + 0.03, "minimum": mean - 0.1, "maximum": mean + 0.1}
    return {"name": f"n{size}", "parameters": size, "summary": summary}


def test_confirmations_on_test_images_with_enough_seeds_are_drawn(confirmed: Path) -> None:
    frame = load_runs(confirmed)
    drawn = frontier_points(frame, frame)
    assert {one["name"]: one["summary"]["mean"] for one in drawn} == {
        name: pytest.approx(Summary.of(accuracies).mean) for name, accuracies in SCORES.items()
    }


def test_best_by_size_leaves_out_what_a_smaller_network_reaches() -> None:
    points = [point(1000, 99.0), point(2000, 98.9), point(3000, 99.0), point(4000, 99.4)]
    assert [one["parameters"] for one in best_by_size(points)] == [1000, 4000]


def test_figure_shows_means_intervals_and_ranges_at_their_sizes() -> None:
    points = [point(1000, 99.0), point(4000, 99.4)]
    (axis,) = frontier_figure(points, published()).axes
    lines = [(list(line.get_xdata()), list(line.get_ydata())) for line in axis.get_lines()]
    assert ([1000, 4000], [99.0, 99.4]) in lines
    for one in points:
        summary, size = one["summary"], one["parameters"]
        assert ([size, size], [summary["minimum"], summary["maximum"]]) in lines
        assert ([size, size], [summary["low"], summary["high"]]) in lines
    others = {(result["parameters"], result["accuracy"]) for result in published()}
    (shown,) = [set(zip(*line, strict=True)) for line in lines if (3762, 99.52) in set(zip(*line, strict=True))]
    assert shown < others
    assert (3888, 99.0) not in shown  # a lower bound
    assert [text.get_text() for text in axis.texts] == ["n1000\n99.00 %", "n4000\n99.40 %"]


def test_command_draws_all_seeds_of_the_selected_confirmations(
    confirmed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[dict[str, Any]] = []
    original = frontier_figure

    def recorded(points: list[dict[str, Any]], results: list[dict[str, Any]]) -> Any:
        drawn.extend(points)
        return original(points, results)

    monkeypatch.setattr("mnist_compact.reports.frontier.frontier_figure", recorded)
    picture = tmp_path / "frontier.png"
    main([str(confirmed), "--where", "test_accuracy_last > 99.4", "--frontier", str(picture)])
    assert capsys.readouterr().out == f"{picture}: 1 confirmation\n"
    assert [one["accuracies"] for one in drawn] == [list(SCORES["c"])]
    with Image.open(picture) as image:
        assert image.format == "PNG"


def test_runs_without_a_confirmation_give_a_message_and_no_picture(
    make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run("o/x")
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path / "o"), "--frontier", str(tmp_path / "f.png")])
    assert "there is no confirmation on the test images with at least 5 completed seeds" in capsys.readouterr().err
    assert not (tmp_path / "f.png").exists()


@pytest.mark.parametrize("option", [["--sort", "run"], ["--columns", "run"], ["--out", "x.csv"], ["--format", "csv"]])
def test_options_that_contradict_the_frontier_are_refused(
    option: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["--frontier", "x.png", *option])
    assert "--frontier takes PATH and --where and cannot be combined with --columns" in capsys.readouterr().err
