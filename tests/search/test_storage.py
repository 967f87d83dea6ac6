"""Addresses of storages: what file they are, how long they are waited for, how they are printed."""

from pathlib import Path

import pytest

from mnist_compact.search.storage import WAIT_S, file_of, shown, wait_of


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
def test_an_address_tells_file_wait_and_how_it_is_printed(url, file, wait_s, printed):
    assert file_of(url) == (file and Path(file))
    assert wait_of(url) == wait_s
    assert shown(url) == (printed or url)


def test_what_is_no_address_is_no_file_and_printed_as_it_is():
    assert (file_of("study.db"), shown("study.db")) == (None, "study.db")
