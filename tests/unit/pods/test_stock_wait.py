"""A pod that waits for stock: a contract of texts that Argo reads, over the real cloud on the simulated runtime."""

from __future__ import annotations

import asyncio
from random import Random  # noqa: TID251 (seeded)
from typing import TYPE_CHECKING

import pytest

from provider.cloud.instances.journal import Journal
from provider.cloud.local import LocalBackend
from provider.cloud.runtime.simulated import SimulatedRuntime
from provider.model.capacity import VSwitch, Zone
from provider.model.ids import VSwitchId
from provider.model.stock import StockChange
from provider.rpc.health_check import check_health
from tests.support.pod_world import ZONE, World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.looptime
TEXT = "OperationDenied.NoStock: zone zone-a is closed, it sells nothing until it is opened"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    one = World()
    zone = Zone(id=ZONE, cpu=8_000, memory=1 << 40, vswitches=(VSwitch(VSwitchId("v"), "10.220.0.0/24"),))
    with Journal(tmp_path / "journal.sqlite") as journal:
        cloud = LocalBackend(
            [zone], SimulatedRuntime(one.clock), journal, clock=one.clock, random=Random(1), grpc=check_health
        )
        one.cloud = cloud
        ready = asyncio.Event()
        serving = asyncio.get_running_loop().create_task(cloud.run(ready))
        await ready.wait()
        await one.start()
        yield one
        await one.kill()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


async def test_a_pod_waits_with_the_reason_in_each_app_container_and_no_start_time(world: World) -> None:
    await world.cloud.set_stock(StockChange(zone=ZONE, closed=True))
    containers = [{"name": name, "image": "i"} for name in ("main", "wait")]
    uid = await world.pod(spec={"containers": containers, "activeDeadlineSeconds": 60})
    await world.settle()
    status = await world.status()
    assert status["phase"] == "Pending"
    assert not {"reason", "message", "startTime"} & status.keys()
    assert [one["state"]["waiting"]["message"] for one in status["containerStatuses"]] == [TEXT, TEXT]
    condition = next(one for one in status["conditions"] if one["type"] == "ContainerInstanceCreated")
    assert (condition["status"], condition["reason"]) == ("False", "ContainerGroup.NoStock")
    writes = len(world.changes())
    await world.settle(3_600)  # an hour: no deadline, and not one more write
    assert len(world.changes()) == writes
    opened = world.clock.now()
    await world.cloud.set_stock(StockChange(zone=ZONE, closed=False))
    await world.settle()
    status = await world.status()
    assert status["phase"] == "Running"
    instance = await world.cloud.describe_instance(uid)
    assert instance.placed_at >= opened
    assert status["startTime"]
    await world.settle(70)
    status = await world.status()
    assert (status["phase"], status["reason"]) == ("Failed", "DeadlineExceeded")


async def test_a_priority_class_goes_first(world: World) -> None:
    await world.cloud.set_stock(StockChange(zone=ZONE, closed=True))
    for name, priority in (("first", 0), ("important", 100)):
        await world.pod(name, spec={"containers": [{"name": "c", "image": "i"}], "priority": priority})
        await world.settle()
    await world.cloud.set_stock(StockChange(zone=ZONE, closed=False, instances=1))
    await world.settle()
    assert [(await world.status(name))["phase"] for name in ("first", "important")] == ["Pending", "Running"]
