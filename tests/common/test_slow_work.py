"""Work that takes long is announced on stderr."""

import threading

from mnist_compact.common import slow_work
from mnist_compact.common.slow_work import announced


def test_slow_work_is_announced_repeatedly(monkeypatch):
    monkeypatch.setattr(slow_work, "FIRST_S", 0.0)
    monkeypatch.setattr(slow_work, "EVERY_S", 0.0)
    lines = []
    twice = threading.Event()

    def write(line, **kwargs):
        lines.append(line)
        if len(lines) == 2:
            twice.set()

    monkeypatch.setattr(slow_work, "print", write, raising=False)
    with announced("reading"):
        assert twice.wait(60)
    assert all(line.startswith("reading: ") and line.endswith(" s so far") for line in lines)


def test_fast_work_is_not_announced(capsys):
    with announced("reading"):
        pass
    assert capsys.readouterr().err == ""
