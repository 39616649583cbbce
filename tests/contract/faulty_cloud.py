"""A cloud whose journal and runtime fail as a test says, and a story that has to end well in it all the same."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random  # noqa: TID251 (seeded)
from typing import TYPE_CHECKING, Any, TypeVar, cast

from provider.cloud.instances.journal import Journal
from provider.cloud.local import LocalBackend
from provider.cloud.runtime.base import FaultKind, RuntimeFault
from provider.model.errors import CloudCode, CloudError
from provider.model.instance import Instance, InstancePhase
from provider.model.request import ContainerKind, InstanceRequest, RestartPolicy
from provider.model.volume import FileEntry, FilesVolume, VolumeMount
from provider.rpc.health_check import check_health
from tests.support.cloud_worlds import ZONE, container_that, new_uid, simulated

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from pathlib import Path

    from provider.clock import LoopClock
    from provider.cloud.runtime.base import ContainerRuntime
    from provider.cloud.runtime.simulated import SimulatedRuntime
    from provider.model.ids import PodUid


T = TypeVar("T")
PATIENCE = 300.0
OF_ONE_INSTANCE = frozenset(
    {
        "ensure_image",
        "create_sandbox",
        "start_container",
        "stop_container",
        "remove_container",
        "release_sandbox",
        "remove_instance",
        "write_files",
        "inspect",
    }
)
OF_ALL = frozenset({"relist", "pressure"})


class Death(BaseException):
    """The process ends here: nothing of it does anything any more."""


@dataclass
class Fault:
    """At the nth call something is raised, before the call is done or after that; `dead`: at every later one too."""

    number: int
    error: Callable[[], BaseException]
    done: bool
    calls: int = 0
    armed: bool = False

    @property
    def happened(self) -> bool:
        return self.calls >= self.number

    @property
    def takes_effect(self) -> bool:
        return self.done and self.calls == self.number

    def here(self) -> bool:
        if not self.armed:
            return False
        self.calls += 1
        return self.calls == self.number or (self.happened and isinstance(self.error(), Death))


class Storm(Fault):
    """Something is raised again and again, by chance: every tenth time or so."""

    def __init__(self, random: Random, errors: Sequence[Callable[[], BaseException]]) -> None:
        super().__init__(0, self._some, done=False)
        self._random = random
        self._errors = errors

    def _some(self) -> BaseException:
        return self._random.choice(self._errors)()

    @property
    def takes_effect(self) -> bool:
        return self._random.random() < 0.5

    def here(self) -> bool:
        self.calls += self.armed
        return self.armed and self._random.random() < 0.1


def refused() -> CloudError:
    return CloudError(CloudCode.UNAVAILABLE, "the journal cannot be written (disk full)", 5.0)


def away() -> RuntimeFault:
    return RuntimeFault(FaultKind.UNAVAILABLE, "the engine is away")


def bug() -> ValueError:
    return ValueError("a bug of the runtime")


class FaultyJournal(Journal):
    """A journal whose writes fail as `fault` says."""

    def __init__(self, path: Path, fault: Fault) -> None:
        super().__init__(path)
        self._fault = fault
        self._writing = False

    def _write(self, act: Callable[[], T]) -> T:
        if self._writing:  # a part of another write
            return act()
        self._writing = True
        try:
            if not self._fault.here():
                return act()
            if self._fault.takes_effect:
                act()
            raise self._fault.error()
        finally:
            self._writing = False

    def accept(self, request: InstanceRequest, state: bytes) -> bool:
        accept = super().accept
        return self._write(lambda: accept(request, state))

    def save(self, uid: PodUid, state: bytes) -> None:
        save = super().save
        self._write(lambda: save(uid, state))

    def save_request(self, request: InstanceRequest, state: bytes) -> None:
        save = super().save_request
        self._write(lambda: save(request, state))

    def forget(self, uid: PodUid) -> None:
        forget = super().forget
        self._write(lambda: forget(uid))


class FaultyRuntime:
    """A runtime whose acts raise as `fault` says."""

    def __init__(self, runtime: SimulatedRuntime, acts: frozenset[str], fault: Fault) -> None:
        self._runtime = runtime
        self._acts = acts
        self._fault = fault

    def __getattr__(self, name: str) -> Any:
        act = getattr(self._runtime, name)
        if name not in self._acts:
            return act

        async def call(*arguments: Any) -> Any:
            if not self._fault.here():
                return await act(*arguments)
            if self._fault.takes_effect:
                await act(*arguments)
            raise self._fault.error()

        return call


@dataclass
class Cloud:
    """A backend that is run again after a crash, as the provider does it."""

    backend: LocalBackend
    runtime: SimulatedRuntime
    clock: LoopClock
    crashes: list[BaseException] = field(default_factory=list)
    died: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        while True:
            try:
                await self.backend.run(asyncio.Event())
            except BaseExceptionGroup as group:
                if group.subgroup(Death) is not None:
                    self.died.set()
                    return
                self.crashes.append(group)
            await self.clock.sleep(1)

    async def surely(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask again while the cloud says that it cannot now; what meets a bug is begun again, as a pod's worker is."""
        while True:
            try:
                return await ask()
            except CloudError as error:
                if error.code is not CloudCode.UNAVAILABLE:
                    raise
                await self.clock.sleep(error.retry_after or 1)
            except ValueError:
                await self.clock.sleep(1)

    async def until(self, uid: PodUid, holds: Callable[[Instance], bool], patience: float = PATIENCE) -> Instance:
        deadline = self.clock.now() + patience
        while not holds(found := await self.surely(lambda: self.backend.describe_instance(uid))):
            assert self.clock.now() < deadline, found
            await self.clock.sleep(0.1)
        return found

    async def forget(self, uid: PodUid) -> None:
        await self.until(uid, lambda one: one.released)
        await self.surely(lambda: self.backend.forget_instance(uid))


@asynccontextmanager
async def cloud_over(runtime: Any, real: SimulatedRuntime, journal: Journal, clock: LoopClock) -> AsyncIterator[Cloud]:
    backend = LocalBackend(
        [ZONE], cast("ContainerRuntime", runtime), journal, clock=clock, random=Random(1), grpc=check_health
    )
    cloud = Cloud(backend, real, clock)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(cloud.run())
        yield cloud
        running.cancel()


def a_request(*containers: Any, seconds: float | None = None, **fields: Any) -> InstanceRequest:
    return InstanceRequest(
        uid=new_uid(),
        zone=ZONE.id,
        name="pod",
        namespace="contract",
        cpu=100,
        memory=16 << 20,
        grace=2.0,
        restart_policy=RestartPolicy.NEVER,
        containers=containers or (container_that("main", "busybox", seconds),),
        simulate=simulated(seconds, 0),
        **fields,
    )


class Story:
    """A job of every kind of container, a service that is told to end, and one that runs beside them all the time."""

    def __init__(self) -> None:
        self.bystander = a_request()
        self.job = a_request(
            container_that("first", "busybox", None, kind=ContainerKind.INIT),
            container_that("helper", "busybox", None, kind=ContainerKind.SIDECAR),
            container_that("main", "busybox", 1.0),
            container_that("other", "busybox", 1.0),
            seconds=1.0,
        )
        self.service = a_request(
            container_that("main", "busybox", None, mounts=(VolumeMount("files", "/files"),)),
            volumes=(FilesVolume("files", (FileEntry("a", b"1"),)),),
        )
        self.updated = (FileEntry("a", b"2"),)

    async def begin(self, cloud: Cloud) -> None:
        await cloud.surely(lambda: cloud.backend.create_instance(self.bystander))
        await cloud.until(self.bystander.uid, lambda one: one.phase is InstancePhase.RUNNING)

    async def tell(self, cloud: Cloud) -> None:
        """The part in which something fails; again after a death, as the Kubernetes side would."""
        known = {one.uid for one in await cloud.surely(cloud.backend.describe_instances)}
        for request in (self.job, self.service):
            if request.uid in known or request is self.job:
                await self._create(cloud, request)
        await self._serve(cloud)
        if await self._is_there(cloud, self.job):
            ended = await cloud.until(self.job.uid, lambda one: one.released)
            assert ended.phase is InstancePhase.SUCCEEDED
            codes = {one.name: (one.restarts, one.state.exit_code) for one in ended.containers}
            assert codes.pop("helper") in {(0, 143), (0, 137)}  # a stop that failed may use up the grace
            assert codes == {"first": (0, 0), "main": (0, 0), "other": (0, 0)}
            await cloud.forget(self.job.uid)

    async def _create(self, cloud: Cloud, request: InstanceRequest) -> None:
        try:
            await cloud.surely(lambda: cloud.backend.create_instance(request))
        except CloudError as error:
            if error.code is not CloudCode.TOKEN_CONFLICT or "second time" not in error.message:
                raise  # otherwise it was forgotten before the death

    async def _is_there(self, cloud: Cloud, request: InstanceRequest) -> bool:
        found = await cloud.surely(cloud.backend.describe_instances)
        return request.uid in {one.uid for one in found}

    async def _serve(self, cloud: Cloud) -> None:
        uid = self.service.uid
        await self._create(cloud, self.service)
        if not await self._is_there(cloud, self.service):
            return
        found = await cloud.until(
            uid, lambda one: one.phase is InstancePhase.RUNNING or one.deletion_requested_at is not None
        )
        if found.deletion_requested_at is None:
            seen = await cloud.runtime.inspect(uid)
            assert seen is not None
            assert (seen.address, seen.vswitch) == (found.address, found.vswitch)
            await cloud.surely(lambda: cloud.backend.update_files(uid, "files", self.updated))
            await cloud.surely(lambda: cloud.backend.delete_instance(uid, 2.0))
            assert (await cloud.surely(lambda: cloud.backend.describe_instance(uid))).deletion_requested_at is not None
        await cloud.forget(uid)

    async def end(self, cloud: Cloud) -> None:
        """Nothing is left but the bystander, which has noticed nothing."""
        (zone,) = await cloud.surely(cloud.backend.describe_zones)
        assert (zone.instances, zone.waiting, sum(one.used for one in zone.vswitches)) == (1, 0, 1)
        assert [seen.uid for seen in await cloud.runtime.relist()] == [self.bystander.uid]
        (left,) = await cloud.surely(cloud.backend.describe_instances)
        (main,) = left.containers
        assert (left.phase, main.restarts, left.deletion_requested_at) == (InstancePhase.RUNNING, 0, None)
        after = a_request(seconds=0.5)
        await cloud.surely(lambda: cloud.backend.create_instance(after))
        await cloud.forget(after.uid)


async def every_fault(tell: Callable[[int], Awaitable[bool]]) -> int:
    """Tell the story with the first, second, ... fault until there is none; return how many there were."""
    for number in itertools.count(1):
        try:
            if not await tell(number):
                return number - 1
        except BaseException as error:
            error.add_note(f"fault number {number}")
            raise
    raise AssertionError
