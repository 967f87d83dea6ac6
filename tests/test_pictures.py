"""The committed pictures are drawn from the records that are committed with them."""

import json
from pathlib import Path

import pytest

from tools import pictures

ROOT = Path(__file__).parents[1]


def manifest():
    return json.loads((ROOT / pictures.MANIFEST).read_text(encoding="utf-8"))


def test_committed_pictures_are_as_old_as_their_records():
    assert manifest()["sources"] == pictures.digests_of_sources(ROOT), "run: python -m tools.pictures"


def test_every_committed_picture_was_drawn_by_the_command():
    drawn = {path.name: pictures.digest([path], path.parent) for path in (ROOT / pictures.DOCS).glob("*.png")}
    assert manifest()["pictures"] == drawn


def test_digests_change_with_a_record_and_not_with_texts(tmp_path):
    seed = tmp_path / "evidence/question/confirmations/first/seeds/1000"
    seed.mkdir(parents=True)
    published = tmp_path / pictures.PUBLISHED
    published.parent.mkdir(parents=True)
    for path in (published, seed / "result.json", tmp_path / "evidence/question/README.md"):
        path.write_text("before")
    before = pictures.digests_of_sources(tmp_path)
    assert set(before) == {str(pictures.PUBLISHED), "evidence/question/confirmations/first"}
    (tmp_path / "evidence/question/README.md").write_text("after")
    assert pictures.digests_of_sources(tmp_path) == before
    (seed / "result.json").write_text("after")
    after = pictures.digests_of_sources(tmp_path)
    assert {name for name in before if before[name] != after[name]} == {"evidence/question/confirmations/first"}
    (seed / "metrics.csv").touch()
    assert pictures.digests_of_sources(tmp_path) != after


@pytest.mark.slow
@pytest.mark.browser
def test_page_pictures_are_drawn(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    drawn = pictures.draw_page(tmp_path)
    assert {path.name for path in drawn} < {*manifest()["pictures"]}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)
