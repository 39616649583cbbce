"""Cgroups of our own: `/zonelet-<installation>`, capped at a share of the host, and one below it for each instance.

Never below /kubepods, which a kubelet beside us cleans up. The engine makes containers' cgroups below an instance's,
but neither makes, limits nor removes the instance's own: that is done here, for cgroup v1 (with or without a unified
hierarchy beside it) and v2. Under the systemd driver the same cgroups are slices, and systemd makes them (slices.py).
Blocking; root.

On v1 no quota may be above that of its parent (the write fails), so quotas are cut to the cap; the effect is the same.
"""

from __future__ import annotations

import errno
import re
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from provider.cloud.runtime.docker_engine.cgroup_use import read_use
from provider.cloud.runtime.docker_engine.instance_store import checked
from provider.model.ids import PodUid

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from provider.cloud.runtime.docker_engine.cgroup_use import CgroupUse

PERIOD = 100_000
_MINIMUM_QUOTA = 1_000
_MINIMUM_SHARES = 2
_LEAST_CPU = 100
_CONTAINER = re.compile(r"(?:docker-)?([0-9a-f]{64})(?:\.scope)?")
_MOUNTS = Path("/proc/self/mountinfo")


class Limits(Struct, frozen=True):
    """CPU in milli-cores and memory in bytes; 0: none."""

    cpu: int = 0
    memory: int = 0


class Hierarchies(Struct, frozen=True):
    """Where the cgroup file systems are: v1 by controller, `unified` (v2, alone or beside v1) if there is one."""

    v1: dict[str, Path]
    unified: Path | None = None

    @property
    def is_v2(self) -> bool:
        """Whether v2 has the controllers."""
        return "memory" not in self.v1

    def all(self) -> list[Path]:
        """Return the root of every hierarchy once."""
        roots = [*self.v1.values(), *([] if self.unified is None else [self.unified])]
        return list(dict.fromkeys(roots))


def find_hierarchies(mountinfo: str) -> Hierarchies:
    """Return the hierarchies that /proc/self/mountinfo tells of (proc(5)); the first mount of each counts."""
    v1: dict[str, Path] = {}
    unified: Path | None = None
    for line in mountinfo.splitlines():
        mount, _, system = line.partition(" - ")
        point = Path(mount.split(" ")[4])
        kind, _, options = system.split(" ", 2)
        if kind == "cgroup":
            for controller in options.split(","):
                v1.setdefault(controller, point)
        elif kind == "cgroup2" and unified is None:
            unified = point
    v1 = {name: path for name, path in v1.items() if name not in {"rw", "ro"}}
    return Hierarchies(v1, unified)


def host_hierarchies() -> Hierarchies:
    """Return this machine's."""
    return find_hierarchies(_MOUNTS.read_text())


def host_cap(cpus: int, memory: int, cpu_reserve: float, memory_share: float) -> Limits:
    """Return what all instances together may have of a host with this many cores and bytes."""
    return Limits(max(_LEAST_CPU, int((cpus - cpu_reserve) * 1000)), int(memory * memory_share))


class Cgroups(Protocol):
    """An installation's cgroups; one implementation for each cgroup driver of the engine."""

    def ensure(self) -> None:
        """Make the installation's own cgroup with its cap, or set its cap anew."""
        ...

    def parent(self, uid: PodUid) -> str:
        """Return the CgroupParent of an instance's containers, as the engine wants it."""
        ...

    def make(self, uid: PodUid, limits: Limits) -> None:
        """Make an instance's cgroup with its limits; one that is there gets them again."""
        ...

    def remove(self, uid: PodUid) -> bool:
        """Remove an instance's cgroup; False while something in it has not ended yet."""
        ...

    def uids(self) -> Sequence[PodUid]:
        """Return the instances that have a cgroup."""
        ...

    def remove_all(self) -> bool:
        """Remove the installation's own cgroup and all below; False while something in it has not ended yet."""
        ...

    def working_set(self) -> int:
        """Return the bytes that all instances use and that cannot be taken back at once."""
        ...

    def use(self, uid: PodUid, now: float) -> CgroupUse | None:
        """Return what an instance uses at `now`, with all its containers; None without a cgroup."""
        ...

    def container_ids(self, uid: PodUid) -> Sequence[str]:
        """Return the containers of an instance that have a cgroup, its sandbox among them."""
        ...

    def container_use(self, uid: PodUid, container_id: str, now: float) -> CgroupUse | None:
        """Return what one container uses at `now`; None without a cgroup."""
        ...

    def first_process(self, uid: PodUid, container_id: str) -> int | None:
        """Return the pid of a process of a container, the lowest; None when it has none."""
        ...

    def processes(self, uid: PodUid, container_id: str) -> Sequence[int]:
        """Return the pids of a container's processes, the lowest first."""
        ...


class CgroupReadings(ABC):
    """What an installation's cgroups tell, wherever they lie below the hierarchies' roots."""

    def __init__(self, hierarchies: Hierarchies) -> None:
        self._hierarchies = hierarchies

    @abstractmethod
    def _root(self) -> str:
        """Return the path of the installation's cgroup."""

    @abstractmethod
    def _instance(self, uid: PodUid) -> str:
        """Return the path of an instance's cgroup."""

    @abstractmethod
    def _container(self, uid: PodUid, container_id: str) -> str:
        """Return the path of the cgroup that the engine makes for a container."""

    def working_set(self) -> int:
        """See Cgroups."""
        return working_set(self._hierarchies, self._root())

    def use(self, uid: PodUid, now: float) -> CgroupUse | None:
        """See Cgroups."""
        return read_use(self._hierarchies, self._instance(uid), now)

    def container_ids(self, uid: PodUid) -> list[str]:
        """See Cgroups."""
        return container_ids(self._hierarchies, self._instance(uid))

    def container_use(self, uid: PodUid, container_id: str, now: float) -> CgroupUse | None:
        """See Cgroups."""
        return read_use(self._hierarchies, self._container(uid, container_id), now)

    def first_process(self, uid: PodUid, container_id: str) -> int | None:
        """See Cgroups."""
        return next(iter(self.processes(uid, container_id)), None)

    def processes(self, uid: PodUid, container_id: str) -> list[int]:
        """See Cgroups."""
        return processes(self._hierarchies, self._container(uid, container_id))


class CgroupFiles(CgroupReadings):
    """Cgroups by the file system, for the engine's driver `cgroupfs`."""

    def __init__(self, installation: str, cap: Limits, hierarchies: Hierarchies) -> None:
        super().__init__(hierarchies)
        self._name = f"zonelet-{checked(installation)}"
        self._cap = cap

    def ensure(self) -> None:
        """See Cgroups."""
        self._write(self._name, self._cap, weight=False)

    def parent(self, uid: PodUid) -> str:
        """See Cgroups."""
        return f"/{self._instance(uid)}"

    def make(self, uid: PodUid, limits: Limits) -> None:
        """See Cgroups."""
        self._write(self._instance(uid), limits, weight=True)

    def remove(self, uid: PodUid) -> bool:
        """See Cgroups."""
        return remove_tree(self._hierarchies, self._instance(uid))

    def uids(self) -> list[PodUid]:
        """See Cgroups."""
        return [PodUid(name) for name in child_names(self._hierarchies, self._name)]

    def remove_all(self) -> bool:
        """See Cgroups."""
        return remove_tree(self._hierarchies, self._name)

    def _root(self) -> str:
        return self._name

    def _instance(self, uid: PodUid) -> str:
        return f"{self._name}/{checked(uid)}"

    def _container(self, uid: PodUid, container_id: str) -> str:
        return f"{self._instance(uid)}/{container_id}"

    def _write(self, path: str, limits: Limits, *, weight: bool) -> None:
        cpu = min(limits.cpu, self._cap.cpu) if limits.cpu else 0
        quota = max(_MINIMUM_QUOTA, cpu * PERIOD // 1000)
        if self._hierarchies.is_v2:
            self._write_v2(path, limits, quota if cpu else 0, weight=weight)
            return
        memory = self._hierarchies.v1["memory"] / path
        memory.mkdir(parents=True, exist_ok=True)
        if limits.memory:
            (memory / "memory.limit_in_bytes").write_text(str(limits.memory))
        directory = self._hierarchies.v1["cpu"] / path
        directory.mkdir(parents=True, exist_ok=True)
        if limits.cpu:
            if weight:
                (directory / "cpu.shares").write_text(str(max(_MINIMUM_SHARES, limits.cpu * 1024 // 1000)))
            (directory / "cpu.cfs_period_us").write_text(str(PERIOD))
            _lower_quota(directory, quota)

    def _write_v2(self, path: str, limits: Limits, quota: int, *, weight: bool) -> None:
        root = self._hierarchies.unified
        if root is None:
            raise FileNotFoundError(errno.ENOENT, "no cgroup file system is mounted", str(_MOUNTS))
        directory = root
        for part in path.split("/"):
            _enable_controllers(directory)
            directory /= part
            directory.mkdir(exist_ok=True)
        if limits.memory:
            (directory / "memory.max").write_text(str(limits.memory))
        if quota:
            (directory / "cpu.max").write_text(f"{quota} {PERIOD}")
        if limits.cpu and weight:
            (directory / "cpu.weight").write_text(str(cpu_weight(limits.cpu)))


def cpu_weight(cpu: int) -> int:
    """Return v2's weight (1 to 10,000) of so many milli-cores: runc's conversion from v1's shares."""
    shares = min(max(_MINIMUM_SHARES, cpu * 1024 // 1000), 262_144)
    return 1 + ((shares - 2) * 9999) // 262_142


def child_names(hierarchies: Hierarchies, path: str) -> list[str]:
    """Return the names of the cgroups directly below one, in any hierarchy."""
    directories = [root / path for root in hierarchies.all()]
    names = [child.name for one in directories if one.is_dir() for child in one.iterdir() if child.is_dir()]
    return list(dict.fromkeys(names))


def remove_tree(hierarchies: Hierarchies, path: str) -> bool:
    """Remove a cgroup with those below it in every hierarchy; False while one has processes."""
    gone = True
    for root in hierarchies.all():
        for directory in _bottom_up(root / path):
            try:
                directory.rmdir()
            except FileNotFoundError:
                continue
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
                gone = False
    return gone


def working_set(hierarchies: Hierarchies, path: str) -> int:
    """Return usage without inactive file pages, as cAdvisor and the kubelet count it; 0 for no such cgroup."""
    if hierarchies.is_v2:
        directory, usage, inactive = hierarchies.unified, "memory.current", "inactive_file"
    else:
        directory, usage, inactive = hierarchies.v1["memory"], "memory.usage_in_bytes", "total_inactive_file"
    if directory is None or not (directory / path).is_dir():
        return 0
    statistics = dict(line.split(" ", 1) for line in (directory / path / "memory.stat").read_text().splitlines())
    return max(0, int((directory / path / usage).read_text()) - int(statistics.get(inactive, 0)))


def container_ids(hierarchies: Hierarchies, path: str) -> list[str]:
    """Return the IDs of the containers whose cgroups (`<ID>` or `docker-<ID>.scope`) are in one."""
    root = hierarchies.unified if hierarchies.is_v2 else hierarchies.v1["memory"]
    if root is None or not (root / path).is_dir():
        return []
    found = (_CONTAINER.fullmatch(child.name) for child in (root / path).iterdir())
    return [match[1] for match in found if match is not None]


def processes(hierarchies: Hierarchies, path: str) -> list[int]:
    """Return the pids in a cgroup, the lowest first; none when it is gone."""
    root = hierarchies.unified if hierarchies.is_v2 else hierarchies.v1["memory"]
    if root is None:
        return []
    try:
        return sorted(int(line) for line in (root / path / "cgroup.procs").read_text().split())
    except OSError as error:
        if error.errno not in {errno.ENOENT, errno.ENODEV}:
            raise
        return []


def _bottom_up(directory: Path) -> Iterator[Path]:
    if directory.is_dir():
        for child in directory.iterdir():
            if child.is_dir():
                yield from _bottom_up(child)
        yield directory


def _lower_quota(directory: Path, quota: int) -> None:
    """Set v1's quota; those below come first, for none may be above it."""
    for child in directory.iterdir():
        if child.is_dir() and int((child / "cpu.cfs_quota_us").read_text()) > quota:
            _lower_quota(child, quota)
    (directory / "cpu.cfs_quota_us").write_text(str(quota))


def _enable_controllers(directory: Path) -> None:
    """Let the children of a v2 cgroup have every controller that it has itself."""
    available = (directory / "cgroup.controllers").read_text().split()
    enabled = (directory / "cgroup.subtree_control").read_text().split()
    missing = [name for name in available if name not in enabled]
    if missing:
        (directory / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in missing))
