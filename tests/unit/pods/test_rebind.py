"""Who is given to another zone: owners that re-create, never more than there is room for; and who fails at once."""

from __future__ import annotations

import asyncio
from random import Random  # noqa: TID251 (seeded)
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provider.cloud.capacity.ledger import StockLedger
from provider.cloud.instances.journal import Journal
from provider.cloud.local import LocalBackend
from provider.cloud.runtime.simulated import SimulatedRuntime
from provider.config.profiles import load_profile
from provider.model.capacity import VSwitch, VSwitchStatus, Zone, ZoneStatus
from provider.model.ids import PodUid, VSwitchId, ZoneId
from provider.model.stock import Amounts, StockChange
from provider.pods.rebind import Waiter, is_recreated, moves
from provider.pods.rebinder import Rebinder
from provider.rpc.health_check import check_health
from tests.support.pod_world import ZONE, World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

A, B = ZONE, ZoneId("zone-b")
WORKFLOW = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": "w", "uid": "w", "controller": True}


@pytest.mark.parametrize(
    ("version", "kind", "expected"),
    [
        ("argoproj.io/v1alpha1", "Workflow", True),
        ("apps/v1", "ReplicaSet", True),
        ("apps/v1", "StatefulSet", True),
        ("apps/v1", "DaemonSet", False),
        ("batch/v1", "Job", False),
        ("example.com/v1", "Workflow", False),
    ],
)
def test_owners(version: str, kind: str, expected: bool) -> None:
    owner = {"apiVersion": version, "kind": kind, "controller": True}
    assert is_recreated({"metadata": {"ownerReferences": [owner]}}) is expected
    assert not is_recreated({"metadata": {"ownerReferences": [{**owner, "controller": False}]}})
    assert not is_recreated({"metadata": {}})


def zone(name: ZoneId, cpu: int, queued: Amounts = Amounts(), free: int = 100) -> ZoneStatus:  # noqa: B008 - frozen
    made = Zone(id=name, cpu=cpu, memory=1_000)
    vswitch = VSwitchStatus(VSwitchId("v"), "10.0.0.0/24", 100, 100 - free)
    return ZoneStatus(zone=made, vswitches=(vswitch,), stock=(StockLedger(made).status(queued),))


def waiter(
    name: str, cpu: int = 10, priority: int = 0, since: float = 0.0, others: tuple[ZoneId, ...] = (B,)
) -> Waiter:
    size = Amounts(cpu, 1, 0, 1)
    return Waiter(uid=PodUid(name), zone=A, size=size, others=others, priority=priority, since=since)


def gone(*waiters: Waiter, there: ZoneStatus, claimed: Amounts = Amounts()) -> list[str]:  # noqa: B008 - frozen
    return [str(move.waiter.uid) for move in moves(waiters, [zone(A, 0), there], {B: claimed})]


def test_as_many_go_as_the_other_zone_can_sell_by_priority_and_age() -> None:
    crowd = [waiter("late", since=2), waiter("early", since=1), waiter("important", priority=1, since=3)]
    assert gone(*crowd, there=zone(B, 20)) == ["important", "early"]
    assert gone(*crowd, there=zone(B, 20, queued=Amounts(10, 1, 0, 1))) == ["important"]
    assert gone(*crowd, there=zone(B, 20), claimed=Amounts(15, 1, 0, 1)) == []
    assert gone(*crowd, there=zone(B, 1_000, free=1)) == ["important"]
    assert gone(*crowd, there=zone(B, 0)) == []


def test_who_may_not_go_there_or_fits_at_home_stays() -> None:
    assert gone(waiter("kept", others=()), there=zone(B, 100)) == []
    assert moves([waiter("home")], [zone(A, 100), zone(B, 100)], {}) == []


@given(st.lists(st.integers(0, 30), max_size=12), st.integers(0, 100), st.integers(0, 60), st.integers(0, 5))
def test_never_more_goes_than_there_is_room_for(sizes: list[int], cpu: int, claimed: int, free: int) -> None:
    crowd = [waiter(str(index), size) for index, size in enumerate(sizes)]
    found = moves(crowd, [zone(A, 0), zone(B, cpu, free=free)], {B: Amounts(claimed)})
    assert sum(move.waiter.size.cpu for move in found) <= max(0, cpu - claimed)
    assert len(found) <= free
    assert len({move.waiter.uid for move in found}) == len(found)


# ------------------------------------------------------------------ with the real cloud


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    one = World()
    one.profile = load_profile("eci")
    one.labels = {}
    zones = [
        Zone(id=name, cpu=8_000, memory=1 << 40, vswitches=(VSwitch(VSwitchId(f"v-{name}"), block),))
        for name, block in ((A, "10.220.0.0/24"), (B, "10.220.1.0/24"))
    ]
    with Journal(tmp_path / "journal.sqlite") as journal:
        cloud = LocalBackend(
            zones, SimulatedRuntime(one.clock), journal, clock=one.clock, random=Random(1), grpc=check_health
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


@pytest.mark.looptime
async def test_a_workflows_pod_is_deleted_once_another_zone_sells_and_a_bare_one_waits(world: World) -> None:
    for name in (A, B):
        await world.cloud.set_stock(StockChange(zone=name, closed=True))
    await world.pod("bare")
    uid = await world.pod("flow", metadata={"ownerReferences": [WORKFLOW]})
    await world.settle()
    rebinder = Rebinder(world.cloud, clock=world.clock)
    other = World()
    other.labels = {}
    other_zone = other.controller
    other_zone._node = _in_zone_b(other)  # type: ignore[assignment]
    running = asyncio.get_running_loop().create_task(rebinder.run())
    with rebinder.joined(world.controller), rebinder.joined(other_zone):
        rebinder.wake()
        await world.settle(20)
        assert world.exists("flow")  # all zones are out: it waits
        await world.cloud.set_stock(StockChange(zone=B, closed=False))
        await world.settle(5)
        assert not world.exists("flow")
        assert (await world.status("bare"))["phase"] == "Pending"
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    deleted = next(one for one in world.api.calls if one.verb == "delete")
    assert deleted.body is not None
    assert (deleted.body["uid"], deleted.body["grace"]) == (uid, 0)
    assert "Failed" not in world.phases.get(uid, [])
    assert world.reasons().count("StockExhaust") == 1
    assert all(one.uid != uid for one in await world.cloud.describe_instances())


def _in_zone_b(other: World) -> Any:
    from dataclasses import replace as copy

    from msgspec.structs import replace

    node = other.controller._node
    return copy(node, name="node-b", placement=replace(node.placement, zone=B))


@pytest.mark.looptime
@pytest.mark.parametrize(("policy", "phase"), [("Never", "Failed"), ("Always", "Pending")])
async def test_who_would_rather_fail_does_so_with_message_and_containers(world: World, policy: str, phase: str) -> None:
    await world.cloud.set_stock(StockChange(zone=A, closed=True))
    uid = await world.pod(
        metadata={"annotations": {"k8s.aliyun.com/eci-fail-strategy": "fail-fast"}},
        spec={"containers": [{"name": "c", "image": "i"}], "restartPolicy": policy},
    )
    await world.settle(10)
    status = await world.status()
    assert status["phase"] == phase
    condition = next(one for one in status["conditions"] if one["type"] == "ContainerInstanceCreated")
    assert (condition["status"], condition["reason"]) == ("False", "ContainerGroup.NoStock")
    if phase == "Failed":
        assert status["reason"] == "ContainerInstanceScheduleFailed"
        assert "OperationDenied.NoStock" in status["message"]
        (entry,) = status["containerStatuses"]
        assert entry["state"]["terminated"]["exitCode"] != 0
        assert (await world.cloud.describe_instance(PodUid(uid))).placed_at is None
        await world.cloud.reset_stock(A)
        await world.settle(10)
        assert (await world.status())["phase"] == "Failed"
