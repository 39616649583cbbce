"""What is reported of a node, and how often."""

from __future__ import annotations

import pytest

from tests.support.node_world import PATH, NodeWorld

pytestmark = pytest.mark.looptime


async def test_the_lease_is_renewed_every_quarter_and_the_status_seldom(world: NodeWorld) -> None:
    await world.start()
    await world.settle(10)
    leases, reports = len(world.renewals()), _reports(world)
    await world.settle(3_000)
    assert len(world.renewals()) - leases == 300
    assert 9 <= _reports(world) - reports <= 11
    heartbeat = world.ready()["lastHeartbeatTime"]
    assert world.ready()["lastTransitionTime"] < heartbeat


async def test_a_change_of_the_zone_is_reported_at_once(world: NodeWorld) -> None:
    await world.start()
    world.cloud.cpu = 12_000
    world.agent.zone_changed()
    await world.settle(2)
    assert world.node()["status"]["allocatable"]["cpu"] == "12"


async def test_many_changes_of_the_zone_are_looked_at_together(world: NodeWorld) -> None:
    await world.start()
    asked = world.cloud.asked
    for _ in range(50):
        world.agent.zone_changed()
        await world.clock.sleep(0.05)
    assert world.cloud.asked - asked <= 4


async def test_the_hosts_address_stands_where_the_cloud_has_none(world: NodeWorld) -> None:
    world.cloud.address, world.address = None, "192.0.2.7"
    await world.start()
    assert _address(world) == world.agent.address == "192.0.2.7"


async def test_the_clouds_address_comes_before_the_hosts(world: NodeWorld) -> None:
    world.address = "192.0.2.7"
    await world.start()
    assert _address(world) == world.agent.address == "172.20.0.5"


async def test_the_address_stays_while_the_zone_is_made_again(world: NodeWorld) -> None:
    await world.start()
    world.cloud.address = None
    await world.settle(15)
    assert _address(world) == world.agent.address == "172.20.0.5"
    world.cloud.address = "172.20.0.9"
    await world.settle(15)
    assert _address(world) == world.agent.address == "172.20.0.9"


def _address(world: NodeWorld) -> str:
    return next(each["address"] for each in world.node()["status"]["addresses"] if each["type"] == "InternalIP")


def _reports(world: NodeWorld) -> int:
    return world.node_api.writes.count(("patch", f"{PATH}/status"))
