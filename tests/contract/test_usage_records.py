"""The usage ledger: over both backends, over both runtimes, and over a restart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from provider.clock import SystemClock
from provider.model.bill import Outcome, UsageRecord, whole_seconds
from provider.model.instance import InstancePhase
from tests.support.cloud_worlds import BackendWorld, local_backend, simulated_world, watched

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(60)


async def record(world: BackendWorld, uid: str) -> UsageRecord:
    (found,) = [one for one in await world.backend.describe_usage_records() if one.uid == uid]
    return found


async def test_an_attempt_is_charged_from_its_image_pull_to_its_end_and_outlives_its_instance(
    world: BackendWorld,
) -> None:
    tags = (("workflow", "fan"), ("template", "work"))
    request = world.request(seconds=0.3, cpu=1_000, tags=tags)
    await world.backend.create_instance(request)
    done = await world.until_instance(request.uid, lambda one: one.released)
    found = await record(world, request.uid)
    assert (found.outcome, found.cpu, found.price, found.currency) == (Outcome.SUCCEEDED, 1_000, 3_600_000, "XTS")
    assert (found.tags, found.namespace, found.name, found.id) == (tags, request.namespace, request.name, done.id)
    assert done.sandbox_ready_at is not None
    assert done.containers[0].state.finished_at is not None
    assert (found.started_at, found.ended_at) == (done.sandbox_ready_at, done.containers[0].state.finished_at)
    assert found.seconds == whole_seconds(found.started_at, found.ended_at)
    assert found.charge == 3_600_000 * found.seconds > 0
    await world.backend.forget_instance(request.uid)
    assert await record(world, request.uid) == found


async def test_who_runs_costs_until_now_and_who_is_deleted_is_waste(world: BackendWorld) -> None:
    request = world.request()
    await world.backend.create_instance(request)
    await world.until_instance(request.uid, lambda one: one.phase is InstancePhase.RUNNING)
    running = await record(world, request.uid)
    assert (running.outcome, running.ended_at) == (Outcome.RUNNING, None)
    await world.backend.delete_instance(request.uid, 1)
    await world.until_instance(request.uid, lambda one: one.released)
    found = await record(world, request.uid)
    assert (found.outcome, found.started_at) == (Outcome.STOPPED, running.started_at)
    assert found.seconds >= running.seconds


async def test_a_failed_attempt_is_told_apart(world: BackendWorld) -> None:
    request = world.request(seconds=0.1, code=3)
    await world.backend.create_instance(request)
    await world.until_instance(request.uid, lambda one: one.phase is InstancePhase.FAILED)
    assert (await record(world, request.uid)).outcome is Outcome.FAILED


async def test_who_waits_for_stock_costs_nothing(world: BackendWorld) -> None:
    zone = world.below.zone
    first, second = world.request(cpu=zone.cpu), world.request(cpu=zone.cpu)
    for request in (first, second):
        await world.backend.create_instance(request)
    await world.until_instance(first.uid, lambda one: one.phase is InstancePhase.RUNNING)
    await world.until_instance(second.uid, lambda one: bool(one.message))
    assert [one.uid for one in await world.backend.describe_usage_records()] == [first.uid]
    await world.backend.delete_instance(second.uid, 0)
    await world.until_instance(second.uid, lambda one: one.released)
    assert [one.uid for one in await world.backend.describe_usage_records()] == [first.uid]


async def test_only_what_began_since_a_moment(world: BackendWorld) -> None:
    request = world.request(seconds=0.1)
    await world.backend.create_instance(request)
    await world.until_instance(request.uid, lambda one: one.released)
    found = await record(world, request.uid)
    assert await world.backend.describe_usage_records(found.started_at) == [found]
    assert await world.backend.describe_usage_records(found.started_at + 0.001) == []


async def test_the_ledger_goes_on_after_a_restart(tmp_path: Path) -> None:
    async with simulated_world(tmp_path) as below:
        async with local_backend(below, tmp_path, SystemClock()) as backend, watched(backend, below) as world:
            world.dead = True
            ended, runs = world.request(seconds=0.05), world.request()
            for request in (ended, runs):
                await backend.create_instance(request)
            await world.until_instance(ended.uid, lambda one: one.released)
            await world.until_instance(runs.uid, lambda one: one.phase is InstancePhase.RUNNING)
            await backend.forget_instance(ended.uid)
            before = {one.uid: one for one in await backend.describe_usage_records()}
        async with local_backend(below, tmp_path, SystemClock()) as backend, watched(backend, below) as world:
            after = {one.uid: one for one in await backend.describe_usage_records()}
            assert after[ended.uid] == before[ended.uid]
            assert after[runs.uid].started_at == before[runs.uid].started_at
            assert after[runs.uid].ended_at is None
            await backend.delete_instance(runs.uid, 0)
            await world.until_instance(runs.uid, lambda one: one.released)
            assert (await record(world, runs.uid)).outcome is Outcome.STOPPED
