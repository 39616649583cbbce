"""Worlds of the cloud side for tests: a runtime with a zone and an image, a backend over it, and what it has told.

Tests write containers that say the same thing twice: a shell command for a real engine, `simulate` pairs for the
simulated one.
"""

from __future__ import annotations

import asyncio
import itertools
import random  # noqa: TID251 - a seeded value is what LocalBackend is given
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import uuid4

from provider.clock import Clock, SystemClock
from provider.cloud.backend import ElasticBackend, ExecRequest
from provider.cloud.instances.journal import Journal
from provider.cloud.local import LocalBackend
from provider.cloud.runtime.base import ContainerRuntime, RunSpec, SandboxSpec
from provider.cloud.runtime.simulated import SimulatedRuntime
from provider.model.capacity import VSwitch, Zone
from provider.model.ids import PodUid, VSwitchId, ZoneId
from provider.model.instance import Change, ContainerStatus, Instance, InstanceChanged, InstanceGone, Notice
from provider.model.profile import Prices, Profile
from provider.model.request import ContainerKind, ContainerSpec, InstanceRequest, RestartPolicy
from provider.rpc.health_check import check_health

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from provider.model.volume import Volume

UIDS = itertools.count()
ZONE = Zone(
    id=ZoneId("zone-a"),
    cpu=4_000,
    memory=4 << 30,
    vswitches=(VSwitch(VSwitchId("vsw-small"), "10.211.0.0/29"), VSwitch(VSwitchId("vsw-large"), "10.211.1.0/24")),
)
"""Four addresses in the first vSwitch, so that a test can use them up."""
PRICED = Profile(name="priced", currency="XTS", prices=Prices(cpu=3_600_000, memory=0))
"""A vCPU costs 3.60 an hour: each second a thousandth."""


def addresses() -> Iterator[str]:
    """Addresses of the second vSwitch."""
    return (f"10.211.1.{number}" for number in range(10, 250))


def new_uid() -> PodUid:
    """A UID that no other test of this run has; also of no earlier run, for engines that remember."""
    return PodUid(f"contract-{uuid4().hex[:10]}-{next(UIDS)}")


@dataclass
class RuntimeWorld:
    """One ContainerRuntime, started, and where its instances may be put. `real`: programs run, time passes."""

    runtime: ContainerRuntime
    zone: Zone
    addresses: Iterator[str]
    image: str = "busybox"
    real: bool = False
    said: Callable[[str, int, int], bytes] = lambda *_: b"begun\n"
    """what the log of an attempt holds that ended: name, attempt, exit code."""
    mine: list[PodUid] = field(default_factory=list)

    def sandbox(self, volumes: tuple[Volume, ...] = ()) -> SandboxSpec:
        """A sandbox of its own, which the world removes at the end."""
        uid = new_uid()
        self.mine.append(uid)
        return SandboxSpec(
            uid=uid,
            zone=self.zone.id,
            vswitch=self.zone.vswitches[1].id,
            address=next(self.addresses),
            name=f"pod-{uid}",
            namespace="contract",
            hostname="pod",
            volumes=volumes,
            labels=(("name", "pod"),),
        )

    async def attempt(
        self, sandbox: SandboxSpec, name: str = "main", attempt: int = 0, seconds: float | None = None, code: int = 0
    ) -> RunSpec:
        """An attempt that runs so long (None: until it is stopped) and exits so."""
        container = container_that(name, self.image, seconds, code)
        image = await self.runtime.ensure_image(self.image, container.pull_policy, ())
        return RunSpec(
            uid=sandbox.uid,
            zone=sandbox.zone,
            attempt=attempt,
            container=container,
            image_id=image.id,
            simulate=simulated(seconds, code),
        )


def container_that(
    name: str,
    image: str,
    seconds: float | None,
    code: int = 0,
    kind: ContainerKind = ContainerKind.APP,
    **fields: object,
) -> ContainerSpec:
    """A container whose shell says `begun`, waits and exits."""
    wait = "while true; do sleep 0.05; done" if seconds is None else f"sleep {seconds}"
    script = f"trap 'exit 143' TERM; echo begun; {wait}; exit {code}"
    given = {"command": ("/bin/sh", "-c", script), **fields}
    return ContainerSpec(name=name, image=image, kind=kind, **given)  # type: ignore[arg-type]


def simulated(seconds: float | None, code: int) -> tuple[tuple[str, str], ...]:
    """The same for the simulated runtime; without a duration it runs until it is stopped."""
    return (*((("duration", str(seconds)),) if seconds is not None else ()), ("exit-code", str(code)))


@asynccontextmanager
async def simulated_world(_: Path) -> AsyncIterator[RuntimeWorld]:
    runtime = SimulatedRuntime(SystemClock())

    def said(name: str, attempt: int, code: int) -> bytes:
        head = f"simulated: {name} attempt {attempt}"
        return f"{head} started\n{head} ended with {code}\n".encode()

    yield RuntimeWorld(runtime, ZONE, addresses(), said=said)


@dataclass
class BackendWorld:
    """One ElasticBackend that is ready, over a runtime world, and what its watch has told so far."""

    backend: ElasticBackend
    below: RuntimeWorld
    changes: list[Change] = field(default_factory=list)
    told: asyncio.Condition = field(default_factory=asyncio.Condition)
    dead: bool = False
    """set by a test whose provider has died: what it made stays as it is."""

    def request(
        self,
        *containers: ContainerSpec,
        seconds: float | None = None,
        code: int = 0,
        policy: RestartPolicy = RestartPolicy.NEVER,
        **fields: object,
    ) -> InstanceRequest:
        """A request whose app containers run so long and exit so."""
        uid = new_uid()
        given = {"name": f"pod-{uid}", "namespace": "contract", "cpu": 100, "memory": 16 << 20, "grace": 2.0, **fields}
        return InstanceRequest(
            uid=uid,
            zone=self.below.zone.id,
            containers=containers or (self.container("main", seconds, code),),
            restart_policy=policy,
            simulate=simulated(seconds, code),
            **given,  # type: ignore[arg-type]
        )

    def container(self, name: str, seconds: float | None = None, code: int = 0, **fields: object) -> ContainerSpec:
        return container_that(name, self.below.image, seconds, code, **fields)  # type: ignore[arg-type]

    async def follow(self) -> None:
        async with aclosing(self.backend.watch()) as changes:
            async for change in changes:
                async with self.told:
                    self.changes.append(change)
                    self.told.notify_all()

    async def until(self, holds: Callable[[], bool], seconds: float = 20) -> None:
        """Wait for something that the watch must tell."""
        async with asyncio.timeout(seconds), self.told:
            await self.told.wait_for(holds)

    def seen(self, uid: PodUid) -> Instance | None:
        """The newest description that the watch gave."""
        found = [c.instance for c in self.changes if isinstance(c, InstanceChanged) and c.instance.uid == uid]
        return found[-1] if found else None

    async def until_instance(self, uid: PodUid, holds: Callable[[Instance], bool], seconds: float = 20) -> Instance:
        def met() -> bool:
            instance = self.seen(uid)
            return instance is not None and holds(instance)

        await self.until(met, seconds)
        instance = self.seen(uid)
        assert instance is not None
        return instance

    async def shell(self, uid: PodUid, container: str, script: str) -> bytes:
        """What a shell in a running container says; only where programs are real."""
        session = await self.backend.exec(uid, ExecRequest(container=container, command=("/bin/sh", "-c", script)))
        async with asyncio.timeout(20):
            said = b"".join([piece async for _, piece in session.output()])
            assert await session.wait() == 0, said
        await session.close()
        return said

    async def end_all(self) -> None:
        """End what a test has left: nothing may be in the middle of its making when the backend goes."""
        left = [one.uid for one in await self.backend.describe_instances() if not one.released]
        for uid in left:
            await self.backend.delete_instance(uid, 0)
        for uid in left:
            await self.until_instance(uid, lambda instance: instance.released)

    def notices(self, uid: PodUid) -> list[Notice]:
        return [c for c in self.changes if isinstance(c, Notice) and c.uid == uid]

    def gone(self, uid: PodUid) -> bool:
        return any(isinstance(c, InstanceGone) and c.uid == uid for c in self.changes)


def container_status(instance: Instance, name: str) -> ContainerStatus:
    return next(one for one in instance.containers if one.name == name)


@asynccontextmanager
async def local_backend(below: RuntimeWorld, directory: Path, clock: Clock) -> AsyncIterator[ElasticBackend]:
    with Journal(directory / "journal.sqlite") as journal:
        backend = LocalBackend(
            [below.zone],
            below.runtime,
            journal,
            clock=clock,
            random=random.Random(1),
            grpc=check_health,
            profile=PRICED,
        )
        ready = asyncio.Event()
        serving = asyncio.get_running_loop().create_task(backend.run(ready))
        arrived = asyncio.get_running_loop().create_task(ready.wait())
        await asyncio.wait({serving, arrived}, return_when=asyncio.FIRST_COMPLETED)
        try:
            assert ready.is_set(), serving.exception()
            yield backend
        finally:
            arrived.cancel()
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)


@asynccontextmanager
async def watched(backend: ElasticBackend, below: RuntimeWorld) -> AsyncIterator[BackendWorld]:
    """Follow a backend that is ready; what a test has left is ended before it goes."""
    made = BackendWorld(backend, below)
    follower = asyncio.get_running_loop().create_task(made.follow())
    try:
        await made.until(lambda: bool(made.changes))
        yield made
        if not made.dead:
            await made.end_all()
    finally:
        follower.cancel()
        await asyncio.gather(follower, return_exceptions=True)
