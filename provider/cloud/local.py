"""LocalBackend: the elastic cloud in this process. ElasticBackend and CloudAdmin over a runtime and a journal.

    create -> check -> journal row -> supervisor (instances/supervisor.py) -> placement, sandbox, images, starts
    run    -> a life (life.py): runtime.start -> rows restored, stock and addresses booked -> all looked at -> ready

Before `ready` every call says UNAVAILABLE: what the journal remembers is not the truth until the runtime was looked at.
"""

from __future__ import annotations

from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import structlog

from provider.cloud.instances.accounts import usage_since
from provider.cloud.instances.events import DeleteRequested
from provider.cloud.instances.machine import InstanceMachine
from provider.cloud.instances.specs import fixed_part, instance_id, sizes_of
from provider.cloud.life import CloudLife
from provider.cloud.port_connection import open_connection
from provider.cloud.refusals import RETRY_AFTER, RefusingExec, as_cloud_errors
from provider.cloud.runtime.base import RuntimeFault
from provider.cloud.stock_overrides import StockOverrides
from provider.model.capacity import BackendHealth
from provider.model.errors import CloudCode, CloudError
from provider.model.profile import PLAIN
from provider.model.request import SOLD_MARKETS, ContainerKind
from provider.model.volume import FilesVolume

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncGenerator, Sequence
    from random import Random  # noqa: TID251 - the type of what the composition root hands out

    from provider.clock import Clock
    from provider.cloud.backend import AttachRequest, ExecRequest, ExecSession, LogOptions
    from provider.cloud.instances.entry import Entry
    from provider.cloud.instances.journal import Journal
    from provider.cloud.instances.probes import GrpcCheck
    from provider.cloud.instances.supervisor import Supervisor
    from provider.cloud.port_connection import SocketConnection
    from provider.cloud.runtime.base import ContainerRuntime
    from provider.model.attempt import SeenContainer
    from provider.model.bill import UsageRecord
    from provider.model.capacity import Redirect, Zone, ZoneStatus
    from provider.model.ids import PodUid, ZoneId
    from provider.model.instance import Change, Instance
    from provider.model.profile import Profile
    from provider.model.request import InstanceRequest, RegistryCredential
    from provider.model.stock import StockChange
    from provider.model.usage import InstanceUsage
    from provider.model.volume import FileEntry

log = structlog.get_logger(__name__)


class LocalBackend:
    """See ElasticBackend. `starts_in_flight`: how many instances start at a time; `grpc`: how gRPC probes ask.

    `profile`: what its sizes cost.

    The caller closes `journal`.
    """

    def __init__(
        self,
        zones: Sequence[Zone],
        runtime: ContainerRuntime,
        journal: Journal,
        *,
        clock: Clock,
        random: Random,
        grpc: GrpcCheck,
        starts_in_flight: int = 4,
        profile: Profile = PLAIN,
    ) -> None:
        self._zones = tuple(zones)
        self._runtime = runtime
        self._journal = journal
        self._clock = clock
        self._overrides = StockOverrides(journal)
        self._new_life = partial(
            CloudLife,
            self._zones,
            runtime,
            journal,
            clock=clock,
            random=random,
            starts_in_flight=starts_in_flight,
            grpc=grpc,
            profile=profile,
        )
        self._life: CloudLife | None = None

    async def run(self, ready: asyncio.Event) -> None:
        """Serve until cancelled; `ready` is set once everything that the journal and the runtime have is taken over.

        After an end, or a crash by a bug, it may be called again: it begins anew from journal and runtime.
        """
        self._life = self._new_life()
        try:
            await self._life.run(ready)
        finally:
            self._life = None
            await self._runtime.close()

    # ------------------------------------------------------------------ ElasticBackend

    async def health(self) -> BackendHealth:
        """See ElasticBackend."""
        try:
            found = await self._runtime.health()
        except RuntimeFault as fault:
            return BackendHealth(healthy=False, reason="EngineUnavailable", message=fault.message)
        if not found.healthy:
            return found
        away = "" if self._life is None else self._life.supervisor.looks.away
        if away:
            return msgspec.structs.replace(found, healthy=False, reason="EngineUnavailable", message=away)
        if self._life is None or not self._life.serving:
            text = "the cloud is taking over its instances"
            return msgspec.structs.replace(found, healthy=False, reason="Starting", message=text)
        return found

    async def describe_zones(self) -> Sequence[ZoneStatus]:
        """See ElasticBackend."""
        life = self._serving()
        return [self._zone_status(life, zone.id) for zone in self._zones]

    def _zone_status(self, life: CloudLife, zone: ZoneId) -> ZoneStatus:
        return life.placement.status(zone, self._runtime.node_address(zone))

    # ------------------------------------------------------------------ CloudAdmin

    async def set_stock(self, change: StockChange) -> ZoneStatus:
        """See CloudAdmin."""
        life = self._serving()
        life.change_stock(change.zone, self._overrides.say(change, [zone.id for zone in self._zones]))
        return self._zone_status(life, change.zone)

    async def reset_stock(self, zone: ZoneId) -> ZoneStatus:
        """See CloudAdmin."""
        life = self._serving()
        self._overrides.take_back(zone, [each.id for each in self._zones])
        life.change_stock(zone, None)
        return self._zone_status(life, zone)

    # ------------------------------------------------------------------ instances

    async def create_instance(self, request: InstanceRequest) -> Instance:
        """See ElasticBackend."""
        life = self._serving()
        known = life.supervisor.entries.get(request.uid)
        if known is not None:
            # The content of files is left out: tokens rotate between two tries of the same creation.
            if fixed_part(known.machine.request) == fixed_part(request):
                return known.instance
            text = f"instance {request.uid} was created with another request"
            raise CloudError(CloudCode.TOKEN_CONFLICT, text)
        found: Sequence[SeenContainer] = ()
        if not self._journal.is_used_up(request.uid):
            _check(request)
            life.placement.check(request.zone, sizes_of(request), request.vswitches)
            found = await life.unrecorded.claim(request)
            if self._serving() is not life or request.uid in life.supervisor.entries:
                return await self.create_instance(request)  # the world has changed meanwhile
        machine = InstanceMachine(request, instance_id(request.uid), self._clock.now())
        return life.supervisor.accept(machine, found).instance

    async def delete_instance(self, uid: PodUid, grace: float) -> Instance:
        """See ElasticBackend."""
        entry = self._entry(uid)
        if not entry.machine.released:
            self._serving().supervisor.feed(entry, DeleteRequested(max(0.0, grace)))
            if entry.instance.grace is None or entry.instance.grace > max(0.0, grace):
                text = f"the end of instance {uid} cannot be written down now"
                raise CloudError(CloudCode.UNAVAILABLE, text, RETRY_AFTER)
        return entry.instance

    async def forget_instance(self, uid: PodUid) -> None:
        """See ElasticBackend."""
        life = self._serving()
        entry = life.supervisor.entries.get(uid)
        if entry is None:
            return
        if not entry.machine.released:
            text = f"instance {uid} is {entry.instance.phase} and not released yet; delete it first"
            raise CloudError(CloudCode.INCORRECT_STATUS, text, RETRY_AFTER)
        done = life.promise()
        act = partial(self._forget, life.supervisor, entry, done)
        life.supervisor.removals.submit(uid, "forget", act)
        await done

    async def _forget(self, supervisor: Supervisor, entry: Entry, done: asyncio.Future[None]) -> None:
        """Remove what is left, then the row: the other way round a crash would leave things that nobody knows."""
        try:
            if supervisor.entries.get(entry.uid) is entry:
                with as_cloud_errors():
                    await self._runtime.remove_instance(entry.uid)
                self._journal.forget(entry.uid)
                supervisor.drop(entry)
        except Exception as error:  # noqa: BLE001 - goes to the caller, who may have gone away meanwhile
            if done.done():
                log.warning("instance not forgotten, and nobody waits to hear it", uid=entry.uid, error=str(error))
            else:
                done.set_exception(error)
        else:
            if not done.done():
                done.set_result(None)

    async def update_files(self, uid: PodUid, volume: str, files: Sequence[FileEntry]) -> None:
        """See ElasticBackend. NOT_FOUND for an unknown UID or volume, INVALID_PARAMETER for one that has no files."""
        entry = self._entry(uid)
        request = entry.machine.request
        found = next((one for one in request.volumes if one.name == volume), None)
        if found is None:
            raise CloudError(CloudCode.NOT_FOUND, f"instance {uid} has no volume {volume}")
        if not isinstance(found, FilesVolume):
            raise CloudError(CloudCode.INVALID_PARAMETER, f"volume {volume} of instance {uid} is not made of files")
        same = found.files == tuple(files)
        if entry.machine.released or (same and volume in entry.written):
            return
        changed = found if same else FilesVolume(volume, tuple(files))
        if not same:
            entry.written.discard(volume)
            volumes = tuple(changed if one is found else one for one in request.volumes)
            request = msgspec.structs.replace(request, volumes=volumes)
            self._journal.save_request(request, entry.row)
            entry.machine.update(request)
        if entry.machine.has_sandbox:  # otherwise the sandbox is made with the newest content
            with as_cloud_errors():
                await self._runtime.write_files(uid, volume, changed.files)
            if changed in entry.machine.request.volumes:  # and nobody has brought newer ones meanwhile
                entry.written.add(volume)

    async def update_credentials(self, uid: PodUid, credentials: Sequence[RegistryCredential]) -> None:
        """See ElasticBackend."""
        entry = self._entry(uid)
        if entry.machine.released or entry.machine.request.credentials == tuple(credentials):
            return
        request = msgspec.structs.replace(entry.machine.request, credentials=tuple(credentials))
        self._journal.save_request(request, entry.row)
        entry.machine.update(request)

    async def update_deadline(self, uid: PodUid, active_deadline: float | None) -> Instance:
        """See ElasticBackend."""
        entry = self._entry(uid)
        request = msgspec.structs.replace(entry.machine.request, active_deadline=active_deadline)
        if not entry.machine.released and request != entry.machine.request:
            self._journal.save_request(request, entry.row)
            entry.machine.update(request)
            self._serving().supervisor.updated(entry)
        return entry.instance

    async def describe_instances(self, zone: ZoneId | None = None) -> Sequence[Instance]:
        """See ElasticBackend."""
        found = [entry.instance for entry in self._serving().supervisor.entries.values()]
        return [one for one in found if zone is None or one.zone == zone]

    async def describe_instance(self, uid: PodUid) -> Instance:
        """See ElasticBackend."""
        return self._entry(uid).instance

    async def watch(self) -> AsyncGenerator[Change, None]:
        """See ElasticBackend."""
        async with aclosing(self._serving().supervisor.hub.watch()) as changes:
            async for change in changes:
                yield change

    async def logs(self, uid: PodUid, container: str, options: LogOptions) -> AsyncGenerator[bytes, None]:
        """See ElasticBackend."""
        attempt = self._entry(uid).machine.log_attempt(container, previous=options.previous)
        with as_cloud_errors():
            async with aclosing(self._runtime.logs(uid, container, attempt, options)) as pieces:
                async for piece in pieces:
                    yield piece

    async def exec(self, uid: PodUid, request: ExecRequest) -> ExecSession:
        """See ElasticBackend."""
        attempt = self._entry(uid).machine.running_attempt(request.container)
        with as_cloud_errors():
            return RefusingExec(await self._runtime.exec(uid, attempt, request))

    async def attach(self, uid: PodUid, request: AttachRequest) -> ExecSession:
        """See ElasticBackend."""
        attempt = self._entry(uid).machine.running_attempt(request.container)
        with as_cloud_errors():
            return RefusingExec(await self._runtime.attach(uid, attempt, request))

    async def forward(self, uid: PodUid, port: int) -> SocketConnection:
        """See ElasticBackend."""
        self._entry(uid)
        return await open_connection(self._runtime, uid, port)

    async def describe_usage(self, zone: ZoneId | None = None) -> Sequence[InstanceUsage]:
        """See ElasticBackend."""
        known = self._serving().supervisor.entries
        with as_cloud_errors():
            found = await self._runtime.usage()
        return [one for one in found if one.uid in known and (zone is None or one.zone == zone)]

    async def describe_usage_records(self, since: float | None = None) -> Sequence[UsageRecord]:
        """See ElasticBackend."""
        self._serving()
        return usage_since(self._journal, since, self._clock.now())

    async def set_redirects(self, redirects: Sequence[Redirect]) -> None:
        """See ElasticBackend."""
        with as_cloud_errors():
            await self._runtime.set_redirects(redirects)

    def _entry(self, uid: PodUid) -> Entry:
        entry = self._serving().supervisor.entries.get(uid)
        if entry is None:
            raise CloudError(CloudCode.NOT_FOUND, f"there is no instance {uid}")
        return entry

    def _serving(self) -> CloudLife:
        life = self._life
        if life is None or not life.serving:
            away = "" if life is None else life.supervisor.looks.away
            text = f"the cloud is not ready yet{': ' + away if away else ''}"
            raise CloudError(CloudCode.UNAVAILABLE, text, RETRY_AFTER)
        return life


def _check(request: InstanceRequest) -> None:
    """Refuse a request that makes no sense in any zone."""
    if request.market not in SOLD_MARKETS:
        raise CloudError(CloudCode.UNSUPPORTED, f"market: {request.market} is not sold yet")
    if not any(one.kind is ContainerKind.APP for one in request.containers):
        raise CloudError(CloudCode.INVALID_PARAMETER, "containers: at least one app container is needed")
    for what, names in (
        ("containers", [one.name for one in request.containers]),
        ("volumes", [one.name for one in request.volumes]),
    ):
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise CloudError(CloudCode.INVALID_PARAMETER, f"{what}: {', '.join(twice)} is there more than once")
    volumes = {one.name for one in request.volumes}
    for index, one in enumerate(request.containers):
        missing = [mount.volume for mount in one.mounts if mount.volume not in volumes]
        if missing:
            text = f"containers[{index}].mounts: there is no volume {', '.join(missing)}"
            raise CloudError(CloudCode.INVALID_PARAMETER, text)
