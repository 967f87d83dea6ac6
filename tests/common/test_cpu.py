import os

import pytest

from mnist_compact.common import cpu


@pytest.mark.parametrize(
    ("processes", "omp_num_threads", "threads"),
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
def test_parallel_processes_share_the_allowed_cores(monkeypatch, processes, omp_num_threads, threads):
    monkeypatch.setattr(cpu, "cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if omp_num_threads is not None:
        monkeypatch.setitem(os.environ, "OMP_NUM_THREADS", omp_num_threads)
    assert cpu.threads_each(processes) == threads


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine of 8 cores whose cgroup files are those given, by path below /sys/fs/cgroup."""

    def with_files(process, files):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
        monkeypatch.setattr(cpu, "PROCESS_CGROUPS", tmp_path / "process")
        monkeypatch.setattr(cpu, "CGROUPS", tmp_path / "cgroup")
        (tmp_path / "process").write_text(process)
        for name, content in files.items():
            path = tmp_path / "cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

    return with_files


V1 = "5:memory:/box\n4:cpu,cpuacct:/docker/box\n"


@pytest.mark.parametrize(
    ("process", "files", "expected"),
    [
        ("0::/\n", {}, 8),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 8),
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "250000 100000\n"}, 3),
        ("0::/\n", {"cpu.max": "20000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "1600000 100000\n"}, 8),
        ("0::/\n", {"cpu.max": "what is this\n"}, 8),
        ("0::/a/b\n", {"a/cpu.max": "300000 100000\n", "a/b/cpu.max": "max 100000\n"}, 3),
        ("0::/a/b\n", {"a/cpu.max": "300000 100000\n", "a/b/cpu.max": "100000 100000\n"}, 1),
        (V1, {"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
        (V1, {"cpu/docker/box/cpu.cfs_quota_us": "50000", "cpu/docker/box/cpu.cfs_period_us": "25000"}, 2),
        (V1, {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ("4:cpuset:/\n", {"cpu.max": "100000 100000\n"}, 8),
    ],
)
def test_cores_respect_the_quotas_of_cgroups(machine, process, files, expected):
    machine(process, files)
    assert cpu.cores() == expected


def test_cores_without_cgroups(machine, monkeypatch, tmp_path):
    machine("", {})
    monkeypatch.setattr(cpu, "PROCESS_CGROUPS", tmp_path / "absent")
    assert cpu.cores() == 8
