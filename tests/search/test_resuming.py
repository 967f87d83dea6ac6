"""`resume=<study folder>` continues every committed study from its own files, whatever sweeps/ contains today."""

import shlex
from pathlib import Path

import pytest

from mnist_compact.cli.study import main
from mnist_compact.search import resuming
from mnist_compact.search.coordinator import SearchResult
from mnist_compact.search.create import StudySpec

STUDIES = sorted((Path(__file__).parents[2] / "evidence").glob("*/*.study.json.gz"))
# The second has an earlier form of the search, the third also an earlier form of the option `stages`.
IN_THE_GATE = ("fast_2.study.json.gz", "smallest_4.study.json.gz", "under_8k_2.study.json.gz")
BY_HAND = [path if path.name in IN_THE_GATE else pytest.param(path, marks=pytest.mark.slow) for path in STUDIES]


@pytest.fixture
def searches(monkeypatch):
    """The searches that would start. Each is checked and loads its study as usual, but starts no worker."""
    started = []

    def search(self, shown):
        self.check()
        StudySpec(
            self.name, self.folder, self.url, self.private, self.snapshot, self.points, self.exists
        ).create_or_load()
        started.append(self)
        return SearchResult(self.name, self.folder, "not searched")

    monkeypatch.setattr(resuming.Coordinator, "search", search)
    return started


@pytest.mark.parametrize("file", BY_HAND, ids=lambda path: path.name.partition(".")[0])
def test_command_printed_by_import_continues_the_study(file, searches, type_in, capsys):
    main(["import", str(file), "--name", "again"])
    line = shlex.split(capsys.readouterr().out.splitlines()[-1])
    assert line[:3] == ["python", "-m", "mnist_compact"]
    status, _, error = type_in(*line[3:])
    assert (status, error) == (0, "")
    (parent,) = searches
    assert parent.name == "again"
    assert f"hydra.sweeper.n_trials={parent.settings.n_trials}" in line
