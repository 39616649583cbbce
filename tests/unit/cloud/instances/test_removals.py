"""Removals give way to starts, but not for ever, and not when somebody waits for what they give back."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from provider.clock import LoopClock
from provider.cloud.instances.act_queue import ActQueue
from provider.cloud.instances.removals import AT_A_TIME, MOST_WAITING, PATIENCE_SECONDS, Removals
from provider.model.ids import PodUid

pytestmark = pytest.mark.looptime


class World:
    """A queue of starts, one at a time, and the removals beside it; `ended` tells who was removed when."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self.clock = LoopClock()
        self.begun = self.clock.now()
        self.short = False
        self.started: dict[str, float] = {}
        self.removed: dict[str, float] = {}
        self.starts = ActQueue(1, group.create_task)
        self.removals = Removals(self.starts, group.create_task, self.clock, lambda: self.short)

    def start(self, name: str, seconds: float) -> None:
        self.starts.submit(PodUid(name), len(name), name, partial(self._act, name, seconds, self.started))

    def remove(self, name: str, seconds: float = 1) -> None:
        self.removals.submit(PodUid(name), "", partial(self._act, name, seconds, self.removed))

    async def _act(self, name: str, seconds: float, into: dict[str, float]) -> None:
        into[name] = self.clock.now() - self.begun
        await self.clock.sleep(seconds)


async def test_a_removal_waits_until_nothing_starts_or_waits_for_its_start() -> None:
    async with asyncio.TaskGroup() as group:
        world = World(group)
        world.start("first", 5)
        world.start("second", 7)
        world.remove("old")
        await world.clock.sleep(1)
        assert len(world.removals) == 1
    assert world.started == {"first": pytest.approx(0), "second": pytest.approx(5)}
    assert world.removed == {"old": pytest.approx(12)}


async def test_with_nothing_to_start_removals_go_at_once_so_many_at_a_time() -> None:
    async with asyncio.TaskGroup() as group:
        world = World(group)
        for index in range(2 * AT_A_TIME):
            world.remove(f"old-{index}")
    assert sorted(world.removed.values()) == pytest.approx([0, 0, 1, 1])
    assert list(world.removed) == [f"old-{index}" for index in range(2 * AT_A_TIME)]


async def test_a_removal_is_not_kept_waiting_for_ever() -> None:
    async with asyncio.TaskGroup() as group:
        world = World(group)
        world.start("long", 10 * PATIENCE_SECONDS)
        world.remove("old")
        await world.clock.sleep(10)
        world.remove("younger")
        world.remove("youngest")
    assert world.removed["old"] == pytest.approx(PATIENCE_SECONDS, abs=1)
    assert world.removed["youngest"] == pytest.approx(PATIENCE_SECONDS + 10, abs=2)


async def test_who_waits_for_room_has_removals_begin() -> None:
    async with asyncio.TaskGroup() as group:
        world = World(group)
        world.start("long", 10)
        world.remove("old")
        await world.clock.sleep(2)
        world.short = True
        world.removals.serve()
    assert world.removed == {"old": pytest.approx(2)}


async def test_only_so_many_wait() -> None:
    async with asyncio.TaskGroup() as group:
        world = World(group)
        world.start("long", 20)
        for index in range(MOST_WAITING + 3):
            world.remove(f"old-{index}", seconds=0)
        await world.clock.sleep(1)
        assert len(world.removed) == 3
