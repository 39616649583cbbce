"""An instance that may have one of several sizes: the first that the zone can sell, and the same after a restart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from provider.clock import SystemClock
from provider.cloud.runtime.simulated import SimulatedRuntime
from provider.model.instance import InstancePhase
from provider.model.size import InstanceSize
from tests.contract.test_crashes import provider
from tests.support.cloud_worlds import ZONE

if TYPE_CHECKING:
    from pathlib import Path


async def test_the_second_size_is_sold_when_the_first_is_out_and_stays_over_a_restart(tmp_path: Path) -> None:
    runtime = SimulatedRuntime(SystemClock())
    first, second = InstanceSize(ZONE.cpu, 1 << 20), InstanceSize(500, 1 << 20, "ecs.c6", "ecs.c6.tiny")
    async with provider(runtime, tmp_path) as world:
        filler = replace(world.request(world.container("main")), cpu=ZONE.cpu - 500, memory=1 << 20)
        await world.backend.create_instance(filler)
        await world.until_instance(filler.uid, lambda one: one.placed_at is not None)
        request = replace(
            world.request(world.container("main")), cpu=first.cpu, memory=first.memory, sizes=(first, second)
        )
        await world.backend.create_instance(request)
        placed = await world.until_instance(request.uid, lambda one: one.phase is InstancePhase.RUNNING)
        assert (placed.cpu, placed.memory) == (second.cpu, second.memory)
        again = await world.backend.create_instance(request)
        assert (again.uid, again.cpu) == (request.uid, second.cpu)
        world.dead = True
    async with provider(runtime, tmp_path) as world:
        found = await world.backend.describe_instance(request.uid)
        assert (found.cpu, found.memory) == (second.cpu, second.memory)
        (zone,) = await world.backend.describe_zones()
        assert (zone.cpu_used, zone.instances) == (ZONE.cpu, 2)
        assert (await world.backend.create_instance(request)).cpu == second.cpu
