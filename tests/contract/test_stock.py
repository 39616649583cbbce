"""Stock that an operator changes at run time: over both backends, and over a restart."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from provider.clock import SystemClock
from provider.model.errors import CloudCode, CloudError
from provider.model.ids import ZoneId
from provider.model.instance import InstancePhase
from provider.model.stock import Stock, StockChange, StockWord
from tests.contract.conftest import BACKENDS
from tests.support.cloud_worlds import BackendWorld, local_backend, simulated_world

if TYPE_CHECKING:
    from pathlib import Path

    from provider.cloud.admin import CloudAdmin
    from provider.model.stock import StockStatus

pytestmark = pytest.mark.timeout(60)


def admin(world: BackendWorld) -> CloudAdmin:
    return cast("CloudAdmin", world.backend)


async def pool(world: BackendWorld) -> StockStatus:
    (zone,) = await world.backend.describe_zones()
    (found,) = zone.stock
    return found


async def test_stock_is_what_the_configuration_says_until_somebody_says_otherwise(world: BackendWorld) -> None:
    zone = world.below.zone
    found = await pool(world)
    assert found.holds == found.configured == Stock(cpu=zone.cpu, memory=zone.memory)
    assert (found.overridden, found.word) == (False, StockWord.WITH_STOCK)
    status = await admin(world).set_stock(StockChange(zone=zone.id, cpu=0))
    assert status == (await world.backend.describe_zones())[0]
    await admin(world).set_stock(StockChange(zone=zone.id, instances=7))
    found = await pool(world)
    assert found.holds == Stock(cpu=0, memory=zone.memory, instances=7)
    assert (found.overridden, found.word) == (True, StockWord.WITHOUT_STOCK)
    await admin(world).reset_stock(zone.id)
    assert (await pool(world)).holds == found.configured
    assert not (await pool(world)).overridden


async def test_a_closed_zone_lets_everybody_wait_and_an_open_one_serves_them(world: BackendWorld) -> None:
    zone = world.below.zone.id
    await admin(world).set_stock(StockChange(zone=zone, closed=True))
    assert (await pool(world)).word is StockWord.CLOSED_WITH_STOCK
    request = world.request(seconds=0.1)
    await world.backend.create_instance(request)
    waiting = await world.until_instance(request.uid, lambda one: bool(one.message))
    assert (waiting.phase, waiting.reason) == (InstancePhase.SCHEDULING, "OperationDenied.NoStock")
    assert waiting.message == "zone zone-a is closed, it sells nothing until it is opened"
    found = await pool(world)
    assert (found.queued.instances, found.queued.cpu, found.sellable.cpu) == (1, request.cpu, 0)
    await admin(world).set_stock(StockChange(zone=zone, closed=False))
    await world.until_instance(request.uid, lambda one: one.phase is InstancePhase.SUCCEEDED)


async def test_a_pool_made_smaller_leaves_alone_what_runs(world: BackendWorld) -> None:
    running, waits = world.request(cpu=1_000), world.request(cpu=500)
    await world.backend.create_instance(running)
    await world.until_instance(running.uid, lambda one: one.phase is InstancePhase.RUNNING)
    await admin(world).set_stock(StockChange(zone=world.below.zone.id, cpu=600))
    found = await pool(world)
    assert (found.sold.cpu, found.sellable.cpu, found.word) == (1_000, 0, StockWord.WITHOUT_STOCK)
    await world.backend.create_instance(waits)
    await world.until_instance(waits.uid, lambda one: bool(one.message))
    assert (await world.backend.describe_instance(running.uid)).phase is InstancePhase.RUNNING
    await world.backend.delete_instance(running.uid, 0)
    await world.until_instance(waits.uid, lambda one: one.phase is InstancePhase.RUNNING)


async def test_who_is_larger_than_what_an_operator_left_waits_for_its_return(world: BackendWorld) -> None:
    zone = world.below.zone
    await admin(world).set_stock(StockChange(zone=zone.id, cpu=100))
    large, small = world.request(cpu=1_000), world.request(cpu=100)
    for request in (large, small):
        await world.backend.create_instance(request)
    await world.until_instance(small.uid, lambda one: one.phase is InstancePhase.RUNNING)
    assert (await world.backend.describe_instance(large.uid)).phase is InstancePhase.SCHEDULING
    await admin(world).reset_stock(zone.id)
    await world.until_instance(large.uid, lambda one: one.phase is InstancePhase.RUNNING)


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        (StockChange(zone=ZoneId("zone-a"), cpu=-1), CloudCode.INVALID_PARAMETER, "cpu"),
        (StockChange(zone=ZoneId("zone-a"), spot_reserve=1.5), CloudCode.INVALID_PARAMETER, "spot_reserve"),
        (StockChange(zone=ZoneId("zone-a")), CloudCode.INVALID_PARAMETER, "nothing to change"),
        (StockChange(zone=ZoneId("zone-a"), family="ecs.c6", cpu=1), CloudCode.INVALID_PARAMETER, "ecs.c6"),
        (StockChange(zone=ZoneId("nowhere"), cpu=1), CloudCode.ZONE_NOT_ON_SALE, "zone-a"),
    ],
)
async def test_what_no_pool_can_be_is_refused(
    world: BackendWorld, change: StockChange, code: CloudCode, says: str
) -> None:
    before = await pool(world)
    with pytest.raises(CloudError, match=says) as caught:
        await admin(world).set_stock(change)
    assert caught.value.code is code
    assert await pool(world) == before


async def test_an_unknown_zone_cannot_be_reset(world: BackendWorld) -> None:
    with pytest.raises(CloudError) as caught:
        await admin(world).reset_stock(ZoneId("nowhere"))
    assert caught.value.code is CloudCode.ZONE_NOT_ON_SALE


@pytest.mark.parametrize("backend", BACKENDS)
async def test_what_an_operator_said_survives_a_restart_until_it_is_reset(tmp_path: Path, backend: str) -> None:
    zone = ZoneId("zone-a")
    for expected in (None, 300, None):
        async with (
            simulated_world(tmp_path) as below,
            BACKENDS[backend](below, tmp_path, SystemClock()) as cloud,
        ):
            (status,) = await cloud.describe_zones()
            assert status.stock[0].holds.cpu == (status.zone.cpu if expected is None else expected)
            if expected is None:
                await cast("CloudAdmin", cloud).set_stock(StockChange(zone=zone, cpu=300))
            else:
                await cast("CloudAdmin", cloud).reset_stock(zone)


async def test_an_override_that_cannot_be_read_leaves_the_configuration(tmp_path: Path) -> None:
    from provider.cloud.instances.journal import Journal

    with Journal(tmp_path / "journal.sqlite") as journal:
        journal.store_setting("stock/zone-a", b"{")
    async with simulated_world(tmp_path) as below, local_backend(below, tmp_path, SystemClock()) as cloud:
        (status,) = await cloud.describe_zones()
        assert status.stock[0].holds == status.stock[0].configured
