"""The description of the machine in a record."""

from importlib.metadata import PackageNotFoundError, version

import pytest
import torch

from mnist_compact.training import device
from mnist_compact.training.device import describe_environment, has_bfloat16


def test_checkout_without_installation_is_described(monkeypatch):
    def missing(package):
        if package == "mnist-compact":
            raise PackageNotFoundError(package)
        return version(package)

    monkeypatch.setattr("mnist_compact.training.device.version", missing)
    versions = describe_environment(torch.device("cpu"))["versions"]
    assert versions["mnist-compact"] == "not installed"
    assert versions["torch"] == version("torch")


@pytest.fixture
def cpuinfo(monkeypatch, tmp_path):
    """A file that is read in place of /proc/cpuinfo."""
    monkeypatch.setattr(device, "CPUINFO", tmp_path / "cpuinfo")
    device._cpu_entry.cache_clear()
    yield tmp_path / "cpuinfo"
    device._cpu_entry.cache_clear()


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16", True),
        ("flags\t\t: fpu avx2 amx_bf16", True),
        ("Features\t: fp asimd bf16", True),
        ("flags\t\t: fpu avx2 avx512f", False),
        ("bugs\t\t: avx512_bf16\nflags\t\t: fpu", False),
    ],
)
def test_instructions_for_bfloat16_are_read_from_the_flags_of_the_processor(cpuinfo, entry, expected):
    cpuinfo.write_text(f"processor\t: 0\nmodel name\t: A B-100\n{entry}\n")
    assert has_bfloat16(torch.device("cpu")) is expected
    assert describe_environment(torch.device("cpu"))["processor"] == "A B-100"


def test_system_without_cpuinfo_has_no_bfloat16(cpuinfo):
    assert has_bfloat16(torch.device("cpu")) is False
    assert describe_environment(torch.device("cpu"))["processor"]
