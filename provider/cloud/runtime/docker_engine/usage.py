"""What instances use: one list call to the engine, the rest from the cgroup and network files of its host."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provider.cloud.runtime.docker_engine.labels import ContainerLabels, SandboxLabels, decode
from provider.model.usage import ContainerUsage, InstanceUsage, InterfaceUsage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from provider.clock import Clock
    from provider.cloud.runtime.docker_engine.cgroups import Cgroups
    from provider.cloud.runtime.docker_engine.engine import Engine
    from provider.model.ids import PodUid

_RUNNING = frozenset({"running", "paused"})
_RECEIVED, _SENT = 0, 8
"""Where each direction's bytes stand in a line of /proc/<pid>/net/dev; errors are two further on."""

Row = tuple[SandboxLabels | ContainerLabels, "Mapping[str, Any]"]


async def read_usage(
    engine: Engine, installation: str, cgroups: Cgroups, clock: Clock, started_at: Callable[[str], float | None]
) -> Sequence[InstanceUsage]:
    """Return what every instance with a running sandbox uses. RuntimeFault UNAVAILABLE, REFUSED.

    `started_at` knows when a container was started; the engine's list tells only when it was made.
    """
    rows: dict[PodUid, list[Row]] = {}
    for row in await engine.relist():
        if row["State"] not in _RUNNING:
            continue
        try:
            labels = decode(row["Labels"], installation)
        except ValueError:
            continue  # sightings tell of it
        if isinstance(labels, SandboxLabels | ContainerLabels):
            rows.setdefault(labels.uid, []).append((labels, row))

    def measure() -> list[InstanceUsage]:
        found = (_measure(cgroups, uid, members, clock.now(), started_at) for uid, members in rows.items())
        return [one for one in found if one is not None]

    return await asyncio.to_thread(measure)


def _measure(
    cgroups: Cgroups, uid: PodUid, rows: Sequence[Row], now: float, started_at: Callable[[str], float | None]
) -> InstanceUsage | None:
    """Return one instance's usage; None without a sandbox or when it goes right now. Blocking."""
    sandbox = next(((labels, row) for labels, row in rows if isinstance(labels, SandboxLabels)), None)
    whole = cgroups.use(uid, now)
    if sandbox is None or whole is None:
        return None
    containers = []
    for labels, row in rows:
        if isinstance(labels, ContainerLabels):
            part = cgroups.container_use(uid, row["Id"], now)
            if part is not None:
                since = started_at(row["Id"]) or float(row["Created"])
                containers.append(ContainerUsage(labels.container, since, part.use, part.memory_limit))
    pid = cgroups.first_process(uid, sandbox[1]["Id"])
    return InstanceUsage(
        uid=uid,
        zone=sandbox[0].zone,
        use=whole.use,
        memory_limit=whole.memory_limit,
        containers=tuple(sorted(containers, key=lambda one: one.name)),
        interfaces=() if pid is None else read_interfaces(Path(f"/proc/{pid}/net/dev")),
        processes=whole.processes,
    )


def read_interfaces(file: Path) -> tuple[InterfaceUsage, ...]:
    """Return the counters of every interface but the loopback (proc(5), /proc/net/dev)."""
    try:
        lines = file.read_text().splitlines()[2:]
    except OSError:  # the process has ended meanwhile
        return ()
    found = []
    for line in lines:
        name, _, rest = line.partition(":")
        numbers = [int(word) for word in rest.split()]
        if name.strip() != "lo":
            found.append(
                InterfaceUsage(
                    name.strip(), numbers[_RECEIVED], numbers[_RECEIVED + 2], numbers[_SENT], numbers[_SENT + 2]
                )
            )
    return tuple(found)
