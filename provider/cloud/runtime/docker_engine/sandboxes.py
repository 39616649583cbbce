"""An instance as a whole: its directory, cgroup and pause container, made, released and removed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from provider.cloud.runtime.base import FaultKind, RuntimeFault
from provider.cloud.runtime.docker_engine.cgroups import Limits
from provider.cloud.runtime.docker_engine.container_config import sandbox_config
from provider.cloud.runtime.docker_engine.engine import first_fault
from provider.cloud.runtime.docker_engine.labels import SandboxLabels, decode, uid_label
from provider.cloud.runtime.docker_engine.naming import sandbox_name
from provider.cloud.runtime.docker_engine.network_turns import NetworkTurns, joins_another

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from provider.clock import Clock
    from provider.cloud.runtime.base import SandboxSpec
    from provider.cloud.runtime.docker_engine.cgroups import Cgroups
    from provider.cloud.runtime.docker_engine.engine import Engine
    from provider.cloud.runtime.docker_engine.half_started import HalfStarted
    from provider.cloud.runtime.docker_engine.instance_store import InstanceStore
    from provider.cloud.runtime.docker_engine.zone_networks import ZoneNetworks
    from provider.model.ids import PodUid

T = TypeVar("T")

_CGROUP_TRIES, _CGROUP_PAUSE = 50, 0.1


class Sandboxes:
    """The instances of one installation."""

    def __init__(
        self,
        engine: Engine,
        installation: str,
        store: InstanceStore,
        cgroups: Cgroups,
        half_started: HalfStarted,
        networks: ZoneNetworks,
        clock: Clock,
        *,
        pause_image: str,
        mac_of_endpoint: bool,
        leaves_one_by_one: bool,
    ) -> None:
        self._engine = engine
        self._installation = installation
        self._store = store
        self._cgroups = cgroups
        self._half_started = half_started
        self._networks = networks
        self._clock = clock
        self._pause_image = pause_image
        self._mac_of_endpoint = mac_of_endpoint
        self._turns = NetworkTurns(one_by_one=leaves_one_by_one)

    async def create(self, spec: SandboxSpec) -> None:
        """Make all of it, or find it; what is there at another address is removed first, with its containers.

        RuntimeFault SANDBOX, MOUNT, UNAVAILABLE, REFUSED.
        """
        network = self._networks.network_of(spec.zone, spec.vswitch)
        config = sandbox_config(
            self._installation,
            spec,
            self._pause_image,
            network,
            self._cgroups.parent(spec.uid),
            mac_of_endpoint=self._mac_of_endpoint,
        )
        await asyncio.to_thread(self._prepare, spec)
        name = sandbox_name(self._installation, spec.uid)
        made = await self._engine.make(name, config, FaultKind.SANDBOX)
        elsewhere = None if made.inspected is None else self._elsewhere(made.inspected["Config"]["Labels"] or {}, spec)
        if elsewhere is not None:
            await self._remove(spec.uid, elsewhere)
            await asyncio.to_thread(self._prepare, spec)
            made = await self._engine.make(name, config, FaultKind.SANDBOX)
        status = "created" if made.inspected is None else made.inspected["State"]["Status"]
        if status == "dead":  # a removal that failed half-way
            async with self._turns.leaving(network):
                await self._engine.remove(made.id)
            made = await self._engine.make(name, config, FaultKind.SANDBOX)
        if status != "running":
            if made.inspected is not None:
                await self._half_started.end(spec.uid, made.id)  # an engine that ended in the middle may have left it
            async with self._turns.joining(network):
                await self._engine.start(made.id, FaultKind.SANDBOX)

    def _elsewhere(self, labels: Mapping[str, str], spec: SandboxSpec) -> str | None:
        """Return the network of a sandbox that was made for another address, by a provider whose records are lost.

        None for one that is where it is to be.
        """
        try:
            found = decode(labels, self._installation)
        except ValueError:  # a part of the labels is missing
            return ""
        if not isinstance(found, SandboxLabels) or (found.vswitch, found.address) == (spec.vswitch, spec.address):
            return None
        return self._networks.network_of(found.zone, found.vswitch)

    def _prepare(self, spec: SandboxSpec) -> None:
        """Do what is to be done on the host. Blocking."""
        self._store.prepare(spec)
        try:
            self._cgroups.make(spec.uid, Limits(spec.cpu, spec.memory))
        except OSError as error:
            raise RuntimeFault(FaultKind.SANDBOX, f"the cgroup of instance {spec.uid}: {error}") from error

    async def release(self, uid: PodUid) -> None:
        """Remove pause container, cgroup and volumes. RuntimeFault REFUSED, UNAVAILABLE."""
        await self._remove_sandbox(uid, await self._network(uid))
        await self._remove_cgroup(uid)
        await self._on_host(self._store.release, uid)

    async def remove(self, uid: PodUid) -> None:
        """Remove everything. RuntimeFault REFUSED, UNAVAILABLE."""
        await self._remove(uid, await self._network(uid))

    async def _remove(self, uid: PodUid, network: str) -> None:
        rows = await self._engine.relist(**uid_label(uid))
        members = [row for row in rows if joins_another(row)]
        try:
            async with asyncio.TaskGroup() as group:
                for row in members:
                    group.create_task(self._engine.remove(row["Id"]))
        except* RuntimeFault as faults:
            raise first_fault(faults) from None
        if len(members) < len(rows):
            await self._remove_sandbox(uid, network)
        await self._remove_cgroup(uid)
        await self._on_host(self._store.remove, uid)

    async def _network(self, uid: PodUid) -> str:
        spec = await asyncio.to_thread(self._store.spec, uid)
        return "" if spec is None else self._networks.network_of(spec.zone, spec.vswitch)

    async def _remove_sandbox(self, uid: PodUid, network: str) -> None:
        async with self._turns.leaving(network):
            await self._engine.remove(sandbox_name(self._installation, uid))

    async def _remove_cgroup(self, uid: PodUid) -> None:
        """Wait for its processes: a killed one may take a moment to leave; one that no container has is killed."""
        for look in range(_CGROUP_TRIES):
            if await self._on_host(self._cgroups.remove, uid):
                return
            if look == _CGROUP_TRIES // 5:
                for container_id in await self._on_host(self._cgroups.container_ids, uid):
                    await self._half_started.end(uid, container_id)
            await self._clock.sleep(_CGROUP_PAUSE)
        raise RuntimeFault(FaultKind.REFUSED, f"processes are still in the cgroup of instance {uid}")

    @staticmethod
    async def _on_host(act: Callable[[PodUid], T], uid: PodUid) -> T:
        try:
            return await asyncio.to_thread(act, uid)
        except OSError as error:
            raise RuntimeFault(FaultKind.REFUSED, f"what instance {uid} has on the host: {error}") from error
