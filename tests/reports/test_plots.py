"""The plots of a run: the lines and cells agree with the data, and each file has its size."""

import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from mnist_compact.records.record import RecordError, RunRecord, Score
from mnist_compact.reports.plots import (
    Mistakes,
    confusion_figure,
    draw_confusion,
    draw_curves,
    draw_mistakes,
    draw_run,
    mistakes_figure,
    run_title,
)

MakeRun = Callable[..., Path]


def _size(png: Path) -> tuple[int, int]:
    head = png.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", head[16:24])
    return width, height


def _mistakes(count: int) -> Mistakes:
    return Mistakes(
        index=np.arange(count) + 500,
        label=np.full(count, 4),
        predicted=np.full(count, 9),
        confidence=np.linspace(0.99, 0.5, count),
        image=np.arange(1, count + 1, dtype=np.uint8)[:, None, None] * np.ones((28, 28), np.uint8),
    )


# Files


def test_draw_run_writes_all_three_pictures_and_nothing_else(make_run: MakeRun) -> None:
    folder = make_run(mistakes=6)
    before = set(folder.iterdir())
    drawn = draw_run(folder)
    assert {path.name: _size(path) for path in drawn} == {
        "curves.png": (1320, 900),
        "confusion.png": (1080, 960),
        "mistakes.png": (1320, 342),
    }
    assert set(folder.iterdir()) - before == set(drawn)


@pytest.mark.process
def test_drawing_needs_neither_pyplot_nor_torch(make_run: MakeRun) -> None:
    code = """
import sys
from mnist_compact.reports.plots import draw_run
assert len(draw_run(sys.argv[1])) == 3
assert not {"matplotlib.pyplot", "torch"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", code, str(make_run(mistakes=1))], check=True)


def test_equal_data_give_equal_files(make_run: MakeRun) -> None:
    folder = make_run(mistakes=2)
    first = [path.read_bytes() for path in draw_run(folder)]
    assert [path.read_bytes() for path in draw_run(folder)] == first


def test_draw_run_leaves_out_what_has_no_data(make_run: MakeRun) -> None:
    assert draw_run(make_run("none", metrics=None, confusion=None)) == []
    assert [path.name for path in draw_run(make_run("curves", confusion=None))] == ["curves.png"]
    assert [path.name for path in draw_run(make_run("zero", metrics=None, mistakes=0))] == [
        "confusion.png",
        "mistakes.png",
    ]


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (draw_curves, "no finished epoch"),
        (draw_confusion, "no confusion matrix"),
        (draw_mistakes, r"mistakes\.npz cannot be read"),
    ],
)
def test_drawing_without_data_names_what_is_missing(
    make_run: MakeRun, draw: Callable[[Path], Path], message: str
) -> None:
    folder = make_run(metrics=None, confusion=None)
    with pytest.raises(ValueError, match=message):
        draw(folder)
    assert list(folder.glob("*.png")) == []


def test_damaged_mistakes_are_refused_by_name(make_run: MakeRun) -> None:
    folder = make_run(mistakes=3)
    whole = (folder / "mistakes.npz").read_bytes()
    (folder / "mistakes.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"mistakes\.npz cannot be read"):
        draw_mistakes(folder)
    np.savez(folder / "mistakes.npz", index=np.arange(3))
    with pytest.raises(ValueError, match="label"):
        draw_mistakes(folder)


def test_drawing_without_a_record_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="not a run folder"):
        draw_run(tmp_path)


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        ({}, "m3 · adam · 3,928 parameters · seed 0"),
        ({"experiment": "a$b$"}, "a$b$ (m3) · adam · 3,928 parameters · seed 0"),
    ],
)
def test_title_names_the_run(
    make_run: MakeRun, settings: Callable[..., dict[str, object]], changes: dict[str, object], title: str
) -> None:
    folder = make_run(config=settings(**changes), mistakes=1)
    assert run_title(RunRecord.read(folder)) == title
    assert len(draw_run(folder)) == 3  # a dollar sign in a name does not start a formula


# Confusion matrix


def test_confusion_matrix_shows_counts_and_colours_errors_only() -> None:
    confusion = [[98, 2, 0], [0, 50, 0], [0, 0, 0]]
    figure = confusion_figure(confusion, "t")
    assert figure.get_suptitle() == "t: 2 of 150 wrong (1.33 %)"
    (axis,) = figure.axes
    coloured = axis.images[0].get_array()
    assert np.argwhere(~np.ma.getmaskarray(coloured)).tolist() == [[0, 1]]
    written = {text.get_position(): text.get_text() for text in axis.texts}
    assert (written[0, 0], written[1, 0], written[1, 1]) == ("98", "2", "50")
    assert (1, 2) not in written
    assert [written[2.7, row] for row in range(3)] == ["2.00 %  (2 of 100)", "0.00 %  (0 of 50)", "no image"]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("predicted class", "actual class")


@pytest.mark.parametrize("confusion", [np.eye(10, dtype=int).tolist(), np.zeros((10, 10), dtype=int).tolist()])
def test_confusion_matrix_without_errors_or_images_is_drawn(make_run: MakeRun, confusion: list[list[int]]) -> None:
    assert _size(draw_confusion(make_run(confusion=confusion, status="running"))) == (1080, 960)


# Mistakes


@pytest.mark.parametrize(("count", "shown", "rows"), [(1, 1, 1), (9, 9, 2), (64, 40, 5)])
def test_sheet_shows_up_to_forty_mistakes_in_order(count: int, shown: int, rows: int) -> None:
    mistakes = _mistakes(count)
    figure = mistakes_figure(mistakes, "t", total=70)
    (axis,) = figure.axes
    sheet = axis.images[0].get_array()
    cells = [cell for row in np.vsplit(sheet, rows) for cell in np.hsplit(row, 8)]
    # Every pixel of image i has the value i + 1.
    assert [sorted({*np.unique(cell)} - {0}) for cell in cells[:shown]] == [[i + 1] for i in range(shown)]
    assert all((cell == i + 1).sum() == 28 * 28 for i, cell in enumerate(cells[:shown]))
    assert not any(cell.any() for cell in cells[shown:])
    positions = {text.get_text(): text.get_position() for text in axis.texts}
    for i in range(shown):
        x, y = positions[f"#{500 + i}"]
        assert (x // (sheet.shape[1] / 8), y // (sheet.shape[0] / rows)) == (i % 8, i // 8), "below its own image"
    assert [text.get_text() for text in axis.texts[::2]] == [
        f"4→9  {100 * mistakes.confidence[i]:.0f} %" for i in range(shown)
    ]
    assert f"t: {shown} of 70 mistakes" in figure.get_suptitle()


def test_sheet_without_mistakes_has_a_message() -> None:
    figure = mistakes_figure(_mistakes(0), "t")
    assert figure.get_suptitle() == "t: no mistakes"
    assert "Every image was classified correctly." in [text.get_text() for text in figure.texts]


@pytest.mark.parametrize(("weights", "words"), [("raw", "final weights"), ("averaged", "final averaged weights")])
def test_plots_of_the_final_network_name_split_and_weights(
    make_run: MakeRun,
    score: Callable[..., Score],
    monkeypatch: pytest.MonkeyPatch,
    weights: str,
    words: str,
) -> None:
    titles: list[str] = []
    save = Figure.savefig

    def note_title(figure: Figure, *args: object, **kwargs: object) -> None:
        titles.append(figure.get_suptitle())
        save(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", note_title)
    scores = [score("holdout", "raw", "last", 99.0), score("holdout", weights, "last", 99.0)]
    draw_run(make_run(scores=scores, metrics=None, mistakes=3))
    assert [f"holdout images, {words}: " in title for title in titles] == [True, True]
    assert "100 of 10,000 wrong" in titles[0]
    assert "3 of 100 mistakes" in titles[1]
