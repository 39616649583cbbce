"""What breaks for one instance is tried again for that instance, in its time, and never half done."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import asynccontextmanager
from random import Random  # noqa: TID251 (seeded)
from typing import TYPE_CHECKING, Any

import pytest

from provider.clock import LoopClock
from provider.cloud.instances.journal import Journal
from provider.cloud.local import LocalBackend
from provider.cloud.runtime.base import FaultKind, RuntimeFault, Seen
from provider.cloud.runtime.simulated import SimulatedRuntime
from provider.model.errors import CloudCode, CloudError
from provider.model.ids import PodUid
from provider.model.instance import InstancePhase
from provider.model.request import ContainerSpec, InstanceRequest
from provider.model.volume import EmptyDirVolume, FileEntry, FilesVolume
from provider.rpc.health_check import check_health
from tests.support.cloud_worlds import ZONE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from provider.model.usage import DiskUse

pytestmark = pytest.mark.looptime

UID = PodUid("u1")
OLD, NEW = (FileEntry("a", b"1"),), (FileEntry("a", b"2"),)


class Runtime(SimulatedRuntime):
    """Keeps the files; what it is told to refuse or to break, it does."""

    def __init__(self, start_seconds: float = 0.0) -> None:
        super().__init__(LoopClock(), start_seconds)
        self.files: list[Sequence[FileEntry]] = []
        self.refusals = 0
        self.broken: set[PodUid] = set()
        self.looks: list[float] = []

    async def write_files(self, uid: PodUid, volume: str, files: Sequence[FileEntry]) -> None:
        if self.refusals:
            self.refusals -= 1
            raise RuntimeFault(FaultKind.UNAVAILABLE, "away")
        self.files.append(files)

    async def inspect(self, uid: PodUid) -> Seen | None:
        if uid in self.broken:
            self.looks.append(self._clock.now())
            raise ValueError("a bug")
        return await super().inspect(uid)

    async def disk_use(self, uid: PodUid) -> DiskUse | None:
        if uid in self.broken:
            raise ValueError("a bug")
        return await super().disk_use(uid)


class FullDisk(Journal):
    """A journal that can write only while its disk is not full."""

    full = False
    tries: list[float]

    def save(self, uid: PodUid, state: bytes) -> None:
        if self.full:
            self.tries.append(LoopClock().now())
            raise CloudError(CloudCode.UNAVAILABLE, "the journal cannot be written (disk full)", 5.0)
        super().save(uid, state)


class World:
    def __init__(self, directory: Path, runtime: Runtime) -> None:
        self.clock = LoopClock()
        self.runtime = runtime
        self.journal = FullDisk(directory / "journal.sqlite")
        self.journal.tries = []
        self.backend = LocalBackend(
            [ZONE], runtime, self.journal, clock=self.clock, random=Random(1), grpc=check_health
        )

    @asynccontextmanager
    async def life(self) -> AsyncIterator[LocalBackend]:
        ready = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            running = group.create_task(self.backend.run(ready))
            await ready.wait()
            yield self.backend
            running.cancel()

    async def phase(self, uid: PodUid) -> InstancePhase:
        return (await self.backend.describe_instance(uid)).phase


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path, Runtime())
    yield made
    made.journal.close()


def request(uid: PodUid = UID, **fields: Any) -> InstanceRequest:
    return InstanceRequest(
        uid=uid,
        zone=ZONE.id,
        name=uid,
        namespace="n",
        containers=(ContainerSpec(name="main", image="busybox"),),
        cpu=100,
        grace=2.0,
        **fields,
    )


async def refused(act: Any) -> CloudCode:
    with pytest.raises(CloudError) as caught:
        await act
    return caught.value.code


# ---------------------------------------------------------------- files


async def test_files_that_could_not_be_written_are_written_when_they_come_again(world: World) -> None:
    async with world.life() as backend:
        await backend.create_instance(request(volumes=(FilesVolume("files", OLD),)))
        await world.clock.sleep(1)
        world.runtime.refusals = 1
        assert await refused(backend.update_files(UID, "files", NEW)) is CloudCode.UNAVAILABLE
        assert world.runtime.files == []
        await backend.update_files(UID, "files", NEW)
        await backend.update_files(UID, "files", NEW)
        assert world.runtime.files == [NEW]


async def test_files_are_written_again_by_the_first_who_brings_them_after_a_restart(world: World) -> None:
    async with world.life() as backend:
        await backend.create_instance(request(volumes=(FilesVolume("files", OLD),)))
        await world.clock.sleep(1)
        world.runtime.refusals = 1
        assert await refused(backend.update_files(UID, "files", NEW)) is CloudCode.UNAVAILABLE
    async with world.life() as backend:
        for _ in range(2):
            await backend.update_files(UID, "files", NEW)
        assert world.runtime.files == [NEW]


# ---------------------------------------------------------------- ends


async def test_an_end_that_cannot_be_written_is_refused_and_nothing_of_it_begins(world: World) -> None:
    async with world.life() as backend:
        await backend.create_instance(request())
        await world.clock.sleep(1)
        world.journal.full = True
        assert await refused(backend.delete_instance(UID, 2.0)) is CloudCode.UNAVAILABLE
        await world.clock.sleep(20)
        assert await world.phase(UID) is InstancePhase.RUNNING
        world.journal.full = False
        assert (await backend.delete_instance(UID, 2.0)).grace == 2.0
        world.journal.full = True
        assert await refused(backend.delete_instance(UID, 1.0)) is CloudCode.UNAVAILABLE
        world.journal.full = False
        assert (await backend.delete_instance(UID, 5.0)).grace == 2.0
        await world.clock.sleep(20)
        assert (await backend.describe_instance(UID)).released


async def test_nothing_runs_in_what_is_released_though_a_start_was_under_way(tmp_path: Path) -> None:
    world = World(tmp_path, Runtime(start_seconds=30))
    async with world.life() as backend:
        await backend.create_instance(request())
        await world.clock.sleep(1)
        world.journal.full = True
        assert await refused(backend.delete_instance(UID, 2.0)) is CloudCode.UNAVAILABLE
        world.journal.full = False
        await backend.delete_instance(UID, 2.0)
        while not (await backend.describe_instance(UID)).released:
            await world.clock.sleep(1)
        await world.clock.sleep(60)
        seen = await world.runtime.inspect(UID)
        assert seen is not None
        assert not any(one.running for one in seen.containers)
    world.journal.close()


# ---------------------------------------------------------------- pauses


def pauses(times: Sequence[float]) -> list[int]:
    return [round(after - before) for before, after in itertools.pairwise(times)]


async def test_a_bug_is_met_again_after_pauses_that_grow(world: World) -> None:
    async with world.life() as backend:
        await backend.create_instance(request())
        await backend.create_instance(request(PodUid("u2")))
        await world.clock.sleep(31)  # the list of all is another way to look
        world.runtime.broken.add(UID)
        await world.runtime.stop_container(UID, "main", 0, 1)
        await world.clock.sleep(26)
        assert pauses(world.runtime.looks) == [5, 10]
        assert await world.phase(PodUid("u2")) is InstancePhase.RUNNING
        world.runtime.broken.clear()
        await world.clock.sleep(60)
        (main,) = (await backend.describe_instance(UID)).containers
        assert main.restarts == 1


async def test_a_full_disk_is_met_again_soon(world: World) -> None:
    async with world.life() as backend:
        await backend.create_instance(request())
        await world.clock.sleep(1)
        world.journal.full = True
        await world.runtime.stop_container(UID, "main", 0, 1)
        await world.clock.sleep(300)
        assert max(pauses(world.journal.tries)) == 5
        world.journal.full = False
        await world.clock.sleep(10)
        (main,) = (await backend.describe_instance(UID)).containers
        assert main.restarts == 1


async def test_one_that_cannot_be_measured_keeps_no_other_from_it(world: World) -> None:
    limit = (EmptyDirVolume("v", size_limit=1 << 20),)
    other = PodUid("u2")
    async with world.life() as backend:
        await backend.create_instance(request(volumes=limit))
        await backend.create_instance(request(other, volumes=limit))
        await world.clock.sleep(1)
        world.runtime.broken.add(UID)
        world.runtime.written[other] = {"v": 2 << 20}
        await world.clock.sleep(25)
        assert await world.phase(other) is InstancePhase.FAILED
        assert await world.phase(UID) is InstancePhase.RUNNING
