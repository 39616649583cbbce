"""What a cgroup has used, read from its files: v1 and v2, by cAdvisor's and the kubelet's rules. Blocking."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from msgspec import Struct

from provider.model.usage import Use

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from provider.cloud.runtime.docker_engine.cgroups import Hierarchies

_UNLIMITED = 1 << 62
"""v1 says "no limit" by the largest number of pages there is."""


class CgroupUse(Struct, frozen=True):
    """Counters and levels, and the limit of memory in bytes (0: none)."""

    use: Use
    memory_limit: int = 0
    processes: int = 0


def read_use(hierarchies: Hierarchies, path: str, now: float) -> CgroupUse | None:
    """Return what the cgroup `path` (below every root) uses at `now`; None for one that is gone."""
    try:
        return _read_v2(hierarchies, path, now) if hierarchies.is_v2 else _read_v1(hierarchies, path, now)
    except OSError as error:
        if error.errno not in {errno.ENOENT, errno.ENODEV, errno.ENOTDIR}:
            raise
        return None


def _read_v1(hierarchies: Hierarchies, path: str, now: float) -> CgroupUse:
    memory = hierarchies.v1["memory"] / path
    cpu = hierarchies.v1.get("cpuacct", hierarchies.v1["cpu"]) / path
    stat = _pairs(memory / "memory.stat")
    charged = _number(memory / "memory.usage_in_bytes")
    limit = _number(memory / "memory.limit_in_bytes")
    pids = hierarchies.v1.get("pids")
    use = Use(
        at=now,
        cpu=_number(cpu / "cpuacct.usage"),
        memory=charged,
        working_set=max(0, charged - stat.get("total_inactive_file", 0)),
        rss=stat.get("total_rss", 0),
        page_faults=stat.get("total_pgfault", 0),
        major_faults=stat.get("total_pgmajfault", 0),
    )
    return CgroupUse(use, limit if limit < _UNLIMITED else 0, 0 if pids is None else _processes(pids / path))


def _read_v2(hierarchies: Hierarchies, path: str, now: float) -> CgroupUse | None:
    if hierarchies.unified is None:
        return None
    directory = hierarchies.unified / path
    stat = _pairs(directory / "memory.stat")
    charged = _number(directory / "memory.current")
    limit = (directory / "memory.max").read_text().strip()
    use = Use(
        at=now,
        cpu=_pairs(directory / "cpu.stat").get("usage_usec", 0) * 1000,
        memory=charged,
        working_set=max(0, charged - stat.get("inactive_file", 0)),
        rss=stat.get("anon", 0),
        page_faults=stat.get("pgfault", 0),
        major_faults=stat.get("pgmajfault", 0),
    )
    return CgroupUse(use, 0 if limit == "max" else int(limit), _processes(directory))


def _processes(directory: Path) -> int:
    file = directory / "pids.current"
    return _number(file) if file.exists() else 0


def _number(file: Path) -> int:
    return int(file.read_text())


def _pairs(file: Path) -> Mapping[str, int]:
    """Return `name value` lines."""
    return {name: int(value) for name, value in (line.split(" ", 1) for line in file.read_text().splitlines())}
