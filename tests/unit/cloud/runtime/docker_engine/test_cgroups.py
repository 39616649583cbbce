"""What is written into cgroup files, on trees that look like cgroup file systems; removal is tested on the real ones."""

from pathlib import Path

import pytest

from provider.cloud.runtime.docker_engine.cgroups import (
    CgroupFiles,
    Hierarchies,
    Limits,
    cpu_weight,
    find_hierarchies,
    host_cap,
)
from provider.model.ids import PodUid

UID = PodUid("u-1")
CAP = Limits(cpu=1500, memory=2**34)
HYBRID = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""


@pytest.fixture
def v1(tmp_path: Path) -> Hierarchies:
    for name in ("cpu", "memory"):
        (tmp_path / name).mkdir()
    return Hierarchies({"cpu": tmp_path / "cpu", "memory": tmp_path / "memory"})


@pytest.fixture
def v2(tmp_path: Path) -> Hierarchies:
    for path in (tmp_path, tmp_path / "zonelet-zl", tmp_path / "zonelet-zl/u-1"):
        path.mkdir(exist_ok=True)
        (path / "cgroup.controllers").write_text("cpu memory pids\n")
        (path / "cgroup.subtree_control").write_text("memory\n")
    return Hierarchies({}, tmp_path)


def test_hierarchies_of_a_hybrid_host() -> None:
    found = find_hierarchies(HYBRID)
    assert not found.is_v2
    assert found.v1["cpu"] == found.v1["cpuacct"] == Path("/sys/fs/cgroup/cpu,cpuacct")
    assert len(found.all()) == 4
    assert found.all()[-1] == found.unified == Path("/sys/fs/cgroup/unified")


def test_hierarchies_of_a_unified_host() -> None:
    found = find_hierarchies("25 20 0:22 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n")
    assert (found.is_v2, found.all()) == (True, [Path("/sys/fs/cgroup")])


def test_v1_limits_and_no_quota_above_the_cap(v1: Hierarchies, tmp_path: Path) -> None:
    cgroups = CgroupFiles("zl", CAP, v1)
    cgroups.ensure()
    assert (tmp_path / "memory/zonelet-zl/memory.limit_in_bytes").read_text() == str(2**34)
    assert (tmp_path / "cpu/zonelet-zl/cpu.cfs_quota_us").read_text() == "150000"
    cgroups.make(UID, Limits(cpu=4000, memory=2**30))
    child = tmp_path / "cpu/zonelet-zl/u-1"
    assert (child / "cpu.cfs_quota_us").read_text() == "150000"
    assert (child / "cpu.shares").read_text() == "4096"
    assert (tmp_path / "memory/zonelet-zl/u-1/memory.limit_in_bytes").read_text() == str(2**30)
    cgroups.make(UID, Limits(cpu=250))
    assert (child / "cpu.cfs_quota_us").read_text() == "25000"
    assert cgroups.parent(UID) == "/zonelet-zl/u-1"
    assert cgroups.uids() == [UID]


def test_v1_a_lower_cap_lowers_what_is_below_first(v1: Hierarchies, tmp_path: Path) -> None:
    CgroupFiles("zl", CAP, v1).make(UID, Limits(cpu=1500))
    CgroupFiles("zl", Limits(cpu=1000, memory=1), v1).ensure()
    assert (tmp_path / "cpu/zonelet-zl/u-1/cpu.cfs_quota_us").read_text() == "100000"


def test_v1_no_limits_write_nothing(v1: Hierarchies, tmp_path: Path) -> None:
    CgroupFiles("zl", CAP, v1).make(UID, Limits())
    assert list((tmp_path / "memory/zonelet-zl/u-1").iterdir()) == []


def test_v2_limits_and_controllers(v2: Hierarchies, tmp_path: Path) -> None:
    cgroups = CgroupFiles("zl", CAP, v2)
    cgroups.make(UID, Limits(cpu=500, memory=2**30))
    child = tmp_path / "zonelet-zl/u-1"
    assert (child / "memory.max").read_text() == str(2**30)
    assert (child / "cpu.max").read_text() == "50000 100000"
    assert (child / "cpu.weight").read_text() == str(cpu_weight(500))
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu +pids"
    assert (tmp_path / "zonelet-zl/cgroup.subtree_control").read_text() == "+cpu +pids"


def test_the_working_set_leaves_out_what_can_be_taken_back(v1: Hierarchies, v2: Hierarchies, tmp_path: Path) -> None:
    assert CgroupFiles("zl", CAP, v1).working_set() == 0
    memory = tmp_path / "memory/zonelet-zl"
    memory.mkdir()
    (memory / "memory.usage_in_bytes").write_text("1000\n")
    (memory / "memory.stat").write_text("inactive_file 1\ntotal_inactive_file 400\n")
    assert CgroupFiles("zl", CAP, v1).working_set() == 600
    (tmp_path / "zonelet-zl/memory.current").write_text("1000\n")
    (tmp_path / "zonelet-zl/memory.stat").write_text("anon 5\ninactive_file 300\n")
    assert CgroupFiles("zl", CAP, v2).working_set() == 700


def test_the_cap_of_a_host() -> None:
    assert host_cap(2, 1000, 0.5, 0.8) == Limits(1500, 800)
    assert host_cap(1, 1000, 2, 0.8) == Limits(100, 800)


@pytest.mark.parametrize(("cpu", "weight"), [(1, 1), (1000, 39), (10**9, 10_000)])
def test_weights_are_runcs(cpu: int, weight: int) -> None:
    assert cpu_weight(cpu) == weight


def test_a_name_that_is_no_part_of_a_path_is_refused(v1: Hierarchies) -> None:
    with pytest.raises(ValueError, match="part of a path"):
        CgroupFiles("zl", CAP, v1).make(PodUid("../x"), Limits(cpu=1))
