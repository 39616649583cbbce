from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from provider.clock import LoopClock
from provider.pods.worker import ROUNDS, UnsettledError, Workers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Pods:
    """Counts looks; `more` says how often a look asks for another one."""

    def __init__(self) -> None:
        self.looks: list[str] = []
        self.crashes: list[tuple[str, Exception]] = []
        self.more = 0
        self.bug: Exception | None = None
        self.workers = Workers(self.work, lambda uid, error: self.crashes.append((uid, error)))

    async def work(self, uid: str) -> bool:
        self.looks.append(uid)
        await LoopClock().sleep(1)
        if self.bug is not None:
            raise self.bug
        self.more -= 1
        return self.more >= 0


@pytest.fixture
def pods() -> Pods:
    return Pods()


@pytest.fixture
async def running(pods: Pods) -> AsyncIterator[Pods]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(pods.workers.run())
        await LoopClock().sleep(0)
        yield pods
        task.cancel()


@pytest.mark.looptime
async def test_triggers_during_a_look_make_one_more(running: Pods) -> None:
    running.workers.trigger("a")
    await LoopClock().sleep(0.5)
    for _ in range(3):
        running.workers.trigger("a")
    running.workers.trigger("b")
    await LoopClock().sleep(5)
    assert sorted(running.looks) == ["a", "a", "b"]
    assert len(running.workers) == 0  # no task stays


@pytest.mark.looptime
async def test_what_is_triggered_before_the_start_is_looked_at_after_it(pods: Pods) -> None:
    pods.workers.trigger("a")
    async with asyncio.TaskGroup() as group:
        task = group.create_task(pods.workers.run())
        await LoopClock().sleep(2)
        assert pods.looks == ["a"]
        task.cancel()


@pytest.mark.looptime
async def test_a_look_may_ask_for_another(running: Pods) -> None:
    running.more = 2
    running.workers.trigger("a")
    await LoopClock().sleep(5)
    assert running.looks == ["a"] * 3


@pytest.mark.looptime
async def test_a_bug_stops_one_pod_only(running: Pods) -> None:
    running.bug = ValueError("bug")
    running.workers.trigger("a")
    await LoopClock().sleep(2)
    assert running.crashes == [("a", running.bug)]
    running.bug = None
    running.workers.trigger("b")
    running.workers.trigger("a")
    await LoopClock().sleep(2)
    assert sorted(running.looks) == ["a", "a", "b"]


@pytest.mark.looptime
async def test_a_plan_that_never_settles_is_a_bug(running: Pods) -> None:
    running.more = 10_000
    running.workers.trigger("a")
    await LoopClock().sleep(ROUNDS + 5)
    ((uid, error),) = running.crashes
    assert uid == "a"
    assert isinstance(error, UnsettledError)
