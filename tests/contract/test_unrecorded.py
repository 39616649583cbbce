"""A runtime that has more than the journal knows: after the loss of power, or of the journal."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING

import msgspec
import pytest

from provider.clock import SystemClock
from provider.cloud.instances.journal import Journal
from provider.cloud.instances.machine import InstanceMachine
from provider.cloud.instances.specs import instance_id
from provider.model.instance import Instance, InstancePhase
from provider.model.request import ContainerKind, RestartPolicy
from tests.support.cloud_worlds import BackendWorld, RuntimeWorld, local_backend, watched

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from provider.model.request import InstanceRequest


@asynccontextmanager
async def cloud(below: RuntimeWorld, directory: Path) -> AsyncIterator[BackendWorld]:
    async with local_backend(below, directory, SystemClock()) as backend, watched(backend, below) as world:
        yield world


def running(instance: Instance) -> bool:
    return instance.phase is InstancePhase.RUNNING


def with_init(world: BackendWorld, **fields: object) -> InstanceRequest:
    return world.request(
        world.container("first", 0.0, kind=ContainerKind.INIT),
        world.container("helper", kind=ContainerKind.SIDECAR),
        world.container("main"),
        **fields,  # type: ignore[arg-type]
    )


async def run_and_lose(below: RuntimeWorld, directory: Path, **fields: object) -> tuple[InstanceRequest, Instance]:
    """Leave an instance that runs, and of which the next journal knows nothing."""
    async with cloud(below, directory / "lost") as world:
        request = with_init(world, **fields)
        await world.backend.create_instance(request)
        found = await world.until_instance(request.uid, running)
        world.dead = True
    return request, found


async def agrees(world: BackendWorld, told: Instance) -> None:
    """What is told of the instance's address is what the runtime has, and what is booked."""
    seen = await world.below.runtime.inspect(told.uid)
    assert seen is not None
    assert (seen.address, seen.vswitch, seen.sandbox_running) == (told.address, told.vswitch, True)
    (zone,) = await world.backend.describe_zones()
    assert (zone.instances, zone.cpu_used, sum(one.used for one in zone.vswitches)) == (1, told.cpu, 1)


async def gives_all_back(world: BackendWorld, request: InstanceRequest) -> None:
    await world.backend.delete_instance(request.uid, 0)
    await world.until_instance(request.uid, lambda one: one.released)
    await world.backend.forget_instance(request.uid)
    assert await world.below.runtime.inspect(request.uid) is None
    (zone,) = await world.backend.describe_zones()
    assert (zone.instances, sum(one.used for one in zone.vswitches)) == (0, 0)


async def test_a_pod_that_is_created_again_takes_over_what_runs(idle_runtime: RuntimeWorld, tmp_path: Path) -> None:
    request, before = await run_and_lose(idle_runtime, tmp_path)
    async with cloud(idle_runtime, tmp_path) as world:
        await world.backend.create_instance(request)
        found = await world.until_instance(request.uid, running)
        assert (found.address, found.vswitch) == (before.address, before.vswitch)
        assert [one.state for one in found.containers] == [one.state for one in before.containers]
        await agrees(world, found)
        world.dead = True
    async with cloud(idle_runtime, tmp_path) as world:
        await agrees(world, await world.until_instance(request.uid, running))
        await gives_all_back(world, request)


async def test_what_had_ended_meanwhile_does_not_run_again(idle_runtime: RuntimeWorld, tmp_path: Path) -> None:
    async with cloud(idle_runtime, tmp_path / "lost") as world:
        request = world.request(world.container("main", 0.2), world.container("other"), seconds=None)
        request = msgspec.structs.replace(request, restart_policy=RestartPolicy.NEVER)
        await world.backend.create_instance(request)
        await world.until_instance(request.uid, running)
        world.dead = True
    seen = await idle_runtime.runtime.inspect(request.uid)
    assert seen is not None
    for one in seen.containers:
        await idle_runtime.runtime.stop_container(request.uid, one.name, one.attempt, 1)
    async with cloud(idle_runtime, tmp_path) as world:
        await world.backend.create_instance(request)
        ended = await world.until_instance(request.uid, lambda one: one.released)
        assert {one.restarts for one in ended.containers} == {0}
        after = await idle_runtime.runtime.inspect(request.uid)
        assert after is None or {one.attempt for one in after.containers} == {0}
        await world.backend.forget_instance(request.uid)


async def test_a_place_that_does_not_suit_is_left(idle_runtime: RuntimeWorld, tmp_path: Path) -> None:
    small, large = (vswitch.id for vswitch in idle_runtime.zone.vswitches)
    request, _ = await run_and_lose(idle_runtime, tmp_path, vswitches=(small,))
    async with cloud(idle_runtime, tmp_path) as world:
        await world.backend.create_instance(msgspec.structs.replace(request, vswitches=(large,)))
        found = await world.until_instance(request.uid, running)
        assert found.vswitch == large
        await agrees(world, found)
        await gives_all_back(world, request)


async def test_a_row_that_is_older_than_the_sandbox_takes_its_place(idle_runtime: RuntimeWorld, tmp_path: Path) -> None:
    request, before = await run_and_lose(idle_runtime, tmp_path)
    machine = InstanceMachine(request, instance_id(request.uid), before.created_at)
    with Journal(tmp_path / "journal.sqlite") as journal:  # as it was when the pod was accepted
        journal.accept(request, msgspec.json.encode(machine.snapshot()))
    async with cloud(idle_runtime, tmp_path) as world:
        found = await world.until_instance(request.uid, running)
        assert (found.address, found.vswitch) == (before.address, before.vswitch)
        assert [one.state for one in found.containers] == [one.state for one in before.containers]
        await agrees(world, found)
        await gives_all_back(world, request)


@pytest.mark.parametrize("column", ["state", "request"])
async def test_a_record_that_cannot_be_read_costs_nobody_his_life(
    idle_runtime: RuntimeWorld, tmp_path: Path, column: str
) -> None:
    async with cloud(idle_runtime, tmp_path) as world:
        request, other = with_init(world), world.request()
        for one in (request, other):
            await world.backend.create_instance(one)
        before = {one.uid: await world.until_instance(one.uid, running) for one in (request, other)}
        world.dead = True
    with closing(sqlite3.connect(tmp_path / "journal.sqlite", isolation_level=None)) as db:
        db.execute(f"UPDATE {column}s SET {column} = '[]' WHERE uid = ?", (request.uid,))
    async with cloud(idle_runtime, tmp_path) as world:
        await world.backend.create_instance(request)
        for one in (request, other):
            found = await world.until_instance(one.uid, running)
            assert found.address == before[one.uid].address
            assert [each.state for each in found.containers] == [each.state for each in before[one.uid].containers]
        await world.end_all()


async def test_others_get_other_addresses_meanwhile(idle_runtime: RuntimeWorld, tmp_path: Path) -> None:
    request, before = await run_and_lose(idle_runtime, tmp_path)
    async with cloud(idle_runtime, tmp_path) as world:
        others = [world.request() for _ in range(4)]
        await asyncio.gather(*(world.backend.create_instance(other) for other in others))
        for other in others:
            assert (await world.until_instance(other.uid, running)).address != before.address
        await world.backend.create_instance(request)
        assert (await world.until_instance(request.uid, running)).address == before.address
        await world.end_all()
