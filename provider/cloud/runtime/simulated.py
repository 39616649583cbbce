"""SimulatedRuntime: instances without containers, for load, for long spans of time and for machines without Docker.

An attempt is a pair of times. Whether it has ended is computed when somebody asks, so nothing runs while nothing
happens; one heap of end times serves `hints`. What a container does is told by the pairs of RunSpec.simulate:
`duration` (seconds, app containers; without it the runtime's default), `exit-code` (0 to 255), `start-delay` (seconds).
Init containers end at once with 0, sidecars run until they are stopped. A stopped container ends at once: with 143
(SIGTERM), with 137 (SIGKILL) when there is no grace.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import socket
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING

from provider.cloud.runtime.base import FaultKind, Image, RuntimeFault, Seen, SeenContainer
from provider.cloud.runtime.image_reference import named_image
from provider.cloud.runtime.simulated_exec import SimulatedAttach, SimulatedExec
from provider.model.capacity import BackendHealth, EngineInfo
from provider.model.request import ContainerKind, PullPolicy
from provider.model.usage import ContainerUsage, DiskUse, InstanceUsage, Use
from provider.model.volume import EmptyDirVolume

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from provider.clock import Clock
    from provider.cloud.backend import AttachRequest, ExecRequest, ExecSession, LogOptions
    from provider.cloud.runtime.base import RunSpec, SandboxSpec
    from provider.model.capacity import Redirect, Zone
    from provider.model.ids import PodUid, ZoneId
    from provider.model.request import RegistryCredential
    from provider.model.volume import FileEntry

_TERMINATED, _KILLED = 128 + 15, 128 + 9
_EXIT_CODES = range(256)


@dataclass
class _Attempt:
    """One attempt. `ends_at` None: it runs until it is stopped; `changed` is set when it starts or is stopped."""

    spec: RunSpec
    container_id: str
    started_at: float | None = None
    ends_at: float | None = None
    exit_code: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def exited(self, now: float) -> bool:
        return self.ends_at is not None and now >= self.ends_at

    def seen(self, now: float) -> SeenContainer:
        exited = self.exited(now)
        return SeenContainer(
            name=self.spec.container.name,
            attempt=self.spec.attempt,
            container_id=self.container_id,
            running=self.started_at is not None and not exited,
            exited=exited,
            started_at=self.started_at,
            finished_at=self.ends_at if exited else None,
            exit_code=self.exit_code if exited else 0,
            image=self.spec.container.image,
            image_id=self.spec.image_id,
        )


@dataclass
class _Instance:
    sandbox: SandboxSpec
    sandbox_exists: bool = True
    attempts: dict[tuple[str, int], _Attempt] = field(default_factory=dict)


class SimulatedRuntime:
    """ContainerRuntime on a clock. It forgets everything with its process, as an engine that was wiped.

    `start_seconds`: how long a start takes; `duration_seconds`: how long app containers run (None: until stopped).
    """

    def __init__(self, clock: Clock, start_seconds: float = 0.0, duration_seconds: float | None = None) -> None:
        self._clock = clock
        self._start_seconds = start_seconds
        self._duration_seconds = duration_seconds
        self._instances: dict[PodUid, _Instance] = {}
        self._ends: list[tuple[float, PodUid]] = []
        self._hinted: dict[PodUid, None] = {}
        self._wake = asyncio.Event()
        self._closed = False
        self.redirects: tuple[Redirect, ...] = ()
        self.written: dict[PodUid, dict[str, int]] = {}
        """bytes of local disk by instance, and volume or container: nothing is written unless it is said here."""

    async def start(self, zones: Sequence[Zone]) -> None:  # noqa: ARG002 - a zone needs nothing here
        """See ContainerRuntime."""
        self._closed = False

    async def close(self) -> None:
        """See ContainerRuntime; ends `hints`."""
        self._closed = True
        self._wake.set()

    async def health(self) -> BackendHealth:
        """See ContainerRuntime: always healthy."""
        return BackendHealth(healthy=True, engine=EngineInfo(runtime="simulated://0.1.0", apparmor=True))

    def node_address(self, zone: ZoneId) -> str | None:  # noqa: ARG002 - no zone has a network
        """See ContainerRuntime: no zone has an address of its own."""
        return None

    async def listen(self, zone: ZoneId, port: int) -> socket.socket:  # noqa: ARG002 - all zones share one address
        """Return a listening socket on loopback; all zones share it, so the port is the machine's choice."""
        return socket.create_server(("127.0.0.1", 0))

    async def connect(self, zone: ZoneId, host: str, port: int, seconds: float) -> socket.socket:
        """Raise ConnectionRefusedError: nothing listens in a simulated pod."""
        raise ConnectionRefusedError(f"simulated pods have no network: {zone} {host}:{port} (waited 0 of {seconds} s)")

    async def set_redirects(self, redirects: Sequence[Redirect]) -> None:
        """See ContainerRuntime: kept for whoever looks, there is no router to tell."""
        self.redirects = tuple(redirects)

    async def pressure(self) -> str:
        """See ContainerRuntime: instances without containers never fill an engine."""
        return ""

    async def ensure_image(
        self,
        image: str,
        policy: PullPolicy,
        credentials: Sequence[RegistryCredential],  # noqa: ARG002 - every image is there
        pulling: Callable[[], None] | None = None,
    ) -> Image:
        """See ContainerRuntime: every image that can be is there, its digest is a function of its name."""
        named_image(image)
        if policy is PullPolicy.ALWAYS and pulling is not None:
            pulling()
        digest = f"sha256:{sha256(image.encode()).hexdigest()}"
        return Image(id=digest, digest=f"{image}@{digest}", pulled=policy is PullPolicy.ALWAYS)

    async def create_sandbox(self, spec: SandboxSpec) -> None:
        """See ContainerRuntime."""
        found = self._instances.get(spec.uid)
        if found is not None and (found.sandbox.vswitch, found.sandbox.address) != (spec.vswitch, spec.address):
            await self.remove_instance(spec.uid)
        found = self._instances.setdefault(spec.uid, _Instance(spec))
        found.sandbox_exists = True
        self._hint(spec.uid)

    async def start_container(self, spec: RunSpec) -> SeenContainer:
        """See ContainerRuntime. CONFIG for a `simulate` pair that is no number; CREATE without a sandbox."""
        instance = self._instances.get(spec.uid)
        if instance is None or not instance.sandbox_exists:
            raise RuntimeFault(FaultKind.CREATE, f"instance {spec.uid} has no sandbox")
        delay, duration, exit_code = self._plan(spec)
        key = (spec.container.name, spec.attempt)
        text = f"{spec.uid}/{spec.container.name}/{spec.attempt}"
        attempt = instance.attempts.setdefault(key, _Attempt(spec, f"simulated://{sha256(text.encode()).hexdigest()}"))
        if attempt.started_at is None and attempt.ends_at is None:
            if delay > 0:
                await self._clock.sleep(delay)
            if instance.attempts.get(key) is not attempt:
                raise RuntimeFault(FaultKind.CREATE, f"container {key[0]} was removed while it started")
        if attempt.started_at is None and attempt.ends_at is None:  # neither stopped nor started by another call
            attempt.started_at = self._clock.now()
            attempt.exit_code = exit_code
            if duration is not None:
                attempt.ends_at = attempt.started_at + duration
                heapq.heappush(self._ends, (attempt.ends_at, spec.uid))
            self._changed(spec.uid, attempt)
        return attempt.seen(self._clock.now())

    def _plan(self, spec: RunSpec) -> tuple[float, float | None, int]:
        """Return start delay, duration (None: for ever) and exit code of an attempt."""
        if spec.container.kind is ContainerKind.INIT:
            return self._start_seconds, 0.0, 0
        if spec.container.kind is ContainerKind.SIDECAR:
            return self._start_seconds, None, 0
        pairs = dict(spec.simulate)
        duration = _seconds(pairs, "duration") if "duration" in pairs else self._duration_seconds
        delay = _seconds(pairs, "start-delay") if "start-delay" in pairs else self._start_seconds
        code = pairs.get("exit-code", "0")
        if not (code.isascii() and code.isdigit() and int(code) in _EXIT_CODES):
            raise RuntimeFault(FaultKind.CONFIG, f"simulate exit-code: {code!r} is not 0 to 255")
        return delay, duration, int(code)

    async def stop_container(self, uid: PodUid, container: str, attempt: int, grace: float) -> None:
        """See ContainerRuntime: a simulated program ends at its first signal."""
        found = self._attempt(uid, container, attempt)
        now = self._clock.now()
        if found is None or found.exited(now):
            return
        found.ends_at = now
        found.exit_code = _TERMINATED if grace > 0 else _KILLED
        self._changed(uid, found)

    async def remove_container(self, uid: PodUid, container: str, attempt: int) -> None:
        """See ContainerRuntime."""
        if instance := self._instances.get(uid):
            removed = instance.attempts.pop((container, attempt), None)
            if removed is not None:
                self._changed(uid, removed)

    async def release_sandbox(self, uid: PodUid) -> None:
        """See ContainerRuntime."""
        if instance := self._instances.get(uid):
            instance.sandbox_exists = False
            self._hint(uid)

    async def remove_instance(self, uid: PodUid) -> None:
        """See ContainerRuntime."""
        if instance := self._instances.pop(uid, None):
            now = self._clock.now()
            for attempt in instance.attempts.values():
                if not attempt.exited(now):
                    attempt.ends_at, attempt.exit_code = now, _KILLED
                self._changed(uid, attempt)
            instance.attempts.clear()
            self._hint(uid)

    async def write_files(self, uid: PodUid, volume: str, files: Sequence[FileEntry]) -> None:
        """See ContainerRuntime: nobody reads files here, so none are kept."""

    async def inspect(self, uid: PodUid) -> Seen | None:
        """See ContainerRuntime."""
        instance = self._instances.get(uid)
        return None if instance is None else self._seen(instance)

    async def relist(self) -> Sequence[Seen]:
        """See ContainerRuntime."""
        return [self._seen(instance) for instance in self._instances.values()]

    def _seen(self, instance: _Instance) -> Seen:
        now = self._clock.now()
        spec, there = instance.sandbox, instance.sandbox_exists
        return Seen(
            uid=spec.uid,
            zone=spec.zone,
            address=spec.address if there else None,
            vswitch=spec.vswitch if there else None,
            sandbox_running=there,
            sandbox_exists=there,
            sandbox_id=sha256(spec.uid.encode()).hexdigest() if there else "",
            containers=tuple(attempt.seen(now) for attempt in instance.attempts.values()),
        )

    async def hints(self) -> AsyncGenerator[PodUid, None]:
        """See ContainerRuntime; one reader. Asleep until the next end time or the next act."""
        while not self._closed:
            now = self._clock.now()
            while self._ends and self._ends[0][0] <= now:
                self._hinted[heapq.heappop(self._ends)[1]] = None
            if self._hinted:
                uid = next(iter(self._hinted))
                del self._hinted[uid]
                yield uid
                continue
            self._wake.clear()
            await self._wait(self._wake, self._ends[0][0] if self._ends else None)

    async def logs(self, uid: PodUid, container: str, attempt: int, options: LogOptions) -> AsyncGenerator[bytes, None]:
        """See ContainerRuntime: one line when the attempt starts, one when it ends."""
        found = self._attempt(uid, container, attempt)
        if found is None:
            return
        left = math.inf if options.limit_bytes is None else options.limit_bytes
        lines = self._lines(found)
        skip = 0 if options.tail is None else max(0, len(lines) - options.tail)
        while True:
            for at, line in lines[skip:]:
                if options.since is not None and at < options.since:
                    continue
                stamp = (
                    datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z ") if options.timestamps else ""
                )
                data = f"{stamp}{line}\n".encode()
                if left < len(data):
                    data = data[: int(left)]
                left -= len(data)
                if data:
                    yield data
            if not options.follow or left <= 0 or found.exited(self._clock.now()):
                return
            skip = len(lines)
            while len(lines) == skip and not found.exited(self._clock.now()):
                found.changed.clear()
                await self._wait(found.changed, found.ends_at)
                if self._attempt(uid, container, attempt) is not found:
                    return
                lines = self._lines(found)
            lines = self._lines(found)

    def _lines(self, attempt: _Attempt) -> list[tuple[float, str]]:
        name = f"{attempt.spec.container.name} attempt {attempt.spec.attempt}"
        lines: list[tuple[float, str]] = []
        if attempt.started_at is not None:
            lines.append((attempt.started_at, f"simulated: {name} started"))
        if attempt.ends_at is not None and attempt.exited(self._clock.now()):
            lines.append((attempt.ends_at, f"simulated: {name} ended with {attempt.exit_code}"))
        return lines

    async def exec(self, uid: PodUid, attempt: int, request: ExecRequest) -> SimulatedExec:
        """See ContainerRuntime: every command succeeds at once and says nothing. START if nothing runs."""
        found = self._attempt(uid, request.container, attempt)
        if found is None or not found.seen(self._clock.now()).running:
            raise RuntimeFault(FaultKind.START, f"container {request.container} is not running")
        return SimulatedExec()

    async def attach(self, uid: PodUid, attempt: int, request: AttachRequest) -> ExecSession:
        """See ContainerRuntime: what `logs` tells from now on; there is no program to give input to."""
        found = self._attempt(uid, request.container, attempt)
        if found is None or not found.seen(self._clock.now()).running:
            raise RuntimeFault(FaultKind.START, f"container {request.container} is not running")
        return SimulatedAttach(self._rest(uid, found, len(self._lines(found))))

    async def _rest(self, uid: PodUid, attempt: _Attempt, known: int) -> AsyncGenerator[bytes, None]:
        """Yield the lines behind the first `known` once the attempt has ended; nothing of one that is removed."""
        while not attempt.exited(self._clock.now()):
            attempt.changed.clear()
            await self._wait(attempt.changed, attempt.ends_at)
            if self._attempt(uid, attempt.spec.container.name, attempt.spec.attempt) is not attempt:
                return
        for _, line in self._lines(attempt)[known:]:
            yield f"{line}\n".encode()

    async def connect_inside(self, uid: PodUid, port: int, seconds: float) -> socket.socket:
        """Raise UNSUPPORTED: there is no network in a simulated pod."""
        text = f"port-forward: simulated pods have no network ({uid} port {port}, waited 0 of {seconds:g} s)"
        raise RuntimeFault(FaultKind.UNSUPPORTED, text)

    async def usage(self) -> Sequence[InstanceUsage]:
        """See ContainerRuntime: nothing is used, but whoever runs is there."""
        now = self._clock.now()
        found = []
        for instance in self._instances.values():
            if instance.sandbox_exists:
                spec, seen = instance.sandbox, [each.seen(now) for each in instance.attempts.values()]
                running = [ContainerUsage(one.name, one.started_at or now, Use(at=now)) for one in seen if one.running]
                found.append(InstanceUsage(spec.uid, spec.zone, Use(at=now), spec.memory, tuple(running)))
        return found

    async def disk_use(self, uid: PodUid) -> DiskUse | None:
        """See ContainerRuntime: what a test or a scenario has said in `written`, by volume or container."""
        instance = self._instances.get(uid)
        if instance is None:
            return None
        said = self.written.get(uid, {})
        disks = [one.name for one in instance.sandbox.volumes if isinstance(one, EmptyDirVolume) and not one.memory]
        volumes = tuple((name, said.get(name, 0)) for name in disks)
        names = dict.fromkeys(name for name, _ in instance.attempts)
        containers = tuple((name, said.get(name, 0)) for name in names)
        return DiskUse(uid, volumes, containers, sum(size for _, size in (*volumes, *containers)))

    def _attempt(self, uid: PodUid, container: str, attempt: int) -> _Attempt | None:
        instance = self._instances.get(uid)
        return None if instance is None else instance.attempts.get((container, attempt))

    def _changed(self, uid: PodUid, attempt: _Attempt) -> None:
        attempt.changed.set()
        self._hint(uid)

    def _hint(self, uid: PodUid) -> None:
        self._hinted[uid] = None
        self._wake.set()

    async def _wait(self, event: asyncio.Event, until: float | None) -> None:
        """Return when the event is set or the clock reaches `until`."""
        if until is None:
            await event.wait()
            return

        async def alarm() -> None:
            await self._clock.sleep(until - self._clock.now())
            event.set()

        async with asyncio.TaskGroup() as group:
            sleeper = group.create_task(alarm())
            await event.wait()
            sleeper.cancel()


def _seconds(pairs: dict[str, str], key: str) -> float:
    """Return a pair's value in seconds; RuntimeFault CONFIG if it is no time."""
    try:
        seconds = float(pairs[key])
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise RuntimeFault(FaultKind.CONFIG, f"simulate {key}: {pairs[key]!r} is no time in seconds")
    return seconds
