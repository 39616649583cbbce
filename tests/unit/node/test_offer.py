"""allocatable = what is counted + what can still be sold: never negative, never more than the zone can sell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provider.cloud.capacity.ledger import Size, StockLedger
from provider.model.capacity import VSwitchStatus, Zone, ZoneStatus
from provider.model.demand import Demand
from provider.model.ids import PodUid, VSwitchId, ZoneId
from provider.model.quantity import milli, whole
from provider.model.size import InstanceSize
from provider.model.stock import Amounts, StockChange
from provider.node.offer import offer, slots
from tests.support.node_world import NodeWorld

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

GIB = 1 << 30
DEFAULT = InstanceSize(2_000, 4 * GIB)
ZONE = Zone(id=ZoneId("zone-a"), cpu=10_000, memory=20 * GIB, ephemeral_storage=GIB)


def status(
    sold: Amounts = Amounts(),  # noqa: B008 - frozen
    queued: Amounts = Amounts(),  # noqa: B008 - frozen
    change: StockChange | None = None,
    addresses: tuple[int, int] = (100, 0),
    zone: Zone = ZONE,
) -> ZoneStatus:
    ledger = StockLedger(zone)
    ledger.change(change)
    for number in range(sold.instances):
        first = number == 0
        size = Size(sold.cpu, sold.memory, sold.ephemeral_storage) if first else Size(0, 0)
        ledger.adopt(PodUid(str(number)), size)
    vswitch = VSwitchStatus(VSwitchId("v"), "10.0.0.0/24", *addresses)
    return ZoneStatus(zone=zone, vswitches=(vswitch,), stock=(ledger.status(queued),))


def offered(demand: Demand, own: ZoneStatus, *others: ZoneStatus) -> dict[str, str]:
    found = offer(demand, own, (own, *others), DEFAULT)
    assert found is not None
    return found


def test_an_empty_zone_offers_all_that_it_sells_and_as_many_pods_as_default_instances() -> None:
    found = offered(Demand(), status())
    assert found == {"cpu": "10", "memory": "20971520Ki", "ephemeral-storage": "1048576Ki", "pods": "5"}


def test_what_is_counted_is_added_to_what_is_left_whatever_the_cloud_made_of_it() -> None:
    demand = Demand(Amounts(cpu=300, memory=GIB, instances=3))
    found = offered(demand, status(Amounts(cpu=6_000, memory=12 * GIB, instances=3)))
    assert (found["cpu"], found["memory"], found["pods"]) == ("4300m", f"{9 * GIB // 1024}Ki", "5")


def test_who_waits_and_who_comes_has_a_claim_already() -> None:
    demand = Demand(Amounts(instances=2), coming=Amounts(cpu=2_000, memory=4 * GIB, instances=1))
    found = offered(demand, status(queued=Amounts(cpu=4_000, memory=4 * GIB, instances=1)))
    assert (found["cpu"], found["pods"]) == ("4", "4")


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        (status(addresses=(100, 98)), 2),
        (status(addresses=(100, 100)), 0),
        (status(change=StockChange(zone=ZONE.id, instances=3)), 3),
        (status(change=StockChange(zone=ZONE.id, cpu=5_999)), 2),
        (status(change=StockChange(zone=ZONE.id, closed=True)), 0),
        (status(change=StockChange(zone=ZONE.id, memory=0)), 0),
        (status(queued=Amounts(instances=99)), 1),
        (ZoneStatus(zone=ZONE), 0),
    ],
)
def test_slots_are_what_is_scarcest(zone: ZoneStatus, expected: int) -> None:
    assert slots(zone, Amounts(), DEFAULT) == expected


def test_a_zone_that_is_out_offers_nothing_while_another_sells() -> None:
    out = status(change=StockChange(zone=ZONE.id, cpu=0))
    found = offered(Demand(Amounts(cpu=7, instances=1)), out, status())
    assert (found["cpu"], found["pods"]) == ("7m", "1")


def test_when_all_zones_are_out_the_gate_opens() -> None:
    out = status(change=StockChange(zone=ZONE.id, closed=True))
    found = offered(Demand(Amounts(cpu=7, instances=1)), out, out)
    assert (found["cpu"], found["pods"]) == ("10007m", "101")


def test_a_cloud_that_does_not_tell_its_stock_leaves_the_node_as_it_is() -> None:
    assert offer(Demand(), ZoneStatus(zone=ZONE), (), DEFAULT) is None


BYTES = st.integers(0, 40).map(lambda each: each * GIB)
AMOUNTS = st.builds(Amounts, st.integers(0, 20_000), BYTES, BYTES, st.integers(0, 30))


@given(AMOUNTS, AMOUNTS, AMOUNTS, AMOUNTS, st.none() | st.integers(0, 12_000), st.integers(0, 120), st.booleans())
def test_whatever_is_sold_queued_and_bound_nothing_is_negative_nor_beyond_stock(
    counted: Amounts,
    coming: Amounts,
    sold: Amounts,
    queued: Amounts,
    cpu: int | None,
    used: int,
    other: bool,
) -> None:
    change = None if cpu is None else StockChange(zone=ZONE.id, cpu=cpu)
    own = status(sold, queued, change, (100, used))
    others = (status(),) if other else ()
    found = offered(Demand(counted, coming), own, *others)
    free = {
        "cpu": milli(found["cpu"]) - counted.cpu,
        "memory": whole(found["memory"]) - counted.memory,
        "pods": whole(found["pods"]) - counted.instances,
    }
    assert min(free.values()) >= 0
    left = own.stock[0].sellable
    if other or slots(own, Amounts(), DEFAULT):  # the gate is shut
        assert free["cpu"] <= left.cpu
        assert free["memory"] <= left.memory
        assert free["pods"] <= max(0, 100 - used)
        assert free["pods"] * DEFAULT.cpu <= left.cpu
        claimed = queued.cpu + coming.cpu
        assert free["cpu"] == max(0, left.cpu - claimed)


# ------------------------------------------------------------------ the node


@pytest.fixture
async def world() -> AsyncIterator[NodeWorld]:
    one = NodeWorld()
    yield one
    await one.kill()


@pytest.mark.looptime
async def test_the_node_follows_demand_and_stock_with_one_patch_for_each_interval(world: NodeWorld) -> None:
    demand: list[Demand | None] = [None]
    world.demand = lambda: demand[0]
    world.cloud.stock = status().stock
    await world.start()
    assert world.node()["status"]["allocatable"]["pods"] == "5"
    demand[0] = Demand(Amounts(cpu=100, instances=1))
    world.cloud.stock = status(Amounts(cpu=2_000, memory=4 * GIB, instances=1)).stock
    before = len(world.node_api.writes)
    for _ in range(50):
        world.agent.zone_changed()
        await world.settle(0.001)
    await world.settle(0.3)
    found = world.node()["status"]["allocatable"]
    assert (found["cpu"], found["pods"]) == ("8100m", "5")
    assert [one for one in world.node_api.writes[before:] if one[1].endswith("/status")] == [
        ("patch", "/api/v1/nodes/virtual-kubelet-zone-a/status")
    ]


@pytest.mark.looptime
async def test_a_restart_keeps_what_was_offered_until_the_pods_are_known(world: NodeWorld) -> None:
    demand: list[Demand | None] = [Demand(Amounts(cpu=500, instances=7))]
    world.demand = lambda: demand[0]
    world.cloud.stock = status().stock
    await world.start()
    before = world.node()["status"]["allocatable"]
    assert before["pods"] == "12"
    await world.kill()
    demand[0] = None
    await world.start()
    assert world.node()["status"]["allocatable"] == before
