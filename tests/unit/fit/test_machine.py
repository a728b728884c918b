"""Free memory is the least of what the machine and every control group leave, on recorded machines."""

from pathlib import Path

import pytest

from pratique.fit.machine import Gpu, parse_gpus, read_cpus, read_machine

MIB = 2**20
MEMINFO = "MemTotal:  16000000 kB\nMemFree:  1000000 kB\nMemAvailable:  8000000 kB\n"


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in {"proc/meminfo": MEMINFO, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_without_groups_it_is_what_the_machine_says(tmp_path):
    machine = read_machine(tree(tmp_path, {}))
    assert (machine.total, machine.free) == (16000000 * 1024, 8000000 * 1024)
    assert machine.limited_by == "MemAvailable"


def test_version_2_counts_file_pages_as_free_and_looks_at_parents(tmp_path):
    group = "sys/fs/cgroup"
    machine = read_machine(
        tree(
            tmp_path,
            {
                "proc/self/cgroup": "0::/user.slice/job.scope\n",
                f"{group}/cgroup.controllers": "memory",
                f"{group}/user.slice/memory.max": str(2048 * MIB),
                f"{group}/user.slice/memory.high": "max",
                f"{group}/user.slice/memory.current": str(1000 * MIB),
                f"{group}/user.slice/memory.stat": f"anon 5\ninactive_file {300 * MIB}\n"
                f"active_file {100 * MIB}\n",
                f"{group}/user.slice/job.scope/memory.max": "max",
                f"{group}/user.slice/job.scope/memory.current": "5",
            },
        )
    )
    assert machine.free == (2048 - 1000 + 400) * MIB
    assert machine.total == 2048 * MIB
    assert "user.slice" in machine.limited_by


def test_version_2_soft_limit_counts_too(tmp_path):
    group = "sys/fs/cgroup"
    machine = read_machine(
        tree(
            tmp_path,
            {
                "proc/self/cgroup": "0::/\n",
                f"{group}/cgroup.controllers": "memory",
                f"{group}/memory.max": str(2048 * MIB),
                f"{group}/memory.high": str(1024 * MIB),
                f"{group}/memory.current": "0",
            },
        )
    )
    assert machine.free == 1024 * MIB


def test_version_1(tmp_path):
    group = "sys/fs/cgroup/memory/docker/abc"
    machine = read_machine(
        tree(
            tmp_path,
            {
                "proc/self/cgroup": "5:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n",
                f"{group}/memory.limit_in_bytes": str(1024 * MIB),
                f"{group}/memory.usage_in_bytes": str(900 * MIB),
                f"{group}/memory.stat": f"cache 1\ntotal_inactive_file {200 * MIB}\n"
                f"total_active_file {50 * MIB}\nhierarchical_memory_limit {1000 * MIB}\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": "5",
            },
        )
    )
    assert machine.free == (1000 - 900 + 250) * MIB


def test_in_a_container_the_mount_is_the_group(tmp_path):
    machine = read_machine(
        tree(
            tmp_path,
            {
                "proc/self/cgroup": "5:memory:/docker/not/here\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": str(512 * MIB),
                "sys/fs/cgroup/memory/memory.usage_in_bytes": str(12 * MIB),
            },
        )
    )
    assert machine.free == 500 * MIB


def test_a_full_group_has_nothing_not_less(tmp_path):
    machine = read_machine(
        tree(
            tmp_path,
            {
                "proc/self/cgroup": "5:memory:/\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": str(512 * MIB),
                "sys/fs/cgroup/memory/memory.usage_in_bytes": str(600 * MIB),
            },
        )
    )
    assert machine.free == 0


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cgroup.controllers": "",
          "sys/fs/cgroup/cpu.max": "100000 100000"}, 1),
        ({"proc/self/cgroup": "3:cpu,cpuacct:/\n",
          "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "50000",
          "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000"}, 1),
        ({"proc/self/cgroup": "3:cpu,cpuacct:/\n",
          "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1",
          "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000"}, 7),
    ],
)  # fmt: skip
def test_cpu_quotas_cut_the_affinity(tmp_path, monkeypatch, files, cpus):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(7)))
    assert read_cpus(tree(tmp_path, files)) == cpus


def test_unreadable_and_garbled_files_are_no_limit(tmp_path):
    machine = read_machine(
        tree(
            tmp_path,
            {
                "proc/self/cgroup": "garbage\n5:memory:/../../etc\n0::\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "many",
            },
        )
    )
    assert machine.free == 8000000 * 1024


def test_gpus_are_read_from_the_driver_tool():
    text = "0, 81559, 80000, NVIDIA H100, 80GB\nbroken\n1, x, 5, y\n"
    assert parse_gpus(text) == (Gpu(0, 81559 * MIB, 80000 * MIB, "NVIDIA H100, 80GB"),)


def test_this_machine():
    machine = read_machine()
    assert 0 < machine.free <= machine.total
    assert machine.cpus >= 1


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({}, 16),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cgroup.controllers": "cpu",
          "sys/fs/cgroup/cpu.max": "max 100000"}, 16),
        # A pod's limit of 4 above a container's of 6; half a CPU is not a thread.
        ({"proc/self/cgroup": "0::/pod/c\n", "sys/fs/cgroup/cgroup.controllers": "cpu",
          "sys/fs/cgroup/pod/cpu.max": "400000 100000",
          "sys/fs/cgroup/pod/c/cpu.max": "600000 100000"}, 4),
        ({"proc/self/cgroup": "0::/c\n", "sys/fs/cgroup/cgroup.controllers": "cpu",
          "sys/fs/cgroup/c/cpu.max": "250000 100000"}, 2),
        # Version 1 under either name of the mount, and the path of another namespace.
        ({"proc/self/cgroup": "4:cpu,cpuacct:/docker/abc\n",
          "sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "300000",
          "sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us": "100000"}, 3),
        ({"proc/self/cgroup": "4:cpu:/../elsewhere\n",
          "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000",
          "sys/fs/cgroup/cpu/cpu.cfs_period_us": "10000"}, 5),
        # What makes no sense limits nothing.
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cgroup.controllers": "cpu",
          "sys/fs/cgroup/cpu.max": "100000 0"}, 16),
    ],
)  # fmt: skip
def test_threads_follow_every_quota_above_this_process(tmp_path, monkeypatch, files, cpus):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(16)))
    assert read_cpus(tree(tmp_path, files)) == cpus


def test_threads_follow_the_cpus_this_process_may_run_on(tmp_path, monkeypatch):
    """A cpuset (version 1 or 2) and taskset both show in the affinity, sched_setaffinity(2)."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {1, 5, 7})
    files = {
        "proc/self/cgroup": "0::/\n",
        "sys/fs/cgroup/cgroup.controllers": "cpu cpuset",
        "sys/fs/cgroup/cpu.max": "800000 100000",
    }
    assert read_cpus(tree(tmp_path, files)) == 3


@pytest.mark.parametrize(
    ("text", "packs"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx2 avx512f avx512dq avx512bw avx512vl bmi2\n", True),
        ("processor\t: 0\nflags\t\t: fpu avx2 avx512f avx512dq avx512bw bmi2\n", False),
        ("processor\t: 0\nmodel name\t: avx512f avx512dq avx512bw avx512vl\nflags\t: fpu\n", False),
        ("processor\t: 0\nFeatures\t: fp asimd\n", False),
        ("", False),
    ],
)
def test_matrices_are_packed_for_wide_processors_alone(tmp_path, text, packs):
    assert read_machine(tree(tmp_path, {"proc/cpuinfo": text})).packs is packs
