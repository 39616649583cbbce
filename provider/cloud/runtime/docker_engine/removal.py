"""Takes away everything of one installation, for `zonelet down`, and nothing else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from provider.cloud.runtime.base import FaultKind, RuntimeFault
from provider.cloud.runtime.docker_engine.engine import Engine, first_fault
from provider.cloud.runtime.docker_engine.host import look_at_host
from provider.cloud.runtime.docker_engine.instance_store import InstanceStore
from provider.cloud.runtime.docker_engine.network_turns import joins_another
from provider.cloud.runtime.docker_engine.zone_networks import remove_networks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from aiodocker import Docker

    from provider.clock import Clock
    from provider.cloud.runtime.docker_engine.host import Host

_AT_ONCE = 8
_CGROUP_TRIES, _CGROUP_PAUSE = 50, 0.1


class Removed(Struct, frozen=True):
    """How much there was."""

    containers: int
    instances: int


async def remove_installation(client: Docker, installation: str, state_dir: Path, *, clock: Clock) -> Removed:
    """Remove containers (pods' and routers'), networks, mounts, directories and cgroups of this installation.

    Nothing that lacks its label or name is touched. May be repeated. RuntimeFault REFUSED or UNAVAILABLE when the
    engine does not let go of something, MOUNT when the host does not; what could be removed is removed then.
    """
    engine = Engine(client, installation, clock)
    host = await look_at_host(client, cpu_reserve=0, memory_share=1)
    containers = await engine.relist()
    members = [row for row in containers if joins_another(row)]
    owners = [row for row in containers if not joins_another(row)]
    await _remove_containers(engine, members, _AT_ONCE)
    await _remove_containers(engine, owners, 1 if host.leaves_one_by_one else _AT_ONCE)
    await remove_networks(client, installation)
    await _remove_cgroups(host, installation, clock)
    return Removed(len(containers), await asyncio.to_thread(_remove_directories, state_dir, clock))


async def _remove_containers(engine: Engine, rows: Sequence[Mapping[str, Any]], at_once: int) -> None:
    limit = asyncio.Semaphore(at_once)

    async def remove(container_id: str) -> None:
        async with limit:
            await engine.remove(container_id)

    try:
        async with asyncio.TaskGroup() as group:
            for row in rows:
                group.create_task(remove(row["Id"]))
    except* RuntimeFault as faults:
        raise first_fault(faults) from None


def _remove_directories(state_dir: Path, clock: Clock) -> int:
    store = InstanceStore(state_dir, clock)
    left = [f"{path}: no instance has made it; move it away" for path in store.strangers()]
    uids = store.uids()
    for uid in uids:
        try:
            store.remove(uid)
        except (OSError, ValueError) as error:
            left.append(f"{state_dir / 'instances' / uid}: {error}")
    if left:
        raise RuntimeFault(FaultKind.MOUNT, "; ".join(left))
    return len(uids)


async def _remove_cgroups(host: Host, installation: str, clock: Clock) -> None:
    cgroups = host.cgroups(installation)
    for _ in range(_CGROUP_TRIES):
        try:
            if await asyncio.to_thread(cgroups.remove_all):
                return
        except OSError as error:
            raise RuntimeFault(FaultKind.MOUNT, f"cgroups of installation {installation}: {error}") from error
        await clock.sleep(_CGROUP_PAUSE)
    raise RuntimeFault(FaultKind.REFUSED, f"processes are still in the cgroups of installation {installation}")
