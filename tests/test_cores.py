import os

import pytest

from mnist_compact import cores


@pytest.mark.parametrize(
    ("processes", "told", "threads"),
    [
        (1, None, 8),
        (3, None, 2),
        (20, None, 1),
        (2, "1", 1),
        (2, "3,2", 3),
        (4, "16", 2),
        (4, "0", 2),
        (4, "many", 2),
    ],
)
def test_processes_side_by_side_share_the_cores_within_what_the_user_allows(monkeypatch, processes, told, threads):
    monkeypatch.setattr(cores, "cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if told is not None:
        monkeypatch.setitem(os.environ, "OMP_NUM_THREADS", told)
    assert cores.threads_each(processes) == threads
