"""What is read of cgroups of both kinds, and of /proc/<pid>/net/dev."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from provider.cloud.runtime.base import SandboxSpec
from provider.cloud.runtime.docker_engine.cgroup_use import CgroupUse, read_use
from provider.cloud.runtime.docker_engine.cgroups import CgroupFiles, Hierarchies, Limits
from provider.cloud.runtime.docker_engine.slices import Slices
from provider.cloud.runtime.docker_engine.usage import read_interfaces, read_usage
from provider.model.attempt import SeenContainer
from provider.model.ids import PodUid, VSwitchId, ZoneId
from provider.model.usage import InterfaceUsage, Use

if TYPE_CHECKING:
    from pathlib import Path

ID = "0123456789abcdef" * 4
STAT_V1 = "cache 9\ntotal_inactive_file 300\ntotal_rss 200\ntotal_pgfault 7\ntotal_pgmajfault 1\n"
STAT_V2 = "anon 200\nfile 9\ninactive_file 300\npgfault 7\npgmajfault 1\n"


def put(directory: Path, **files: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name.replace("__", ".")).write_text(text)


def v1(root: Path, path: str, *, limit: int = 1 << 30) -> Hierarchies:
    memory = {"memory__stat": STAT_V1, "memory__usage_in_bytes": "1000\n", "memory__limit_in_bytes": f"{limit}\n"}
    put(root / "memory" / path, **memory, cgroup__procs="7\n5\n")
    put(root / "cpuacct" / path, cpuacct__usage="123456\n")
    put(root / "pids" / path, pids__current="4\n")
    return Hierarchies({name: root / name for name in ("memory", "cpu", "cpuacct", "pids")})


def v2(root: Path, path: str, *, limit: str = "max") -> Hierarchies:
    memory = {"memory__stat": STAT_V2, "memory__current": "1000\n", "memory__max": f"{limit}\n"}
    put(root / path, **memory, cpu__stat="usage_usec 123\nuser_usec 1\n", pids__current="4\n", cgroup__procs="7\n5\n")
    return Hierarchies({}, root)


def test_v1(tmp_path: Path) -> None:
    found = read_use(v1(tmp_path, "zonelet-x/u"), "zonelet-x/u", 9.5)
    assert found == CgroupUse(Use(9.5, 123456, 1000, 700, 200, 7, 1), 1 << 30, 4)


def test_v1_without_a_limit(tmp_path: Path) -> None:
    found = read_use(v1(tmp_path, "a", limit=0x7FFFFFFFFFFFF000), "a", 9.5)
    assert found is not None
    assert found.memory_limit == 0


@pytest.mark.parametrize(("limit", "bytes_"), [("max", 0), ("4096", 4096)])
def test_v2(tmp_path: Path, limit: str, bytes_: int) -> None:
    found = read_use(v2(tmp_path, "zonelet-x/u", limit=limit), "zonelet-x/u", 9.5)
    assert found == CgroupUse(Use(9.5, 123_000, 1000, 700, 200, 7, 1), bytes_, 4)


def test_a_cgroup_that_is_gone(tmp_path: Path) -> None:
    assert read_use(v1(tmp_path / "1", "a"), "b", 9.5) is None
    assert read_use(v2(tmp_path / "2", "a"), "b", 9.5) is None


def test_a_working_set_is_not_negative(tmp_path: Path) -> None:
    hierarchies = v2(tmp_path, "a")
    (tmp_path / "a" / "memory.current").write_text("100")
    found = read_use(hierarchies, "a", 9.5)
    assert found is not None
    assert found.use.working_set == 0


def test_where_an_instance_and_its_containers_are(tmp_path: Path) -> None:
    uid = PodUid("u-1")
    files = CgroupFiles("x", Limits(), v1(tmp_path / "1", f"zonelet-x/u-1/{ID}"))
    assert files.container_use(uid, ID, 1.0) is not None
    assert (files.use(uid, 1.0), files.first_process(uid, ID), files.first_process(uid, "b")) == (None, 5, None)
    assert (files.container_ids(uid), files.container_ids(PodUid("u-2"))) == ([ID], [])
    path = f"zonelet_x.slice/zonelet_x-u_1.slice/docker-{ID}.scope"
    slices = Slices("x", Limits(), v2(tmp_path / "2", path))
    assert slices.container_use(uid, ID, 1.0) is not None
    assert (slices.container_use(uid, "b", 1.0), slices.first_process(uid, ID)) == (None, 5)
    assert (slices.container_ids(uid), slices.container_ids(PodUid("u-2"))) == ([ID], [])


def test_usage_is_of_containers_that_were_seen(tmp_path: Path) -> None:
    """The sandbox, and a container that was just made, are in the instance's figures only."""
    main, new, sandbox = "a" * 64, "b" * 64, "c" * 64
    hierarchies = v2(tmp_path, "zonelet-x/u-1", limit="4096")
    for one in (main, new, sandbox):
        v2(tmp_path, f"zonelet-x/u-1/{one}")
    v2(tmp_path, "zonelet-x/u-2")  # nothing runs in it
    v2(tmp_path, "zonelet-x/u-3")  # nobody knows what it is
    made = SandboxSpec(
        uid=PodUid("u-1"),
        zone=ZoneId("z"),
        vswitch=VSwitchId("v"),
        address="10.0.0.4",
        name="",
        namespace="",
        hostname="",
    )
    seen = {main: SeenContainer(name="main", attempt=0, container_id="", running=True, started_at=7.5)}
    (found,) = read_usage(
        CgroupFiles("x", Limits(), hierarchies), lambda uid: None if uid == "u-3" else made, seen.get, 9.5
    )
    assert (found.uid, found.zone, found.memory_limit, found.processes) == ("u-1", "z", 4096, 4)
    assert [(one.name, one.started_at, one.use.cpu) for one in found.containers] == [("main", 7.5, 123_000)]


def test_interfaces(tmp_path: Path) -> None:
    file = tmp_path / "dev"
    file.write_text(
        "Inter-|   Receive                                                |  Transmit\n"
        " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop\n"
        "    lo:     840      10    0    0    0     0          0         0      840      10    0    0    0     0     0    0\n"
        "  eth0:12345678     100    2    0    0     0          0         0  87654321     200    3    0    0     0     0    0\n"
    )
    assert read_interfaces(file) == (InterfaceUsage("eth0", 12345678, 2, 87654321, 3),)
    assert read_interfaces(tmp_path / "gone") == ()
