"""The page in a real Chromium without a network: it shows the values of the DataFrame, and its controls work."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
from browsers import PATIENCE_MS, PHONE, Tab, chromium
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState
from playwright.sync_api import Locator, Page, expect

from mnist_compact.cli.report import main
from mnist_compact.records.record import NetworkFacts, RunRecord
from mnist_compact.reports.query import matching
from mnist_compact.reports.tables import load_runs

pytestmark = pytest.mark.browser

MakeRun = Callable[..., Path]
OPEN_WITHIN_S = 3.0
NASTY = "<script>alert(1)<img src=x onerror=alert(2)>"
ENDING = "</script><script>alert(3)</script>"


Open = Callable[..., Page]
# Buttons and folds below the first chart are pressed with the keyboard, because a chart that is just being drawn could
# move them away from the mouse.


@pytest.fixture(scope="module")
def tabs() -> Iterator[dict[str, Tab]]:
    """The tab of a window and that of a phone."""
    with chromium() as browser:
        yield {"window": Tab(browser, offline=True), "phone": Tab(browser, offline=True, **PHONE)}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of all pages, since Chromium compiles a script once for each file."""
    return tmp_path_factory.mktemp("page") / "report.html"


@pytest.fixture
def open_page(tabs: dict[str, Tab], file: Path) -> Iterator[Open]:
    """open_page(folder, *options of the command) returns the page, which must not report an error."""

    def opened(folder: Path, *options: str, screen: str = "window", drawn: bool = True) -> Page:
        main([str(folder), "--page", str(file), *options])
        page = tabs[screen].open(file)
        if drawn:
            expect(page.locator("#size-figure .main-svg").first).to_be_visible()
        return page

    yield opened
    assert [fault for tab in tabs.values() for fault in tab.faults()] == []


@pytest.fixture
def outputs(make_run: MakeRun, settings: Callable[..., Any], score: Callable[..., Any], tmp_path: Path) -> Path:
    """Plain runs of two splits, with and without averaged weights, a failed run, and names with special characters."""
    for place in range(6):
        scores = [score("test", "raw", "last", 99 + place / 10), score("test", "raw", "best", 99.2 + place / 10)]
        scores += [score("test", "averaged", "last", 99.1 + place / 10)] if place % 2 else []
        config = settings(seed=place, optim__lr=0.1 / (place + 1), model__name="m1" if place < 3 else "m3")
        at = f"2025-11-2{place}T10:00:00+00:00"
        folder = make_run(
            f"o/runs/{place}",
            config=config,
            scores=scores,
            network=_sized(9000 - 1000 * place),
            started_at=at,
            mistakes=10,
        )
        (folder / "layers.csv").write_text("index,layer,parameters\n1,Conv2d 3x3,45\n2,Linear,2200\n")
    make_run("o/runs/failed", scores=[], status="failed", reason="no memory", confusion=None, metrics=None)
    make_run(f"o/runs/{NASTY}", config=settings(experiment=ENDING, model__name=NASTY))
    make_run("o/sweeps/s/trials/0000", scores=[score("holdout", "raw", "last", 98.0)])
    return tmp_path / "o"


def _sized(parameters: int) -> NetworkFacts:
    return NetworkFacts(
        parameters=parameters, trainable_parameters=parameters, macs=1000, receptive_field=24, input_shape=[1, 28, 28]
    )


def shown_columns(page: Page) -> dict[str, list[str]]:
    """The displayed columns of the table of runs, with full precision where a cell is rounded."""
    script = """(table) => {
        const heads = [...table.querySelectorAll("thead th")];
        const text = (cell) => cell.title || cell.textContent;
        const column = (place) => [...table.querySelectorAll("tbody tr")].map((row) => text(row.cells[place]));
        return Object.fromEntries(heads.map((head, place) => [head.dataset.name ?? "", column(place)]));
    }"""
    columns: dict[str, list[str]] = page.locator("#runs-table table").evaluate(script)
    return columns


def cells(page: Page, name: str) -> list[str]:
    columns = shown_columns(page)
    assert name in columns, f"{name} is not shown"
    return columns[name]


def head(page: Page, name: str) -> Locator:
    return page.locator(f'#runs-table th[data-name="{name}"]')


def traces(page: Page, figure: str) -> list[dict[str, Any]]:
    """The data of a chart."""
    script = """(host) => JSON.stringify(
        host.data.map(({name, x, y, mode, marker, text, yaxis}) => ({name, x, y, mode, marker, text, yaxis})))"""
    result: list[dict[str, Any]] = json.loads(page.locator(figure).evaluate(script))
    return result


def same(cell: str, value: Any) -> bool:
    """Whether a cell shows this value of a DataFrame."""
    if pd.isna(value):
        return cell == "–"
    if isinstance(value, bool):
        return cell == str(value).lower()
    if isinstance(value, int | float):
        return float(cell.replace(",", "")) == value
    return cell == (f"{value:%Y-%m-%d %H:%M:%S} UTC" if isinstance(value, pd.Timestamp) else str(value))


def test_every_cell_agrees_with_the_dataframe(open_page: Open, outputs: Path) -> None:
    frame = load_runs(outputs).set_index("run", drop=False)
    page = open_page(outputs)
    page.get_by_text("Columns", exact=True).click()
    page.locator("#columns input:enabled:not(:checked)").evaluate_all("(boxes) => boxes.forEach((box) => box.click())")
    shown = shown_columns(page)
    runs = [str(outputs / run) for run in shown["run"]]
    assert sorted(runs) == sorted(frame.index)
    with_values = [name for name in frame if frame[name].notna().any() and name != "run"]
    assert page.locator("#runs-table th[data-name]").count() == len(with_values) + 1
    for name in with_values:
        values = [frame[name].astype(object)[run] for run in runs]
        assert all(map(same, shown[name], values)), name


def test_headers_sort_with_the_mouse_and_the_keyboard(open_page: Open, outputs: Path) -> None:
    frame = load_runs(outputs)
    page = open_page(outputs)
    for name in ("parameters", "test_accuracy_last", "status"):
        head(page, name).get_by_role("button").click()
        assert head(page, name).get_attribute("aria-sort") == "ascending"
        ascending = frame[name].sort_values(kind="stable").astype(object)
        assert all(map(same, cells(page, name), ascending)), name
        head(page, name).get_by_role("button").press("Enter")
        assert head(page, name).get_attribute("aria-sort") == "descending"
        descending = frame[name].sort_values(kind="stable", ascending=False).astype(object)
        assert all(map(same, cells(page, name), descending)), name
    assert page.locator('#runs-table th[aria-sort="descending"]').count() == 1


def test_filter_of_the_page_agrees_with_conditions(open_page: Open, outputs: Path) -> None:
    runs, page = load_runs(outputs), open_page(outputs)
    for text, condition in (
        ("parameters<7000 optim.lr>=0.02", "parameters < 7000 and optim.lr >= 0.02"),
        ("accuracy > 99.15 and model==m1", "test_accuracy_last > 99.15 and model == 'm1'"),
        ("status = failed", "status == 'failed'"),
        ("model.conv_bias=false seed!=0", "not model.conv_bias and seed != 0"),
        ("no memory", "'no memory' in reason"),
    ):
        left = matching(runs, condition)
        assert 0 < len(left) < 9
        page.get_by_role("searchbox").fill(text)
        expect(page.locator("#runs-status")).to_contain_text(f"{len(left)} of 9 runs")
        assert sorted(str(outputs / run) for run in cells(page, "run")) == sorted(left["run"])


def test_invalid_filter_states_the_reason(open_page: Open, outputs: Path) -> None:
    page = open_page(outputs)
    page.get_by_role("searchbox").fill("parametres < 8000")
    expect(page.locator("#filter-status")).to_have_text("There is no column parametres.")
    page.get_by_role("searchbox").fill("parameters < many")
    expect(page.locator("#filter-status")).to_have_text("parameters contains numbers, but many is not a number.")
    page.get_by_role("searchbox").fill("accuracy > 99.2 or seed = 1")
    expect(page.locator("#filter-status")).to_contain_text("All conditions must hold")
    assert len(cells(page, "run")) == 9


def test_selected_runs_are_overlaid(open_page: Open, outputs: Path) -> None:
    page = open_page(outputs)
    page.get_by_role("button", name="Clear selection").press("Enter")
    expect(page.locator("#curves-figure")).to_be_hidden()
    for name in ("runs/1", "runs/4"):
        page.get_by_label(f"Select {name}", exact=True).press("Space")
    expect(page.locator("#runs-status")).to_have_text("9 runs, 2 selected")
    page.locator("#curves").scroll_into_view_if_needed()
    expect(page.locator("#curves-figure .main-svg").first).to_be_visible()
    drawn_traces = traces(page, "#curves-figure")
    assert {trace["name"] for trace in drawn_traces} == {"runs/1", "runs/4"}
    assert {tuple(trace["y"]) for trace in drawn_traces} >= {(97, 99.05, 99), (90, 98.5, 98.25)}
    (ring,) = [trace for trace in traces(page, "#size-figure") if trace["name"] == "selected"]
    assert sorted(ring["x"]) == [5000, 8000]


AVERAGED_AT_THE_END = """\
epoch,train_accuracy,test_accuracy,test_averaged_accuracy
1,90.0,97.0,
2,98.5,99.05,
3,98.25,99.0,99.2
"""


def test_averaged_weights_are_drawn_beside_the_raw_curve(
    open_page: Open, make_run: MakeRun, score: Callable[..., Any], tmp_path: Path
) -> None:
    scores = [score("test", "raw", "last", 99.0), score("test", "averaged", "last", 99.2)]
    make_run("o/x", scores=scores, metrics=AVERAGED_AT_THE_END)
    page = open_page(tmp_path / "o")
    expect(page.get_by_label("Score").locator("option").first).to_have_text(re.compile("averaged"))
    page.locator("#curves").scroll_into_view_if_needed()
    expect(page.locator("#curves-figure .main-svg").first).to_be_visible()
    raw, averaged, training = traces(page, "#curves-figure")
    assert (raw["x"], raw["y"]) == ([1, 2, 3], [97, 99.05, 99])
    assert (averaged["x"], averaged["y"], averaged["marker"]["symbol"]) == ([3], [99.2], "diamond-open")
    assert raw["yaxis"] == averaged["yaxis"] != training["yaxis"]
    expect(page.locator("#curves-figure .legendtext")).to_have_count(1)
    expect(page.locator("#curves-about")).to_contain_text("diamonds: averaged weights")


def test_numbers_are_rounded_as_in_python(open_page: Open, outputs: Path) -> None:
    values = [99.5745, 99.5755, 98.125, 98.135, 0.0005, 1e-7, 12345.675, 99.99999, 0.5, 1.5]
    values += [100 * correct / 60_000 for correct in range(59_000, 59_400)]
    page = open_page(outputs)
    for decimals in (0, 1, 2, 3):
        shown = page.evaluate("([values, n]) => values.map((value) => numberShown(value, n))", [values, decimals])
        assert shown == [f"{value:.{decimals}f}" for value in values]
    assert page.evaluate("() => numberShown(12345.675, 2, true)") == f"{12345.675:,.2f}"


def test_page_states_which_mistakes_it_contains(
    open_page: Open, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mnist_compact.reports.page.details.MOST_WITH_MISTAKES", 2)
    (outputs / "runs" / "5" / "mistakes.npz").write_bytes(b"")
    (outputs / "runs" / "2" / "mistakes.npz").unlink()
    page = open_page(outputs)
    for run, text in {
        "5": "mistakes.npz in the run folder cannot be read.",
        "0": "contains the mistakes of at most 2 runs, the best by each score. mistakes.npz in the run folder has",
        "2": "The run folder has no mistakes.npz",
    }.items():
        page.get_by_role("button", name=f"runs/{run}", exact=True).press("Enter")
        expect(page.get_by_role("dialog")).to_contain_text(text)
        page.keyboard.press("Escape")


def test_chart_shows_one_score_at_a_time(open_page: Open, outputs: Path) -> None:
    frame = load_runs(outputs)
    page = open_page(outputs)
    choices = page.get_by_label("Score").locator("option").all_inner_texts()
    assert len(choices) == len(set(choices)) == 4
    columns = {
        "last epoch, averaged": "test_averaged_accuracy_last",
        "holdout": "holdout_accuracy_last",
        "best": "test_accuracy_best",
    }
    for word, column in columns.items():
        choice = next(choice for choice in choices if word in choice)
        page.get_by_label("Score").select_option(label=choice)
        expect(page.locator("#size-figure .ytitle")).to_have_text(f"{choice} (%)")
        drawn_traces = traces(page, "#size-figure")
        drawn = sorted(
            value
            for trace in drawn_traces
            if trace["mode"] == "markers" and trace["name"] != "selected" and not trace["name"].startswith("published")
            for value in trace["y"]
        )
        assert drawn == sorted(frame[column].dropna()), word
        others = [trace for trace in drawn_traces if trace["name"].startswith("published")]
        assert bool(others) == choice.startswith("test")
        assert head(page, column).get_attribute("aria-sort") == "descending"  # the table was sorted by the first


def test_published_results_are_labelled(open_page: Open, outputs: Path) -> None:
    page = open_page(outputs)
    (others,) = [trace for trace in traces(page, "#size-figure") if trace["name"].startswith("published")]
    assert others["name"] == "published: single figures"
    (bound,) = [place for place, text in enumerate(others["text"]) if "P-CapsNets" in text]
    assert "<br>more than 99.00 %<br>" in others["text"][bound]
    symbols = others["marker"]["symbol"]
    assert [place for place, symbol in enumerate(symbols) if symbol != "diamond-open"] == [bound]
    about = page.locator("#size-about")
    expect(about).to_contain_text("single published figures")
    expect(about).to_contain_text("The Pareto line connects single runs")


def test_sorting_is_kept_and_works_by_a_hidden_score(open_page: Open, outputs: Path) -> None:
    page = open_page(outputs)
    page.get_by_text("Columns", exact=True).click()
    page.get_by_label("test_averaged_accuracy_last", exact=True).uncheck()
    page.get_by_label("Score").select_option(label="test accuracy, last epoch, averaged weights")
    assert cells(page, "run")[0] == "runs/5"
    head(page, "parameters").get_by_role("button").click()
    page.get_by_label("Score").select_option(label="test accuracy, last epoch, raw weights")
    assert head(page, "parameters").get_attribute("aria-sort") == "ascending"


def test_pareto_line_and_corner_of_the_chart(open_page: Open, outputs: Path) -> None:
    page = open_page(outputs)
    (corner,) = page.locator("#size-figure").evaluate("(host) => host.layout.shapes")
    assert (corner["x1"], corner["y0"]) == (8000, 99.4)
    (line,) = [trace for trace in traces(page, "#size-figure") if trace["mode"] == "lines"]
    best = load_runs(outputs).query("status == 'completed'").dropna(subset="test_accuracy_last")
    better = best[["parameters", "test_accuracy_last"]].sort_values(
        ["parameters", "test_accuracy_last"], ascending=[True, False]
    )
    front = better[better["test_accuracy_last"] > better["test_accuracy_last"].cummax().shift(fill_value=0)]
    assert [*zip(line["x"], line["y"], strict=True)] == [*front.itertuples(index=False, name=None)]


def test_run_shows_its_layers_confusions_and_mistakes(open_page: Open, outputs: Path) -> None:
    page = open_page(outputs)
    opener = page.get_by_role("button", name="runs/2", exact=True)
    opener.press("Enter")
    dialog = page.get_by_role("dialog", name="runs/2")
    expect(dialog.get_by_role("region", name="Layers").locator("tbody tr")).to_have_text(
        ["1Conv2d 3x345", "2Linear2,200"]
    )
    wrong = dialog.locator(".confusion tbody tr").nth(4).locator("td").all_inner_texts()
    assert wrong == ["", "", "", "", "992", "", "", "", "", "5", "0.50 % (5)"]
    expect(dialog.locator(".mistake")).to_have_count(10)
    expect(dialog.locator(".mistake").first).to_contain_text("4→9")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(opener).to_be_focused()
    page.get_by_role("button", name="runs/failed", exact=True).press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text("This run did not reach its final evaluation.")


def test_name_is_shown_as_text(open_page: Open, outputs: Path) -> None:
    page = open_page(outputs)
    assert f"runs/{NASTY}" in cells(page, "run")
    page.get_by_role("button", name="Clear selection").press("Enter")
    page.get_by_label(f"Select runs/{NASTY}").check()
    page.locator("#curves").scroll_into_view_if_needed()
    expect(page.locator("#curves-figure .legendtext").first).to_have_text(f"runs/{NASTY}")
    expect(page.locator("#size-figure .legend")).to_contain_text(NASTY)
    page.get_by_role("button", name=f"runs/{NASTY}").press("Enter")
    expect(page.get_by_role("dialog", name=f"runs/{NASTY}")).to_contain_text(ENDING)
    assert page.locator("img").count() == 0


def test_page_shows_studies_and_confirmations(
    open_page: Open, outputs: Path, make_run: MakeRun, score: Callable[..., Any], settings: Callable[..., Any]
) -> None:
    _study(outputs / "sweeps" / "s" / "study.db")
    (outputs / "sweeps" / "broken").mkdir()
    (outputs / "sweeps" / "broken" / "study.db").write_bytes(b"no database" * 100)
    for seed, accuracy in zip((1000, 1001, 1002), (99.4, 99.5, 99.45), strict=True):
        make_run(
            f"o/confirmations/c/seeds/{seed}",
            config=settings(seed=seed),
            scores=[score("test", "raw", "last", accuracy)],
        )
    make_run("o/confirmations/r/seeds/100", scores=[score("test", "raw", "last", 99.6)])
    (outputs / "confirmations" / "r" / "confirmation.json").write_text('{"ranking": true}')
    page = open_page(outputs)
    titles = [f"{kind}: test accuracy, last epoch, raw weights" for kind in ("Confirmations", "Rankings")]
    expect(page.locator("#confirmations h3")).to_have_text(titles)
    expect(page.locator("#confirmations-body")).to_contain_text("the best of many scores is biased upward")
    expect(page.locator("#notes")).to_contain_text("broken/study.db cannot be read as a study")
    page.locator("#confirmations").scroll_into_view_if_needed()
    expect(page.locator("#confirmations .main-svg").first).to_be_visible()
    seeds, mean = traces(page, f'#confirmations .figure[aria-label="{titles[0]}"]')
    assert sorted(seeds["x"]) == [99.4, 99.45, 99.5]
    assert mean["x"] == [pytest.approx(99.45)]
    shown = page.locator(f'#confirmations .figure[aria-label="{titles[0]}"]').evaluate(
        "(host) => host.layout.xaxis.range"
    )
    assert shown == pytest.approx([99.35, 99.55])  # the interval over the seeds is 99.33 to 99.57
    expect(page.locator("#confirmations tbody td").nth(5)).to_have_text("99.450")
    expect(page.locator(".study summary").first).to_have_text(re.compile("s 20 complete, 1 pruned, 1 refused"))
    for figure in page.locator(".study .figure").all():
        figure.scroll_into_view_if_needed()
        expect(figure.locator(".main-svg").first).to_be_visible()
    assert page.locator(".study .figure").count() == 5
    expect(page.locator(".study")).to_contain_text("Share in being among the best 5 of 20 complete trials")
    page.locator("summary", has_text="Trials as a table").press("Enter")
    expect(page.get_by_role("region", name="Trials of s").locator("tbody tr")).to_have_count(21)


def test_study_charts_are_drawn_once_per_objective(open_page: Open, outputs: Path) -> None:
    path = outputs / "sweeps" / "s" / "study.db"
    study = optuna.create_study(storage=f"sqlite:///{path}", study_name="two", directions=["maximize", "minimize"])
    of = {"x": FloatDistribution(0, 1)}
    for place in range(20):
        study.add_trial(optuna.create_trial(params={"x": place / 20}, distributions=of, values=[place, 2 * place]))
    optuna.create_study(storage=f"sqlite:///{path}", study_name="empty")  # with two studies, both are closed at first
    page = open_page(outputs)
    counting = (
        "(name) => { const build = globalThis[name]; globalThis[name] = (...all) => (built[name]++, build(...all)) }"
    )
    charts = ["historyFigure", "curvesOfTrials", "importanceFigure", "slicesFigure", "parallelFigure"]
    page.evaluate("(charts) => { globalThis.built = Object.fromEntries(charts.map((name) => [name, 0])) }", charts)
    for chart in charts:
        page.evaluate(counting, chart)
    page.locator(".study summary", has_text="two").first.press("Enter")

    def draw() -> None:
        expect(page.locator(".study .figure")).to_have_count(4)  # no trial reported a score by epoch
        for figure in page.locator(".study .figure").all():
            chart, looks = figure.locator(".main-svg").first, 0
            while not chart.is_visible():  # a chart above it may have moved it out of view before it was drawn
                figure.scroll_into_view_if_needed()
                page.wait_for_timeout(100)
                looks += 1
                assert looks < PATIENCE_MS / 100

    draw()
    assert page.evaluate("() => built") == dict.fromkeys(charts, 1) | {"curvesOfTrials": 0}
    before = page.evaluate("() => figures.size")
    page.get_by_label("Objective").select_option(index=1)
    draw()
    assert page.evaluate("() => built") == dict.fromkeys(charts, 2) | {"curvesOfTrials": 0}
    assert page.evaluate("() => figures.size") == before
    assert page.evaluate("() => [...figures.keys()].every((host) => host.isConnected)")
    page.locator(".study summary", has_text="empty").first.press("Enter")
    expect(page.locator(".study", has_text="empty").get_by_text("Nothing to show yet.")).to_have_count(4)


def _study(path: Path) -> None:
    study = optuna.create_study(storage=f"sqlite:///{path}", study_name="s", direction="maximize")
    of = {"optim": CategoricalDistribution(["sgd", "adam"]), "optim.lr": FloatDistribution(1e-3, 1, log=True)}
    for place in range(20):
        params = {"optim": "sgd" if place % 2 else "adam", "optim.lr": 10 ** (-place / 7)}
        curve = {1: 90.0, 2: 95.0 + place / 10}
        study.add_trial(optuna.create_trial(params=params, distributions=of, value=curve[2], intermediate_values=curve))
    study.add_trial(optuna.create_trial(state=TrialState.PRUNED, intermediate_values={1: 50.0}))
    study.add_trial(optuna.create_trial(state=TrialState.FAIL, user_attrs={"refused": "too large"}))


def test_charts_have_no_button_that_needs_a_network(open_page: Open, outputs: Path) -> None:
    buttons = open_page(outputs).locator("#size-figure .modebar-btn")
    assert {button.get_attribute("data-title") for button in buttons.all()} == {
        *("Download plot as a PNG", "Zoom", "Pan", "Zoom in", "Zoom out", "Reset axes"),
    }


def test_points_below_a_chart_are_counted(
    open_page: Open, outputs: Path, make_run: MakeRun, score: Callable[..., Any]
) -> None:
    metrics = "epoch,test_accuracy\n1,12.5\n2,98.5\n3,99.0\n4,99.1\n5,99.2\n"
    for name, accuracy in (("low", 20.25), ("lower", 10.0)):
        make_run(f"o/runs/{name}", metrics=metrics, scores=[score("test", "raw", "last", accuracy)])
    page = open_page(outputs)
    expect(page.locator("#size-figure")).to_contain_text("3 points below, down to 10.00 %")
    page.get_by_role("button", name="Clear selection").press("Enter")
    page.get_by_label("Select runs/low", exact=True).check()
    page.locator("#curves").scroll_into_view_if_needed()
    expect(page.locator("#curves-figure")).to_contain_text("1 point below, down to 12.50 %")


def test_model_may_be_named_like_a_javascript_property(
    open_page: Open, make_run: MakeRun, settings: Callable[..., Any], tmp_path: Path
) -> None:
    names = ("__proto__", "constructor", "m3")
    for place, model in enumerate(names):
        make_run(f"o/runs/{place}", config=settings(seed=place, model__name=model))
    legend = open_page(tmp_path / "o").locator("#size-figure .legend")
    for name in names:
        expect(legend).to_contain_text(name)


def test_page_without_any_score_shows_the_table(open_page: Open, make_run: MakeRun, tmp_path: Path) -> None:
    (make_run("o/x") / "result.json").write_text("{")
    page = open_page(tmp_path / "o", drawn=False)
    assert cells(page, "status") == ["unreadable"]
    expect(page.locator("#size-about")).to_have_text("No run has been evaluated yet.")
    page.get_by_role("button", name="x", exact=True).press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text("result.json is damaged")


def test_dark_mode_applies_at_once_and_a_phone_fits(open_page: Open, outputs: Path) -> None:
    page = open_page(outputs, screen="phone")
    colour = "() => getComputedStyle(document.body).backgroundColor"
    tick = "() => document.querySelector('#size-figure .xtick text').style.fill"
    light = page.evaluate(colour), page.evaluate(tick)
    page.emulate_media(color_scheme="dark")
    expect(page.locator("#size-figure .xtick text").first).not_to_have_css("fill", light[1])
    assert page.evaluate(colour) != light[0]
    assert page.evaluate("() => document.documentElement.scrollWidth") <= PHONE["viewport"]["width"]
    page.locator("#size-figure").scroll_into_view_if_needed()
    box = page.locator("#size-figure").bounding_box()
    assert box is not None
    before = page.evaluate("() => [scrollY, document.querySelector('#size-figure').layout.yaxis.range]")
    _swipe_up(page, box["x"] + 150, box["y"] + 400)
    page.wait_for_function("(before) => scrollY > before + 100", arg=before[0])
    after = page.evaluate("() => document.querySelector('#size-figure').layout.yaxis.range")
    assert after == before[1], "a finger on a chart scrolls and does not zoom"
    page.get_by_role("button", name="runs/2", exact=True).tap()
    assert page.get_by_role("dialog").evaluate("(dialog) => dialog.scrollWidth <= dialog.clientWidth")


def test_phone_shows_figures_beside_long_run_names(open_page: Open, make_run: MakeRun, tmp_path: Path) -> None:
    for seed in range(2):
        make_run(f"o/{'a' * 60}/confirmations/a_long_name/seeds/{seed}")
        make_run(f"o/{'b' * 60}/confirmations/a_long_name/seeds/{seed}")
    page = open_page(tmp_path / "o", screen="phone")
    for name in ("parameters", "test_accuracy_last"):
        box = head(page, name).bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= PHONE["viewport"]["width"], f"{name} lies outside of the screen"


def test_printed_page_has_every_chart_in_light_colors(open_page: Open, outputs: Path) -> None:
    """On the screen, charts far below the window are drawn only when the user scrolls to them."""
    page = open_page(outputs)
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 1400, "height": 500})
    page.reload()
    expect(page.locator("#size-figure .main-svg").first).to_be_visible()
    look = """() => {
        const hosts = [...document.querySelectorAll(".figure")].filter((host) => host.checkVisibility());
        const [chart] = document.querySelectorAll("#size-figure .main-svg");
        return {
            blank: hosts.filter((host) => !host.querySelector(".main-svg")).map((host) => host.id),
            widest: Math.max(...[...document.querySelectorAll(".figure .main-svg")].map((one) => one.clientWidth)),
            page: getComputedStyle(document.body).backgroundColor,
            text: chart.querySelector(".xtick text").style.fill,
        };
    }"""
    before = page.evaluate(look)
    assert "curves-figure" in before["blank"]
    page.evaluate(f"() => addEventListener('beforeprint', () => {{ window.printed = ({look})(); }})")
    page.pdf(format="A4")
    printed = page.evaluate("() => printed")
    assert printed["blank"] == []
    assert printed["widest"] <= 210 / 25.4 * 96  # A4 is 210 mm wide, a CSS pixel 1/96 inch
    assert printed["page"] != before["page"]
    assert printed["text"] != before["text"]
    after = page.evaluate(look)
    assert {**after, "blank": before["blank"]} == before
    page.emulate_media(media="print")
    expect(page.get_by_role("searchbox")).to_be_hidden()
    table = page.locator("#runs-table .scroll")
    assert table.evaluate("(table) => table.clientHeight === table.scrollHeight"), "no row is cut off"


def _swipe_up(page: Page, x: float, y: float) -> None:
    fingers = page.context.new_cdp_session(page)
    fingers.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    for moved in range(30, 330, 30):
        fingers.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [{"x": x, "y": y - moved}]})
    fingers.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


@pytest.mark.slow
def test_page_with_a_thousand_runs_opens_quickly(open_page: Open, outputs: Path) -> None:
    record, metrics = RunRecord.read(outputs / "runs" / "3"), (outputs / "runs" / "3" / "metrics.csv").read_text()
    for place in range(1000 - 9):
        record.config["seed"] = place
        folder = outputs / "grids" / "2025-11-01" / "10-00-00" / str(place)
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps(asdict(record)))
        (folder / "metrics.csv").write_text(metrics)
        (folder / "mistakes.npz").write_bytes((outputs / "runs" / "3" / "mistakes.npz").read_bytes())
    took = []
    for _ in range(3):  # the best of three, because other programs may use the machine
        page = open_page(outputs)
        took.append(page.evaluate("() => performance.getEntriesByType('navigation')[0].loadEventEnd / 1000"))
        if took[-1] <= OPEN_WITHIN_S:
            break
    assert min(took) <= OPEN_WITHIN_S
    expect(page.locator("#runs-table tbody tr")).to_have_count(100)
    page.get_by_role("button", name="All 1,000").press("Enter")
    expect(page.locator("#runs-table tbody tr")).to_have_count(1000)


def test_digit_is_drawn_on_the_page_of_runs(open_page: Open, make_run: MakeRun, tmp_path: Path) -> None:
    make_run("o/x")
    page = open_page(tmp_path / "o", "--draw", "smallest")
    page.get_by_role("link", name="Draw a digit").press("Enter")
    drawing = page.frame_locator("#draw-frame")
    expect(drawing.locator("#layers li").last).to_be_visible()
    paper = drawing.locator("#paper")
    paper.hover(position={"x": 140, "y": 50})  # waits until the frame has its final height
    page.mouse.down()
    paper.hover(position={"x": 140, "y": 140})
    paper.hover(position={"x": 140, "y": 230})
    page.mouse.up()
    expect(drawing.locator("#answer")).to_contain_text("This is a 1")
    scrolls = "() => document.documentElement.scrollHeight > innerHeight"
    assert not page.frames[-1].evaluate(scrolls), "the frame is as high as its page"


def test_page_without_a_network_has_no_drawing(open_page: Open, make_run: MakeRun, tmp_path: Path) -> None:
    make_run("o/x")
    page = open_page(tmp_path / "o")
    expect(page.locator("#draw")).to_be_hidden()
    expect(page.locator("#draw-link")).to_be_hidden()
