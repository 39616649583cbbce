"""Instances that take too much are evicted within a look or two; nobody else is even measured."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from random import Random  # noqa: TID251 (seeded)
from typing import TYPE_CHECKING, Any

import pytest

from provider.clock import LoopClock
from provider.cloud.instances.journal import Journal
from provider.cloud.local import LocalBackend
from provider.cloud.runtime.base import FaultKind, RuntimeFault
from provider.cloud.runtime.simulated import SimulatedRuntime
from provider.model.ids import PodUid
from provider.model.instance import InstancePhase
from provider.model.request import ContainerSpec, InstanceRequest
from provider.model.volume import EmptyDirVolume
from provider.rpc.health_check import check_health
from tests.support.cloud_worlds import ZONE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from provider.model.usage import DiskUse

pytestmark = pytest.mark.looptime
MIB = 2**20


class Counting(SimulatedRuntime):
    """Notes who is measured; `away` lets that fail."""

    def __init__(self, clock: LoopClock) -> None:
        super().__init__(clock)
        self.measured: list[str] = []
        self.away = False

    async def disk_use(self, uid: PodUid) -> DiskUse | None:
        self.measured.append(uid)
        if self.away:
            raise RuntimeFault(FaultKind.UNAVAILABLE, "away")
        return await super().disk_use(uid)


class Cloud:
    def __init__(self, runtime: Counting, backend: LocalBackend, clock: LoopClock) -> None:
        self.runtime = runtime
        self.backend = backend
        self.clock = clock

    async def make(self, uid: str, **fields: Any) -> PodUid:
        container = ContainerSpec(name="c", image="busybox", **fields.pop("container", {}))
        request = InstanceRequest(
            uid=PodUid(uid), zone=ZONE.id, name=uid, namespace="n", containers=(container,), cpu=100, **fields
        )
        await self.backend.create_instance(request)
        await self.clock.sleep(1)
        return request.uid


@asynccontextmanager
async def opened(tmp_path: Path) -> AsyncIterator[Cloud]:
    clock = LoopClock()
    runtime = Counting(clock)
    with Journal(tmp_path / "journal.sqlite") as journal:
        backend = LocalBackend([ZONE], runtime, journal, clock=clock, random=Random(1), grpc=check_health)
        ready = asyncio.Event()
        life = asyncio.get_running_loop().create_task(backend.run(ready))
        await ready.wait()
        yield Cloud(runtime, backend, clock)
        life.cancel()
        await asyncio.wait({life})


async def test_who_takes_too_much_is_evicted(tmp_path: Path) -> None:
    async with opened(tmp_path) as cloud:
        volumes = (EmptyDirVolume("v", size_limit=MIB),)
        one, other = await cloud.make("one", volumes=volumes), await cloud.make("other", volumes=volumes)
        await cloud.make("free", volumes=(EmptyDirVolume("v"),))
        cloud.runtime.written[one] = {"v": 2 * MIB}
        await cloud.clock.sleep(13)
        ended = await cloud.backend.describe_instance(one)
        assert (ended.phase, ended.reason) == (InstancePhase.FAILED, "Evicted")
        assert ended.message == 'Usage of EmptyDir volume "v" exceeds the limit "1Mi". '
        assert (await cloud.backend.describe_instance(other)).phase is InstancePhase.RUNNING
        assert set(cloud.runtime.measured) == {"one", "other"}
        count = cloud.runtime.measured.count("one")
        await cloud.clock.sleep(60)
        assert cloud.runtime.measured.count("one") == count


async def test_an_engine_that_is_away_evicts_nobody(tmp_path: Path) -> None:
    async with opened(tmp_path) as cloud:
        one = await cloud.make("one", container={"storage_limit": MIB})
        cloud.runtime.written[one] = {"c": 2 * MIB}
        cloud.runtime.away = True
        await cloud.clock.sleep(40)
        assert (await cloud.backend.describe_instance(one)).phase is InstancePhase.RUNNING
        cloud.runtime.away = False
        await cloud.clock.sleep(13)
        assert (await cloud.backend.describe_instance(one)).message == (
            'Container c exceeded its local ephemeral storage limit "1Mi". '
        )
