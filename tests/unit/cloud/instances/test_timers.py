"""Every instance is woken at its newest time, and there are few sleepers however many there are."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from random import Random  # noqa: TID251 (seeded)
from typing import TYPE_CHECKING, Any

import pytest

from provider.clock import LoopClock
from provider.cloud.instances.timers import Timers
from provider.model.ids import PodUid

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

pytestmark = pytest.mark.looptime

A, B, C = PodUid("a"), PodUid("b"), PodUid("c")


class World:
    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self.clock = LoopClock()
        self.begun = self.clock.now()
        self.woken: list[tuple[float, PodUid]] = []
        self.sleepers = 0
        self.most_sleepers = 0
        self.tasks: list[asyncio.Task[None]] = []
        self.timers = Timers(self.clock, self.spawn, self.wake)

    def spawn(self, sleeper: Coroutine[Any, Any, None]) -> None:
        self.sleepers += 1
        self.most_sleepers = max(self.sleepers, self.most_sleepers)
        task = self._group.create_task(sleeper)
        task.add_done_callback(self._gone)
        self.tasks.append(task)

    def _gone(self, _: asyncio.Task[None]) -> None:
        self.sleepers -= 1

    def wake(self, uid: PodUid) -> None:
        self.woken.append((round(self.clock.now() - self.begun, 3), uid))

    def arm(self, uid: PodUid, seconds: float | None) -> None:
        self.timers.arm(uid, None if seconds is None else self.begun + seconds)


@asynccontextmanager
async def opened() -> AsyncIterator[World]:
    async with asyncio.TaskGroup() as group:
        world = World(group)
        yield world
        for task in world.tasks:
            task.cancel()


async def test_each_is_woken_once_at_its_time() -> None:
    async with opened() as world:
        for uid, seconds in ((A, 30.0), (B, 10.0), (C, 20.0)):
            world.arm(uid, seconds)
        await world.clock.sleep(100)
        assert world.woken == [(10, B), (20, C), (30, A)]


async def test_a_later_word_replaces_an_earlier_one() -> None:
    async with opened() as world:
        for seconds in (10.0, 40.0, 20.0):
            world.arm(A, seconds)
        world.arm(B, 15.0)
        world.arm(B, None)
        await world.clock.sleep(100)
        assert world.woken == [(20, A)]


async def test_one_may_be_armed_again_while_it_is_woken() -> None:
    async with opened() as world:
        before = world.wake

        def wake_and_arm(uid: PodUid) -> None:
            before(uid)
            if len(world.woken) < 3:
                world.arm(uid, 10.0 * (1 + len(world.woken)))

        world.timers._wake = wake_and_arm
        world.arm(A, 10.0)
        await world.clock.sleep(100)
        assert world.woken == [(10, A), (20, A), (30, A)]


async def test_a_time_that_is_over_wakes_at_once() -> None:
    async with opened() as world:
        await world.clock.sleep(50)
        world.arm(A, 10.0)
        await world.clock.sleep(1)
        assert world.woken == [(50, A)]


@pytest.mark.parametrize("seed", range(5))
async def test_a_thousand_need_few_sleepers(seed: int) -> None:
    random = Random(seed)
    times = {PodUid(f"u{number}"): random.uniform(1, 1_000) for number in range(1_000)}
    async with opened() as world:
        for uid, seconds in times.items():
            world.arm(uid, seconds)
        await world.clock.sleep(1_001)
        woken = {uid: seconds for seconds, uid in world.woken}
        assert (len(world.woken), woken) == (1_000, pytest.approx(times, abs=0.01))
        assert world.most_sleepers < 30
        assert world.sleepers == 0
