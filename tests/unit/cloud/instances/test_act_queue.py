"""Turns: so many instances at a time, the oldest first."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from provider.clock import LoopClock
from provider.cloud.instances.act_queue import ActQueue
from provider.model.ids import PodUid

pytestmark = pytest.mark.looptime


class Acts:
    """Each act takes as long as the test says, and tells when it begins and ends."""

    def __init__(self, group: asyncio.TaskGroup, limit: int = 1) -> None:
        self.told: list[str] = []
        self.queue = ActQueue(limit, group.create_task)

    def submit(self, name: str, order: int, seconds: float = 1) -> None:
        self.queue.submit(PodUid(name.partition("/")[0]), order, name, partial(self._act, name, seconds))

    async def _act(self, name: str, seconds: float) -> None:
        self.told.append(f"{name} begins")
        await LoopClock().sleep(seconds)
        self.told.append(f"{name} ends")


async def test_the_oldest_instance_is_next_and_its_acts_go_together() -> None:
    async with asyncio.TaskGroup() as group:
        acts = Acts(group)
        acts.submit("first", 1)
        acts.submit("young", 9)
        acts.submit("old/a", 5)
        acts.submit("old/b", 5)
        assert len(acts.queue) == 3
    assert [each for each in acts.told if each.endswith("begins")] == [
        "first begins",
        "old/a begins",
        "old/b begins",
        "young begins",
    ]
    assert acts.told.index("old/b begins") < acts.told.index("old/a ends")


async def test_no_more_instances_than_the_limit() -> None:
    async with asyncio.TaskGroup() as group:
        acts = Acts(group, limit=2)
        for number in range(6):
            acts.submit(f"i{number}", number)
    running = most = 0
    for each in acts.told:
        running += 1 if each.endswith("begins") else -1
        most = max(most, running)
    assert most == 2
    assert len(acts.told) == 12


async def test_what_is_withdrawn_never_begins() -> None:
    async with asyncio.TaskGroup() as group:
        acts = Acts(group)
        acts.submit("first", 1)
        acts.submit("second/a", 2)
        assert acts.queue.withdraw(PodUid("second")) == ["second/a"]
        assert acts.queue.withdraw(PodUid("second")) == []
    assert acts.told == ["first begins", "first ends"]


def test_at_least_one_has_its_turn() -> None:
    with pytest.raises(ValueError, match="got 0"):
        ActQueue(0, lambda _: None)
