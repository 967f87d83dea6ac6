"""The content of the page, without a browser. test_page_in_browser.py tests its behaviour."""

import base64
import hashlib
import io
import json
import math
import re
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from matplotlib.image import imread
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState

from mnist_compact.cli.report import main
from mnist_compact.common.statistics import Summary
from mnist_compact.deploy.drawing_page import drawing_page
from mnist_compact.reports.confirmations import confirmations
from mnist_compact.reports.page import details as details_of
from mnist_compact.reports.page.columns import column, runs_table
from mnist_compact.reports.page.details import details
from mnist_compact.reports.page.document import SCRIPTS, page_data, render
from mnist_compact.reports.page.studies import EXPORTED, FEWEST, studies
from mnist_compact.reports.plots import read_mistakes
from mnist_compact.reports.published import published
from mnist_compact.reports.tables import load_runs
from mnist_compact.search.transfer import export_study, write
from mnist_compact.zoo.registry import load

MakeRun = Callable[..., Path]


def embedded(page: str) -> Any:
    """The data of a page, extracted as an HTML parser does: up to the next end of a script."""
    return json.loads(page.split('<script id="data" type="application/json">')[1].split("</script")[0])


# Table of runs


def test_columns_hold_the_values_of_the_frame(make_run: MakeRun, settings: Callable[..., Any], tmp_path: Path) -> None:
    make_run("o/a", config=settings(optim__lr=0.1, seed=2**60))
    make_run("o/b", config=settings(optim__lr=1e-05), scores=[], reason="no memory", status="failed")
    frame = load_runs(tmp_path / "o")
    result = {column["name"]: column for column in runs_table(frame)["columns"]}
    assert result["run"]["values"] == ["a", "b"]
    assert result["optim.lr"]["values"] == [0.1, 1e-05]
    assert result["test_accuracy_last"] | {"about": ""} == {
        **{"name": "test_accuracy_last", "kind": "number", "decimals": 2, "grouped": False},
        **{"values": [99.0, None], "about": "", "shown": True},
    }
    assert result["seed"]["kind"] == "text"  # too large for the numbers of JavaScript
    assert result["seed"]["values"] == [str(2**60), "0"]
    assert result["model.conv_bias"]["values"] == [False, False]
    assert result["started_at"]["values"] == ["2025-11-20 10:00:00 UTC"] * 2
    assert "study" not in result  # no run has a value


def test_non_finite_values_are_missing() -> None:
    assert column("x", pd.Series([1.5, math.nan, math.inf]))["values"] == [1.5, None, None]


def test_scores_are_separate_with_the_final_ones_first(
    make_run: MakeRun, score: Callable[..., Any], tmp_path: Path
) -> None:
    for place in range(2):
        make_run(
            f"o/{place}", scores=[score("holdout", "raw", "last", 98.0), score("holdout", "averaged", "last", 98.1)]
        )
    make_run("o/2")
    scores = runs_table(load_runs(tmp_path / "o"))["scores"]
    assert [one["column"] for one in scores] == [
        *("holdout_averaged_accuracy_last", "test_accuracy_last", "holdout_accuracy_last", "test_accuracy_best")
    ]
    assert scores[0] == {"column": scores[0]["column"], "split": "holdout", "weights": "averaged", "at": "last"}


# Single runs


def test_mistakes_are_embedded_as_images(make_run: MakeRun) -> None:
    folder = make_run(mistakes=30)
    result = details([str(folder)], [[99.0]])["mistakes"][0]
    sheet = imread(io.BytesIO(base64.b64decode(result["png"])))[..., 0]  # grey: red, green and blue are equal
    mistakes = read_mistakes(folder)
    assert len(result["images"]) == details_of.MISTAKES_ON_PAGE
    for place, image in enumerate(result["images"]):
        top, left = 28 * (place // details_of.SPRITES_IN_A_ROW), 28 * (place % details_of.SPRITES_IN_A_ROW)
        np.testing.assert_allclose(
            255 * sheet[top : top + 28, left : left + 28], 255 - mistakes.image[place], atol=0.01
        )
        assert (image["label"], image["predicted"]) == (mistakes.label[place], mistakes.predicted[place])


def test_page_has_mistakes_of_the_best_runs_by_each_score(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(details_of, "MOST_WITH_MISTAKES", 3)
    runs = [str(make_run(f"o/{place}", mistakes=1)) for place in range(5)]
    scores = [[1.0, 5.0, 4.0, None, None], [None, None, 1.0, 2.0, 3.0]]
    result = details(runs, scores)
    assert [*result["mistakes"]] == [1, 2, 4]  # the best run of each score, then the second best of the first score
    assert result["more_with_mistakes"] == [0, 3]
    (Path(runs[1]) / "mistakes.npz").unlink()
    result = details(runs, scores)
    assert ([*result["mistakes"]], result["more_with_mistakes"]) == (
        [2, 3, 4],
        [0],
    )  # runs without mistakes do not count


def test_values_shared_by_runs_are_stored_once(make_run: MakeRun) -> None:
    runs = [make_run("o/a"), make_run("o/b"), make_run("o/c", metrics=None, confusion=None)]
    for run in runs[:2]:
        (run / "layers.csv").write_text("index,layer,parameters\n1,Conv2d 3x3,45\n2,Linear,220\n")
    result = details([*map(str, runs)], [])
    assert result["layers"]["of"] == [0, 0, None]
    assert result["layers"]["tables"] == [
        {"columns": ["index", "layer", "parameters"], "rows": [[1, "Conv2d 3x3", 45], [2, "Linear", 220]]}
    ]
    (head,) = result["curves"]["heads"]
    first, _, none = result["curves"]["runs"]
    assert dict(zip(head, first["values"], strict=True))["test_accuracy"] == [97, 99.05, 99]
    assert none is None
    assert result["confusions"][0][4][9] == 5
    assert result["confusions"][2] is None


def test_damaged_file_affects_only_its_own_part(make_run: MakeRun) -> None:
    folder = make_run(mistakes=3)
    (folder / "mistakes.npz").write_bytes(b"PK")
    (folder / "layers.csv").write_text("index,layer\n1\n")
    (folder / "result.json").write_text("{")
    result = details([str(folder)], [[99.0]])
    assert (result["mistakes"], result["confusions"]) == ({0: None}, [None])
    assert result["layers"]["tables"][0]["rows"] == []


def _npy(array: Any) -> bytes:
    held = io.BytesIO()
    np.save(held, array)
    return held.getvalue()


def _mistakes_with(**changes: Any) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        with np.load(folder / "mistakes.npz") as arrays:
            whole = dict(arrays)
        np.savez(folder / "mistakes.npz", **whole | changes)

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "mistakes.npz").write_bytes(b""),
        lambda folder: (folder / "mistakes.npz").write_bytes((folder / "mistakes.npz").read_bytes()[:400]),
        lambda folder: (folder / "mistakes.npz").write_bytes(b"\0" * 5000),
        lambda folder: (folder / "mistakes.npz").write_bytes(_npy(np.arange(3))),
        _mistakes_with(confidence=np.array([0.9, np.nan, 0.8])),
        _mistakes_with(confidence=np.array([0.9])),
        _mistakes_with(label=np.array(["4", "4", "4"])),
        _mistakes_with(index=np.array(0)),
        _mistakes_with(image=np.zeros((3, 5, 5), np.uint8)),
        _mistakes_with(image=np.full((3, 28, 28), np.nan)),
    ],
)
def test_damaged_mistakes_are_null_on_the_page(make_run: MakeRun, damage: Callable[[Path], Any]) -> None:
    folder = make_run(mistakes=3)
    damage(folder)
    with pytest.raises(ValueError, match=r"mistakes\.npz cannot be read"):
        read_mistakes(folder)
    data = page_data(load_runs(folder), [folder])
    assert data["details"]["mistakes"] == {0: None}
    render(data)


LONG, DIGITS = "x" * 200_000, "1" * 5000


@pytest.mark.parametrize(
    ("text", "columns", "rows"),
    [
        ("", [], []),
        ("\0" * 200_000 + "\n", [], []),
        (f"index,layer\n1,Linear\n2,{LONG}\n3,Conv2d\n", ["index", "layer"], [[1, "Linear"], [3, "Conv2d"]]),
        (f"index,layer\n{DIGITS},Linear\n", ["index", "layer"], [[DIGITS, "Linear"]]),
        ("index,layer\n1,Linear\n2", ["index", "layer"], [[1, "Linear"]]),
    ],
)
def test_readable_part_of_a_damaged_layer_table_is_shown(
    make_run: MakeRun, text: str, columns: list[str], rows: list[list[int | str]]
) -> None:
    folder = make_run()
    (folder / "layers.csv").write_text(text)
    data = page_data(load_runs(folder), [folder])
    assert data["details"]["layers"] == {"tables": [{"columns": columns, "rows": rows}], "of": [0]}
    render(data)


NAN, WHOLE = float("nan"), [[98, 2], [1, 99]]


@pytest.mark.parametrize(
    ("confusion", "message"),
    [
        (WHOLE, WHOLE),
        ([[98, NAN], [1, 99]], None),
        ([[98, 2.5], [1, 99]], None),
        ([[98, 2], [1, -1]], None),
        ([[98, True], [1, 99]], None),
        ([[98, 2], [1]], None),
        ([[98, 2]], None),
        ([98, 2], None),
        ({"0": 1}, None),
        (None, None),
    ],
)
def test_confusion_matrix_is_a_square_of_counts_or_null(make_run: MakeRun, confusion: Any, message: Any) -> None:
    folder = make_run()
    raw = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps(raw | {"confusion": confusion, "status": "running"}))
    data = page_data(load_runs(folder), [folder])
    assert data["details"]["confusions"] == [message]
    render(data)


# Confirmations


def test_confirmations_are_summarized_by_split_and_weights(
    make_run: MakeRun, settings: Callable[..., Any], score: Callable[..., Any], tmp_path: Path
) -> None:
    for seed, accuracy in zip(range(1000, 1003), (99.4, 99.5, 99.3), strict=True):
        raw = score("test", "raw", "last", 99.0)
        scores = [raw, score("test", "averaged", "last", accuracy)]
        make_run(f"confirmations/c/seeds/{seed}", config=settings(seed=seed), scores=scores)
        make_run(
            f"confirmations/d/seeds/{seed}", config=settings(seed=seed), scores=[score("holdout", "raw", "last", 98.0)]
        )
    make_run("confirmations/c/seeds/1003", status="diverged", scores=[])
    make_run("confirmations/e/seeds/1000", status="running", scores=[])
    (tmp_path / "confirmations/c/confirmation.json").write_text('{"source": "trial s:1"}')
    make_run("mine/f/seeds/1000", config=settings(seed=None))  # no point without a seed
    (tmp_path / "mine/f/confirmation.json").write_text("[]")
    frame = load_runs(tmp_path)
    c, d, e, f = sorted(confirmations(frame, frame)["groups"], key=lambda group: group["name"])
    result = Summary.of([99.4, 99.5, 99.3])
    assert (c["split"], c["weights"], c["runs"], c["source"]) == ("test", "averaged", 4, "trial s:1")
    assert dict(zip(c["seeds"], c["accuracies"], strict=True)) == {1000: 99.4, 1001: 99.5, 1002: 99.3}
    assert c["summary"]["mean"] == pytest.approx(result.mean)
    assert (c["summary"]["low"], c["summary"]["high"]) == pytest.approx((result.low, result.high))
    assert (d["split"], d["weights"], d["summary"]["n"]) == ("holdout", "raw", 3)
    assert (e["seeds"], e["summary"]) == ([], None)
    assert (f["source"], f["runs"], f["seeds"]) == ("", 1, [])


def test_condition_on_scores_does_not_truncate_confirmations(
    make_run: MakeRun, settings: Callable[..., Any], score: Callable[..., Any], tmp_path: Path
) -> None:
    for name, accuracies in {"c": (99.5, 99.3, 99.45), "low": (99.0, 99.1, 99.2)}.items():
        for seed, accuracy in enumerate(accuracies, start=1000):
            scores = [score("test", "raw", "last", accuracy)]
            make_run(f"o/confirmations/{name}/seeds/{seed}", config=settings(seed=seed), scores=scores)
    main([str(tmp_path / "o"), "--where", "accuracy > 99.4", "--page", str(tmp_path / "x.html")])
    result = embedded((tmp_path / "x.html").read_text(encoding="utf-8"))
    assert result["runs"]["count"] == 2
    (c,) = result["confirmations"]["groups"]
    assert (c["name"], c["runs"], c["seeds"]) == ("c", 3, [1000, 1001, 1002])
    assert c["summary"]["mean"] == pytest.approx(Summary.of([99.5, 99.3, 99.45]).mean)
    (note,) = result["notes"]
    assert note.startswith("This page shows 2 of 6 runs, selected by “accuracy > 99.4”. ")
    assert "summarized with all its runs" in note


# Studies


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A database with 40 complete trials of two branches, a pruned, a refused, a waiting and two prior trials."""
    path = tmp_path / "sweeps" / "s" / "study.db"
    path.parent.mkdir(parents=True)
    made = optuna.create_study(storage=f"sqlite:///{path}", study_name="s", direction="maximize")
    optim, rate = CategoricalDistribution(["sgd", "adam"]), FloatDistribution(1e-3, 1, log=True)
    trials = []
    for place in range(40):
        branch = {"optim.momentum": FloatDistribution(0, 1)} if place % 2 else {}
        branch |= {"optim.rare": FloatDistribution(0, 1)} if place < 3 else {}
        params = {
            "optim": "sgd" if place % 2 else "adam",
            "optim.lr": 10 ** (-place / 14),
            **dict.fromkeys(branch, 0.9),
        }
        of = {"optim": optim, "optim.lr": rate, **branch}
        curve = {1: 90.0, 2: 95.0 + place / 10}
        trials.append(
            optuna.create_trial(
                params=params,
                distributions=of,
                value=curve[2],
                intermediate_values=curve,
                user_attrs={"parameters": 3000},
            )
        )
    trials.append(optuna.create_trial(state=TrialState.PRUNED, intermediate_values={1: 50.0}))
    trials.append(optuna.create_trial(state=TrialState.FAIL, user_attrs={"refused": "too large"}))
    trials.append(optuna.create_trial(state=TrialState.WAITING))
    made.add_trials(trials)
    made.set_user_attr("frozen", {"prior": [{"study": "earlier"}] * 2})
    return path


def test_showing_a_study_does_not_change_it(study: Path, tmp_path: Path) -> None:
    before = hashlib.sha256(study.read_bytes()).hexdigest()
    (result,), faults = studies(
        [tmp_path, study.parent, tmp_path / "sweeps"]
    )  # listed once, even if it is found several times
    assert faults == []
    assert result["counts"] == {"complete": 40, "pruned": 1, "failed": 0, "running": 0, "waiting": 1, "refused": 1}
    assert result["prior"] == 2
    assert result["objectives"] == [{"name": "score", "maximize": True}]
    assert [trial["number"] for trial in result["trials"]] == [*range(41), 42]
    assert result["trials"][40] == {
        **result["trials"][40],
        "state": "pruned",
        "values": [],
        "steps": [1],
        "curve": [50.0],
    }
    parameters = {parameter["name"]: parameter for parameter in result["parameters"]}
    assert parameters["optim"]["kind"] == "choice"
    assert parameters["optim.lr"]["log"]
    assert parameters["optim.momentum"]["values"][:2] == [None, 0.9]
    judged = {
        "optim",
        "optim.lr",
        "optim.momentum",
    }  # also those of a branch, but not those that only three trials have
    assert result["importances"][0].keys() == judged == parameters.keys() - {"optim.rare"}
    assert sum(result["importances"][0].values()) == pytest.approx(1, abs=0.001)
    assert hashlib.sha256(study.read_bytes()).hexdigest() == before
    assert [path.name for path in study.parent.iterdir()] == ["study.db"]


@pytest.mark.parametrize(("trials", "best"), [(20, 5), (50, 5), (51, 6), (70, 7)])
def test_importances_use_the_stated_number_of_best_trials(tmp_path: Path, trials: int, best: int) -> None:
    """Only `near` separates the best trials from the others; with one trial more or less, `far` would contribute."""
    made = optuna.create_study(storage=f"sqlite:///{tmp_path / 'study.db'}", direction="maximize")
    of = {"near": CategoricalDistribution([0, 1]), "far": CategoricalDistribution([0, 1])}
    for place in range(trials):
        params = {"near": int(place >= trials - best), "far": place % 2}
        made.add_trial(optuna.create_trial(params=params, distributions=of, value=90 + place / 10))
    (result,), _ = studies([tmp_path])
    assert result["best"] == best
    shares = optuna.importance.get_param_importances(
        made, evaluator=optuna.importance.PedAnovaImportanceEvaluator(target_quantile=best / trials - 1e-9)
    )
    assert result["importances"][0] == pytest.approx(shares, abs=0.001)


def test_refused_trials_do_not_affect_importances(study: Path) -> None:
    """Some samplers store refused trials as complete trials with the worst value."""
    (before,), _ = studies([study.parent])
    made = optuna.load_study(study_name="s", storage=f"sqlite:///{study}")
    like = next(trial for trial in made.trials if trial.params)
    for _ in range(30):
        refused = {"params": like.params, "distributions": like.distributions, "user_attrs": {"refused": "too large"}}
        made.add_trial(optuna.create_trial(value=0.0, **refused))
    (after,), _ = studies([study.parent])
    assert after["importances"] == before["importances"]
    assert after["counts"] == {**before["counts"], "refused": 31}


def test_exported_study_is_shown_like_its_database(study: Path, tmp_path: Path) -> None:
    evidence = tmp_path / "evidence" / "question"
    evidence.mkdir(parents=True)
    write(evidence / f"s{EXPORTED}", export_study(optuna.storages.RDBStorage(f"sqlite:///{study}"), "s"))
    (evidence / f"broken{EXPORTED}").write_bytes(b"no export")
    (there,), _ = studies([study.parent])
    for path in (evidence, evidence.parent):
        (result,), (fault,) = studies([path])
        assert result == there | {"path": str(evidence / f"s{EXPORTED}")}
        assert fault.startswith(f"{evidence / f'broken{EXPORTED}'} cannot be read as a study: ConfigError")


def test_studies_are_found_at_any_depth(study: Path, tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b" / "evidence" / "question"
    for folder in (deep, tmp_path / "c" / "seeds" / "1000"):
        folder.mkdir(parents=True)
        write(folder / f"s{EXPORTED}", export_study(optuna.storages.RDBStorage(f"sqlite:///{study}"), "s"))
    elsewhere = tmp_path / "a" / "b" / "outputs" / "sweeps" / "shared"
    (elsewhere / "trials" / "0000").mkdir(parents=True)
    (elsewhere / "trials" / "study.db").write_bytes(b"none of a study's")
    result, (missed,) = studies([tmp_path])
    assert [one["path"] for one in result] == [str(deep / f"s{EXPORTED}"), str(study)]
    assert missed.startswith("shared is in another storage. To show it here, export it: ")
    assert missed.endswith(f" --out {elsewhere.parent}/shared{EXPORTED}")


def test_study_in_another_storage_is_reported(study: Path, tmp_path: Path) -> None:
    outputs = tmp_path / "o"
    home = outputs / "sweeps" / "shared"
    (home / "trials" / "0000").mkdir(parents=True)
    for path in (home, home.parent, outputs):
        assert studies([path]) == (
            [],
            [
                "shared is in another storage. To show it here, export it: python -m mnist_compact.study export "
                f"shared --storage <URL> --out {home.parent}/shared{EXPORTED}"
            ],
        )
    exchange = export_study(optuna.storages.RDBStorage(f"sqlite:///{study}"), "s")
    write(home.parent / f"shared{EXPORTED}", exchange | {"name": "shared"})
    (result,), faults = studies([outputs])
    assert (result["name"], faults) == ("shared", [])


def test_committed_evidence_is_on_its_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evidence = Path(__file__).parents[2] / "evidence" / "under_8k"
    main([str(evidence), "--page", str(tmp_path / "x.html")])
    result = embedded((tmp_path / "x.html").read_text(encoding="utf-8"))
    assert {study["name"] for study in result["studies"]} == {
        path.name.removesuffix(EXPORTED) for path in evidence.glob(f"*{EXPORTED}")
    }
    for study in result["studies"]:
        assert study["counts"]["complete"] > FEWEST
        assert study["importances"][0]
        assert study["path"] == str(evidence / f"{study['name']}{EXPORTED}")
    kinds = {group["name"]: group["kind"] for group in result["confirmations"]["groups"]}
    assert (kinds["under_8k_plain"], kinds["under_8k-65-ranking"]) == ("confirmation", "ranking")
    assert list(kinds)[:2] == ["under_8k", "under_8k_plain"]  # confirmations before rankings, sorted best first
    means = [group["summary"]["mean"] for group in result["confirmations"]["groups"] if group["kind"] == "ranking"]
    assert means == sorted(means, reverse=True) != []
    assert result["notes"] == []


def test_too_few_trials_have_no_importances(tmp_path: Path) -> None:
    made = optuna.create_study(storage=f"sqlite:///{tmp_path / 'study.db'}", directions=["maximize", "minimize"])
    of = {"x": FloatDistribution(0, 1)}
    made.add_trials(
        [optuna.create_trial(params={"x": 0.5}, distributions=of, values=[1, 2]) for _ in range(FEWEST - 1)]
    )
    (result,), _ = studies([tmp_path])
    assert result["importances"] == [{}, {}]
    assert [one["name"] for one in result["objectives"]] == ["score 0", "score 1"]


@pytest.mark.parametrize("content", [b"", b"no database at all" * 100])
def test_damaged_study_is_one_line_on_the_page(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "study.db").write_bytes(content)
    result, (fault,) = studies([tmp_path])
    assert result == []
    assert fault.startswith(f"{tmp_path / 'study.db'} cannot be read as a study")
    assert "\n" not in fault
    assert (tmp_path / "study.db").read_bytes() == content


# File


def test_names_cannot_end_the_embedded_data(make_run: MakeRun, settings: Callable[..., Any], tmp_path: Path) -> None:
    name = "</script><script>alert(1)</script><!--"
    make_run("o/x", config=settings(experiment=name))
    data = page_data(load_runs(tmp_path / "o"), [tmp_path / "o"])
    page = render(data)
    assert name not in page
    result = embedded(page)
    assert result == json.loads(json.dumps(data))
    assert next(one for one in result["runs"]["columns"] if one["name"] == "experiment")["values"] == [name]


def test_page_contains_every_script() -> None:
    here = files("mnist_compact.reports.page")
    assert {f"js/{path.name}" for path in here.joinpath("js").iterdir()} == set(SCRIPTS)
    for name in SCRIPTS:
        text = here.joinpath(name).read_text(encoding="utf-8")
        assert "</script" not in text
        assert "innerHTML" not in text
        assert text.count("\n") <= 250


def test_scripts_use_only_keys_of_the_page_data(make_run: MakeRun, tmp_path: Path) -> None:
    here, data = files("mnist_compact.reports.page"), page_data(load_runs(make_run("o/x")), [tmp_path / "o"])
    scripts = "".join(here.joinpath(name).read_text(encoding="utf-8") for name in SCRIPTS)
    assert set(re.findall(r"\bdata\.(\w+)", scripts)) == data.keys()


def test_published_results_name_their_sources() -> None:
    result = published()
    assert {(3928, 98.65), (6188, 99.44), (7752, 99.55)} <= {(one["parameters"], one["accuracy"]) for one in result}
    assert {one["accuracy"] for one in result if "more than" in one["measured"]} == {99.0}
    assert all(one["bound"] == ("more than" if "more than" in one["measured"] else "") for one in result)
    assert all(one["source"] and one["measured"] and one["at"] in ("last", "best", "") for one in result)
    assert all(500 < one["parameters"] < 50_000 and 98 < one["accuracy"] < 100 for one in result)


def test_command_writes_the_page(make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for place in range(3):
        make_run(f"o/{place}", started_at=f"2025-11-2{place}T10:00:00+00:00")
    out = tmp_path / "new" / "report.html"
    main([str(tmp_path / "o"), "--where", "started_at >= '2025-11-21'", "--page", str(out)])
    assert capsys.readouterr().out.startswith(f"{out}: 2 runs, ")
    result = embedded(out.read_text(encoding="utf-8"))
    assert result["runs"]["columns"][0]["values"] == ["1", "2"]


def test_folder_without_runs_gives_a_message_and_no_page(
    make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run("o/x")
    main([str(tmp_path / "o"), "--where", "parameters < 0", "--page", str(tmp_path / "report.html")])
    assert capsys.readouterr() == ("", "Nothing matches parameters < 0.\n")
    assert not (tmp_path / "report.html").exists()


def test_page_contains_the_page_for_drawing(tmp_path: Path, make_run: MakeRun) -> None:
    make_run("o/x")
    main([str(tmp_path / "o"), "--page", str(tmp_path / "report.html"), "--draw", "smallest"])
    drawing = embedded((tmp_path / "report.html").read_text(encoding="utf-8"))["drawing"]
    assert drawing == {"network": "smallest of the zoo", "page": drawing_page(load("smallest"), "smallest of the zoo")}


def test_page_for_an_unknown_network_is_not_written(
    tmp_path: Path, make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run("o/x")
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path / "o"), "--page", str(tmp_path / "report.html"), "--draw", "small"])
    assert "no 'small' in the zoo" in capsys.readouterr().err
    assert not (tmp_path / "report.html").exists()


def test_drawing_without_a_page_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--draw", "smallest"])
    assert "--draw requires --page FILE" in capsys.readouterr().err


@pytest.mark.parametrize("option", [["--sort", "run"], ["--columns", "run"], ["--out", "x.csv"], ["--format", "csv"]])
def test_options_that_contradict_a_page_are_refused(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--page", "x.html", *option])
    assert "--page takes PATH, --where and --draw and cannot be combined with --columns" in capsys.readouterr().err
