"""Storage URLs: their file, their timeout and their printed form."""

from pathlib import Path

import pytest

from mnist_compact.search.storage_urls import WAIT_S, file_of, rule_broken_by, shown, wait_of


@pytest.mark.parametrize(
    ("url", "file", "wait_s", "printed"),
    [
        ("sqlite:///a/study.db", "a/study.db", WAIT_S, None),
        ("sqlite:////a/study.db?timeout=300", "/a/study.db", 300, None),
        ("sqlite:///a/study.db?mode=ro", None, WAIT_S, None),
        ("sqlite:///:memory:", None, WAIT_S, None),
        ("journal:///a/study.log", "/a/study.log", WAIT_S, None),
        ("postgresql://ada:secret@host:5432/db", None, WAIT_S, "postgresql://ada:***@host:5432/db"),
        ("mysql+pymysql://ada:s%40x@host/db?timeout=7", None, 7, "mysql+pymysql://ada:***@host/db?timeout=7"),
    ],
)
def test_storage_url_gives_file_timeout_and_printed_form(url, file, wait_s, printed):
    assert file_of(url) == (file and Path(file))
    assert wait_of(url) == wait_s
    assert shown(url) == (printed or url)


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("study.db", "be an Optuna URL"),
        ("sqlite:///study.db?timeout=long", "be an Optuna URL"),
        ("sqlite:///:memory:", "name a file"),
        ("sqlite://", "name a file"),
        ("sqlite:////nowhere/at/all/study.db", "be in an existing folder"),
        ("sqlite:///study.db", None),
        ("sqlite:///study.db?mode=ro", None),
        ("journal:///nowhere/at/all/study.log", None),
        ("postgresql://ada@host", None),
    ],
)
def test_invalid_storage_url_is_refused_without_opening_it(url, rule):
    found = rule_broken_by(url)
    assert found is None if rule is None else found.startswith(f"must {rule}")


def test_text_without_a_url_has_no_file_and_prints_unchanged():
    assert (file_of("study.db"), shown("study.db")) == (None, "study.db")
