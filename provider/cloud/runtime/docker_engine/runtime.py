"""DockerRuntime: the ContainerRuntime on a real Docker engine. What is here is only who does what.

    images       what is local, pulls            sandboxes   an instance as a whole     attempts   its containers
    sightings    inspect, relist                 hints       the engine's events        logs, exec_session
    attach_session, inside, usage: streams and figures of instances
    instance_store, attempt_mounts, cgroups, slices: the engine's host     zone_networks: addresses, sockets, redirects

It needs root on the engine's host, with the state directory at the same path for both.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from msgspec import Struct

from provider.cloud.runtime.base import FaultKind, RuntimeFault
from provider.cloud.runtime.docker_engine.attach_session import start_attach
from provider.cloud.runtime.docker_engine.attempt_mounts import AttemptMounts
from provider.cloud.runtime.docker_engine.attempts import Attempts
from provider.cloud.runtime.docker_engine.disk_use import read_disk_use
from provider.cloud.runtime.docker_engine.engine import Engine, faults
from provider.cloud.runtime.docker_engine.exec_session import start_exec
from provider.cloud.runtime.docker_engine.half_started import HalfStarted
from provider.cloud.runtime.docker_engine.hints import Hints
from provider.cloud.runtime.docker_engine.host import look_at_host
from provider.cloud.runtime.docker_engine.host_paths import HostPaths
from provider.cloud.runtime.docker_engine.images import Images
from provider.cloud.runtime.docker_engine.inside import connect_inside
from provider.cloud.runtime.docker_engine.instance_store import InstanceStore
from provider.cloud.runtime.docker_engine.logs import read_logs
from provider.cloud.runtime.docker_engine.naming import container_name, sandbox_name
from provider.cloud.runtime.docker_engine.pull_records import PullRecords
from provider.cloud.runtime.docker_engine.sandboxes import Sandboxes
from provider.cloud.runtime.docker_engine.sightings import Sightings
from provider.cloud.runtime.docker_engine.usage import read_usage
from provider.model.capacity import BackendHealth

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncGenerator, Callable, Sequence
    from pathlib import Path

    from aiodocker import Docker

    from provider.clock import Clock
    from provider.cloud.backend import AttachRequest, ExecRequest, ExecSession, LogOptions
    from provider.cloud.runtime.base import Image, RunSpec, SandboxSpec, Seen, SeenContainer
    from provider.cloud.runtime.docker_engine.cgroups import Cgroups
    from provider.cloud.runtime.docker_engine.host import Host
    from provider.cloud.runtime.docker_engine.zone_networks import ZoneNetworks
    from provider.model.capacity import Redirect, Zone
    from provider.model.ids import PodUid, ZoneId
    from provider.model.request import PullPolicy, RegistryCredential
    from provider.model.usage import DiskUse, InstanceUsage
    from provider.model.volume import FileEntry

_PING_SECONDS = 5.0
_SHORTEST, _LONGEST = 0.5, 10.0
_FULL = 0.95
"""How much of the cap may be in use before no further instance is started."""
_GIB = 2**30
_log = structlog.get_logger(__name__)


class DockerSettings(Struct, frozen=True, kw_only=True):
    """What the config says about the engine (config.schema.DockerConfig)."""

    pause_image: str = "zonelet/pause:1"
    memory_share: float = 0.8
    cpu_reserve: float = 0.5
    prefer_local: bool = False
    """imagePull: preferLocal."""
    host_paths: tuple[str, ...] = ()
    """pods.hostPath.allowedPaths."""


@dataclass(frozen=True, kw_only=True)
class _Started:
    """What there is once the engine has been asked."""

    host: Host
    cgroups: Cgroups
    sandboxes: Sandboxes
    attempts: Attempts
    sightings: Sightings
    hints: Hints


class DockerRuntime:
    """ContainerRuntime on Docker; the client is opened and closed by the caller (client.open_client)."""

    def __init__(
        self,
        client: Docker,
        installation: str,
        state_dir: Path,
        networks: ZoneNetworks,
        *,
        clock: Clock,
        settings: DockerSettings | None = None,
    ) -> None:
        self._client = client
        self._installation = installation
        self._networks = networks
        self._clock = clock
        self._settings = DockerSettings() if settings is None else settings
        self._engine = Engine(client, installation, clock)
        self._store = InstanceStore(state_dir, clock, HostPaths(self._settings.host_paths))
        self._mounts = AttemptMounts(self._store)
        self._images = Images(
            client, clock, PullRecords(state_dir / "pulls.json"), prefer_local=self._settings.prefer_local
        )
        self._files = asyncio.Lock()
        self._parts: _Started | None = None

    # ------------------------------------------------------------------ the engine

    async def start(self, zones: Sequence[Zone]) -> None:
        """See ContainerRuntime. RuntimeFault UNSUPPORTED for an engine that will not do; CONFIG as of the networks."""
        pause = _SHORTEST
        while True:
            try:
                settings = self._settings
                host = await look_at_host(self._client, settings.cpu_reserve, settings.memory_share)
                await self._networks.ensure(zones)
                break
            except RuntimeFault as fault:
                if fault.kind is not FaultKind.UNAVAILABLE:
                    raise
                _log.warning("the engine is away", reason=fault.message, again_in_seconds=pause)
                await self._clock.sleep(pause)
                pause = min(2 * pause, _LONGEST)
        self._parts = await self._build(host)

    async def _build(self, host: Host) -> _Started:
        def make_cgroups() -> Cgroups:
            cgroups = host.cgroups(self._installation)
            cgroups.ensure()
            return cgroups

        try:
            cgroups = await asyncio.to_thread(make_cgroups)
        except OSError as error:
            text = f"the cgroup of all instances cannot be made: {error}; are you root on the engine's host?"
            raise RuntimeFault(FaultKind.UNSUPPORTED, text) from error
        half_started = HalfStarted(self._engine, cgroups, self._clock)
        sightings = Sightings(
            self._engine, self._installation, self._store, self._mounts, cgroups, half_started.is_settling
        )
        sandboxes = Sandboxes(
            self._engine,
            self._installation,
            self._store,
            cgroups,
            half_started,
            self._networks,
            self._clock,
            pause_image=self._settings.pause_image,
            mac_of_endpoint=host.mac_of_endpoint,
            leaves_one_by_one=host.leaves_one_by_one,
        )
        attempts = Attempts(
            self._engine,
            self._installation,
            self._store,
            self._mounts,
            self._images,
            cgroups,
            sightings,
            half_started,
            most_cpu=host.cap.cpu,
            apparmor=host.engine.apparmor,
        )
        hints = Hints(
            self._client,
            self._installation,
            self._clock,
            sightings.ended,
            sightings.distrust,
            host.asked_at,
        )
        return _Started(
            host=host,
            cgroups=cgroups,
            sandboxes=sandboxes,
            attempts=attempts,
            sightings=sightings,
            hints=hints,
        )

    @property
    def _started(self) -> _Started:
        if self._parts is None:
            raise RuntimeFault(FaultKind.UNAVAILABLE, "the Docker runtime has not started yet")
        return self._parts

    async def close(self) -> None:
        """See ContainerRuntime; ends `hints`."""
        if self._parts is not None:
            self._parts.hints.close()

    async def health(self) -> BackendHealth:
        """See ContainerRuntime."""
        if self._parts is None:
            return BackendHealth(healthy=False, reason="KubeletNotReady", message="container runtime is not up yet")
        engine = self._parts.host.engine
        try:
            with faults(FaultKind.REFUSED):
                async with asyncio.timeout(_PING_SECONDS):
                    await self._client.version()
        except RuntimeFault as fault:
            message = f"container runtime is down: {fault.message}"
            return BackendHealth(healthy=False, reason="KubeletNotReady", message=message, engine=engine)
        return BackendHealth(healthy=True, engine=engine)

    async def pressure(self) -> str:
        """See ContainerRuntime."""
        cap = self._started.host.cap.memory
        used = await asyncio.to_thread(self._started.cgroups.working_set)
        if used < _FULL * cap:
            return ""
        return (
            f"instances use {used / _GIB:.1f} GiB of the {cap / _GIB:.1f} GiB that they may have on the engine's host "
            f"(runtime.docker.memoryShare {self._settings.memory_share:g})"
        )

    # ------------------------------------------------------------------ the zones' networks

    def node_address(self, zone: ZoneId) -> str | None:
        """See ContainerRuntime."""
        return self._networks.node_address(zone)

    async def listen(self, zone: ZoneId, port: int) -> socket.socket:
        """See ContainerRuntime."""
        return await self._networks.listen(zone, port)

    async def connect(self, zone: ZoneId, host: str, port: int, seconds: float) -> socket.socket:
        """See ContainerRuntime."""
        return await self._networks.connect(zone, host, port, seconds)

    async def set_redirects(self, redirects: Sequence[Redirect]) -> None:
        """See ContainerRuntime."""
        await self._networks.set_redirects(redirects)

    # ------------------------------------------------------------------ instances

    async def ensure_image(
        self,
        image: str,
        policy: PullPolicy,
        credentials: Sequence[RegistryCredential],
        pulling: Callable[[], None] | None = None,
    ) -> Image:
        """See ContainerRuntime."""
        return await self._images.ensure(image, policy, credentials, pulling)

    async def create_sandbox(self, spec: SandboxSpec) -> None:
        """See ContainerRuntime."""
        await self._started.sandboxes.create(spec)

    async def start_container(self, spec: RunSpec) -> SeenContainer:
        """See ContainerRuntime."""
        return await self._started.attempts.start(spec)

    async def stop_container(self, uid: PodUid, container: str, attempt: int, grace: float) -> None:
        """See ContainerRuntime."""
        await self._started.attempts.stop(uid, container, attempt, grace)

    async def remove_container(self, uid: PodUid, container: str, attempt: int) -> None:
        """See ContainerRuntime."""
        await self._started.attempts.remove(uid, container, attempt)

    async def release_sandbox(self, uid: PodUid) -> None:
        """See ContainerRuntime."""
        await self._started.sandboxes.release(uid)

    async def remove_instance(self, uid: PodUid) -> None:
        """See ContainerRuntime."""
        await self._started.sandboxes.remove(uid)

    async def write_files(self, uid: PodUid, volume: str, files: Sequence[FileEntry]) -> None:
        """See ContainerRuntime."""
        async with self._files:  # two writers in one volume would take each other's version for a stray
            await asyncio.to_thread(self._store.write, uid, volume, files)

    async def inspect(self, uid: PodUid) -> Seen | None:
        """See ContainerRuntime."""
        return await self._started.sightings.one(uid)

    async def relist(self) -> Sequence[Seen]:
        """See ContainerRuntime."""
        return await self._started.sightings.all()

    async def hints(self) -> AsyncGenerator[PodUid, None]:
        """See ContainerRuntime."""
        async with aclosing(self._started.hints.follow()) as uids:
            async for uid in uids:
                yield uid

    async def logs(self, uid: PodUid, container: str, attempt: int, options: LogOptions) -> AsyncGenerator[bytes, None]:
        """See ContainerRuntime; nothing for an attempt that was removed."""
        inspected = await self._engine.inspect(container_name(self._installation, uid, container, attempt))
        if inspected is None:
            return
        tty = bool(inspected["Config"]["Tty"])
        async with aclosing(read_logs(self._client, str(inspected["Id"]), options, tty=tty)) as pieces:
            async for data in pieces:
                yield data

    async def exec(self, uid: PodUid, attempt: int, request: ExecRequest) -> ExecSession:
        """See ContainerRuntime."""
        name = container_name(self._installation, uid, request.container, attempt)
        return await start_exec(self._client, name, request, self._clock)

    async def attach(self, uid: PodUid, attempt: int, request: AttachRequest) -> ExecSession:
        """See ContainerRuntime."""
        return await start_attach(
            self._engine, container_name(self._installation, uid, request.container, attempt), request
        )

    async def connect_inside(self, uid: PodUid, port: int, seconds: float) -> socket.socket:
        """See ContainerRuntime."""
        return await connect_inside(self._engine, sandbox_name(self._installation, uid), port, seconds)

    async def usage(self) -> Sequence[InstanceUsage]:
        """See ContainerRuntime."""
        parts = self._started
        return await asyncio.to_thread(
            read_usage, parts.cgroups, self._store.spec, parts.sightings.kept, self._clock.now()
        )

    async def disk_use(self, uid: PodUid) -> DiskUse | None:
        """See ContainerRuntime."""
        return await read_disk_use(self._engine, self._installation, self._store, uid)
