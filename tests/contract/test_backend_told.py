"""What a backend tells: changes, zones, health."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

from provider.model.capacity import Redirect
from provider.model.ids import ZoneId
from provider.model.instance import InstanceChanged, InstancePhase, Synced
from tests.contract.asking import released, running

if TYPE_CHECKING:
    from tests.support.cloud_worlds import BackendWorld


async def test_a_watch_begins_with_everything_and_then_goes_on(world: BackendWorld) -> None:
    old = world.request()
    await world.backend.create_instance(old)
    await world.until_instance(old.uid, running)
    async with aclosing(world.backend.watch()) as changes, asyncio.timeout(20):
        first = await anext(changes)
        assert isinstance(first, InstanceChanged)
        assert first.instance == await world.backend.describe_instance(old.uid)
        synced = await anext(changes)
        assert isinstance(synced, Synced)
        assert synced.revision >= first.instance.revision
        new = world.request()
        await world.backend.create_instance(new)
        revision = synced.revision
        async for change in changes:
            if isinstance(change, InstanceChanged):
                assert change.instance.revision > revision
                revision = change.instance.revision
                if change.instance.uid == new.uid and running(change.instance):
                    break


async def test_a_slow_reader_gets_the_newest_state(world: BackendWorld) -> None:
    async with aclosing(world.backend.watch()) as changes, asyncio.timeout(20):
        assert isinstance(await anext(changes), Synced)
        request = world.request(seconds=0.1)
        await world.backend.create_instance(request)
        await world.until_instance(request.uid, released)
        async for change in changes:
            if isinstance(change, InstanceChanged) and change.instance.uid == request.uid:
                phase = change.instance.phase
                if change.instance.released:
                    break
        assert phase is InstancePhase.SUCCEEDED


async def test_zones_instances_and_health_are_described(world: BackendWorld) -> None:
    request = world.request()
    await world.backend.create_instance(request)
    instance = await world.until_instance(request.uid, running)
    assert await world.backend.describe_instances() == [instance]
    assert await world.backend.describe_instances(request.zone) == [instance]
    assert await world.backend.describe_instances(ZoneId("nowhere")) == []
    (zone,) = await world.backend.describe_zones()
    assert zone.zone == world.below.zone
    assert (zone.cpu_used, zone.memory_used, zone.instances) == (request.cpu, request.memory, 1)
    assert [(one.usable, one.used) for one in zone.vswitches] == [
        (4, 1),
        (252, 0),
    ] or instance.vswitch != zone.vswitches[0].id
    health = await world.backend.health()
    assert (health.healthy, health.reason, health.message) == (True, "", "")
    assert health.engine is not None
    assert "://" in health.engine.runtime


async def test_redirects_may_be_set_again_and_again(world: BackendWorld) -> None:
    redirect = Redirect("10.211.255.1", 443, (("10.211.254.1", 6443),))
    for redirects in ([redirect], [redirect], []):
        await world.backend.set_redirects(redirects)
