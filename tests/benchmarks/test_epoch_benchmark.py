"""The results of `python -m benchmarks.epoch` agree with a calculation by hand."""

import pytest

from benchmarks.epoch import musts, summarise
from benchmarks.memory import RunMemory
from benchmarks.timing import verdict

SAMPLES = {
    "m3/ours": [10.0, 20.0, 10.0],
    "m3/torch's norms": [12.0, 22.0, 13.0],
    "m3/floor/channels_last": [5.0, 16.0, 8.0],
    "m3/floor/contiguous": [30.0, 30.0, 30.0],
    "m3/reference/0 workers": [50.0, 60.0, 55.0],
    "m3/reference/2 workers": [40.0, 100.0, 45.0],
    "m3 without dropout/ours": [9.0, 16.0, 9.0],
    "m3 without dropout/torch's norms": [9.0, 16.0, 9.0],
    "m3 without dropout/floor/channels_last": [5.0, 4.0, 6.0],
    "m3 without dropout/reference/0 workers": [40.0, 40.0, 40.0],
    "8K/ours": [10.0, 10.0, 10.0],
    "8K/torch's norms": [10.0, 10.0, 10.0],
    "8K/floor/channels_last": [5.0, 5.0, 5.0],
    "8K/reference/0 workers": [40.0, 40.0, 40.0],
    "under_8k/ours": [40.0, 40.0, 40.0],
    "under_8k/torch's norms": [40.0, 40.0, 40.0],
    "under_8k/floor/channels_last": [20.0, 20.0, 20.0],
    "data": [0.5, 1.0, 0.6],
    "evaluation": [234.5, 938.0, 328.3],
}


def test_ratios_are_per_round_and_the_faster_kind_counts():
    table, shares = summarise(SAMPLES)
    assert table["m3"]["kinds"] == "2 workers, channels_last"
    assert table["m3"]["reference/ours"].median == pytest.approx(4.5)  # of 4, 5 and 4.5
    assert table["m3"]["ours/floor"].median == pytest.approx(1.25)  # of 2, 1.25 and 1.25
    assert table["m3"]["torch's norms/ours"].median == pytest.approx(1.2)  # of 1.2, 1.1 and 1.3
    assert shares["dropout"].median == pytest.approx(10)  # of 10, 20 and 10 %
    assert shares["data, metrics and logging"].median == pytest.approx(5)  # of 5, 5 and 6 %
    assert shares["evaluation"].median == pytest.approx(7)  # % of an epoch of 469 steps: of 5, 10 and 7


def test_bfloat16_is_compared_with_float32_with_the_reference_and_with_the_floor_in_float32():
    networks = ("m3", "m3 without dropout", "8K", "under_8k")
    samples = SAMPLES | {f"{name}/bfloat16": [5.0, 10.0, 5.0] for name in networks}
    table, shares = summarise(samples)
    assert table["m3"]["reference/bfloat16"].median == pytest.approx(9)  # of 8, 10 and 9
    assert table["m3"]["bfloat16/floor"].median == pytest.approx(0.625)  # of 1, 0.625 and 0.625
    assert table["under_8k"]["ours/bfloat16"].median == pytest.approx(8)  # of 8, 4 and 8
    memory = RunMemory(first=500.0, later=280.0)
    added = {must.name for must in musts(table, shares, memory)} - {
        must.name for must in musts(*summarise(SAMPLES), memory)
    }
    assert added == {
        "reference/bfloat16, m3",
        "bfloat16/floor, m3 without dropout",
        "ours/bfloat16, under_8k",
    }


def test_exceeded_limit_sets_the_exit_status(capsys):
    limits = musts(*summarise(SAMPLES), RunMemory(first=500.0, later=280.0))
    assert [must.name for must in limits if not must.kept] == ["evaluation of 10,000 images, % of a training epoch"]
    assert verdict(limits, check=False) == 0
    assert verdict(limits, check=True) == 1
    assert "evaluation of 10,000 images" in capsys.readouterr().err
    assert verdict([must for must in limits if must.kept], check=True) == 0
