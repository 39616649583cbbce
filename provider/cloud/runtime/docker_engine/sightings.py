"""What is there of instances: the only source of state. One list call, and an inspect only for what may be new.

An ended attempt never changes, and one that runs changes only by its end, which an event tells; so both are kept. The
engine's list is a copy that may lag behind: an attempt that an event called ended is asked for by itself.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog
from msgspec.structs import replace

from provider.cloud.backend import LogOptions
from provider.cloud.runtime.base import RuntimeFault, Seen, SeenContainer
from provider.cloud.runtime.docker_engine.engine import first_fault
from provider.cloud.runtime.docker_engine.labels import ContainerLabels, SandboxLabels, decode, uid_label
from provider.cloud.runtime.docker_engine.logs import read_logs
from provider.cloud.runtime.docker_engine.states import seen_container
from provider.model.ids import ZoneId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from provider.cloud.runtime.docker_engine.attempt_mounts import AttemptMounts
    from provider.cloud.runtime.docker_engine.cgroups import Cgroups
    from provider.cloud.runtime.docker_engine.engine import Engine
    from provider.cloud.runtime.docker_engine.instance_store import InstanceStore
    from provider.model.ids import PodUid

_AT_ONCE = 8
_MESSAGE_LINES, _MESSAGE_BYTES = 80, 2048
"""kubelet: MaxContainerTerminationMessageLogLines, …LogLength."""
_RUNNING = frozenset({"running", "paused"})
_log = structlog.get_logger(__name__)


class Sightings:
    """Inspect and relist of one installation."""

    def __init__(
        self,
        engine: Engine,
        installation: str,
        store: InstanceStore,
        mounts: AttemptMounts,
        cgroups: Cgroups,
        is_settling: Callable[[str], bool],
    ) -> None:
        self._engine = engine
        self._installation = installation
        self._store = store
        self._mounts = mounts
        self._cgroups = cgroups
        self._is_settling = is_settling
        self._kept: dict[str, SeenContainer] = {}
        self._ended: set[str] = set()
        """IDs that an event called ended, until an inspect has said so too."""

    def ended(self, container_id: str) -> None:
        """Take note that a container has ended: what was kept of it no longer holds."""
        self._ended.add(container_id)
        self._kept.pop(container_id, None)

    def distrust(self) -> None:
        """Forget what runs: events may have been missed."""
        self._kept = {one: seen for one, seen in self._kept.items() if not seen.running}

    def kept(self, container_id: str) -> SeenContainer | None:
        """Return what was last seen of a container, None for one that was not looked at since it may have changed."""
        return self._kept.get(container_id)

    async def take(self, inspected: Mapping[str, Any], labels: ContainerLabels) -> SeenContainer:
        """Return what an inspect says of an attempt, its last words included, and keep it."""
        container_id = str(inspected["Id"])
        seen = seen_container(inspected, labels)
        if seen.exited and seen.started_at is None and self._is_settling(container_id):
            seen = replace(seen, exited=False, exit_code=0, error="")
        if seen.exited and seen.started_at is not None:
            message = await self._message(inspected, labels, seen)
            seen = seen_container(inspected, labels, message)
        if seen.exited:
            self._ended.discard(container_id)
        if seen.exited or (seen.running and container_id not in self._ended):
            self._kept[container_id] = seen
        return seen

    async def one(self, uid: PodUid) -> Seen | None:
        """Return what is there of an instance, None if nothing is."""
        rows = await self._engine.relist(**uid_label(uid))
        found = await self._group(rows)
        if uid in found:
            return found[uid]
        return self._leftover(uid) if uid in await asyncio.to_thread(self._traces) else None

    async def all(self) -> list[Seen]:
        """Return what is there of every instance."""
        rows = await self._engine.relist()
        there = {str(row["Id"]) for row in rows}
        self._kept = {one: seen for one, seen in self._kept.items() if one in there}
        self._ended &= there
        found = await self._group(rows)
        traces = await asyncio.to_thread(self._traces)
        return [*found.values(), *(self._leftover(uid) for uid in traces if uid not in found)]

    def _traces(self) -> list[PodUid]:
        """Return the instances that have a directory or a cgroup. Blocking."""
        return list(dict.fromkeys([*self._store.uids(), *self._cgroups.uids()]))

    def _leftover(self, uid: PodUid) -> Seen:
        spec = self._store.spec(uid)
        return Seen(uid=uid, zone=ZoneId("") if spec is None else spec.zone, leftovers=True)

    async def _group(self, rows: Iterable[Mapping[str, Any]]) -> dict[PodUid, Seen]:
        sandboxes: dict[PodUid, tuple[SandboxLabels, Mapping[str, Any]]] = {}
        attempts: dict[PodUid, list[tuple[ContainerLabels, Mapping[str, Any]]]] = {}
        for row in rows:
            try:
                labels = decode(row["Labels"], self._installation)
            except ValueError as error:
                _log.error(
                    "a container with labels that miss a part is left alone", container=row["Id"], reason=str(error)
                )
                continue
            if isinstance(labels, SandboxLabels):
                sandboxes[labels.uid] = (labels, row)
            elif isinstance(labels, ContainerLabels):
                attempts.setdefault(labels.uid, []).append((labels, row))
        seen = await self._seen_attempts([pair for pairs in attempts.values() for pair in pairs])
        return {
            uid: self._seen(uid, sandboxes.get(uid), attempts.get(uid, []), seen)
            for uid in dict.fromkeys([*sandboxes, *attempts])
        }

    def _seen(
        self,
        uid: PodUid,
        sandbox: tuple[SandboxLabels, Mapping[str, Any]] | None,
        attempts: Iterable[tuple[ContainerLabels, Mapping[str, Any]]],
        seen: Mapping[str, SeenContainer],
    ) -> Seen:
        containers = sorted(
            (seen[row["Id"]] for _, row in attempts if row["Id"] in seen),
            key=lambda one: (one.name, one.attempt),
        )
        if sandbox is None:
            zone = next(iter(attempts))[0].zone
            return Seen(uid=uid, zone=zone, containers=tuple(containers))
        labels, row = sandbox
        return Seen(
            uid=uid,
            zone=labels.zone,
            address=labels.address,
            vswitch=labels.vswitch,
            sandbox_running=row["State"] == "running" and row["Id"] not in self._ended,
            sandbox_exists=True,
            sandbox_id=row["Id"],
            containers=tuple(containers),
        )

    async def _seen_attempts(
        self,
        attempts: Iterable[tuple[ContainerLabels, Mapping[str, Any]]],
    ) -> dict[str, SeenContainer]:
        """Return the attempts by ID; one that is removed meanwhile is left out."""
        seen: dict[str, SeenContainer] = {}
        limit = asyncio.Semaphore(_AT_ONCE)

        async def look(labels: ContainerLabels, container_id: str) -> None:
            async with limit:
                inspected = await self._engine.inspect(container_id)
                if inspected is not None:
                    seen[container_id] = await self.take(inspected, labels)

        try:
            async with asyncio.TaskGroup() as group:
                for labels, row in attempts:
                    kept = self._kept.get(row["Id"])
                    if kept is not None and (kept.exited or row["State"] in _RUNNING):
                        seen[row["Id"]] = kept
                    else:
                        group.create_task(look(labels, row["Id"]))
        except* RuntimeFault as faults:
            raise first_fault(faults) from None
        return seen

    async def _message(self, inspected: Mapping[str, Any], labels: ContainerLabels, seen: SeenContainer) -> str:
        """Return the termination message by the kubelet's rule (kuberuntime_container.go)."""
        data = await asyncio.to_thread(self._mounts.message, labels.uid, labels.container, labels.attempt)
        if not data and labels.fallback_to_logs and seen.exit_code != 0:
            options = LogOptions(tail=_MESSAGE_LINES)
            tty = bool(inspected["Config"]["Tty"])
            logs = read_logs(self._engine.client, inspected["Id"], options, tty=tty)
            data = b"".join([piece async for piece in logs])[-_MESSAGE_BYTES:]
        return data.decode(errors="replace")
