"""Whose turn it is at a network."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager

import pytest

from provider.clock import LoopClock, SystemClock
from provider.cloud.runtime.docker_engine.network_turns import PATIENCE_SECONDS, NetworkTurns, joins_another

Turn = AbstractAsyncContextManager[None]


class Changes:
    """Changes of networks that are begun in order and end when they are told to."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self.under_way: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}

    async def begin(self, name: str, turn: Turn) -> None:
        self._ends[name] = asyncio.Event()
        self._group.create_task(self._change(name, turn))
        await settle()

    async def end(self, name: str) -> None:
        self._ends[name].set()
        await settle()

    async def _change(self, name: str, turn: Turn) -> None:
        async with turn:
            self.under_way.append(name)
            await self._ends[name].wait()
            self.under_way.remove(name)


async def settle() -> None:
    for _ in range(10):
        await SystemClock().sleep(0)


async def test_joins_go_together_and_first_and_a_leave_goes_alone_in_the_order_of_asking() -> None:
    turns = NetworkTurns(one_by_one=True)
    async with asyncio.TaskGroup() as group:
        changes = Changes(group)
        await changes.begin("join 1", turns.joining("net"))
        await changes.begin("leave 1", turns.leaving("net"))
        await changes.begin("leave 2", turns.leaving("net"))
        await changes.begin("join 2", turns.joining("net"))
        assert changes.under_way == ["join 1", "join 2"]
        await changes.end("join 1")
        assert changes.under_way == ["join 2"]
        await changes.end("join 2")
        assert changes.under_way == ["leave 1"]
        await changes.begin("join 3", turns.joining("net"))
        assert changes.under_way == ["leave 1"]
        await changes.end("leave 1")
        assert changes.under_way == ["join 3"]
        await changes.end("join 3")
        assert changes.under_way == ["leave 2"]
        await changes.end("leave 2")


@pytest.mark.looptime
async def test_leaves_that_have_waited_long_go_before_further_joins() -> None:
    turns = NetworkTurns(one_by_one=True)
    clock = LoopClock()
    async with asyncio.TaskGroup() as group:
        changes = Changes(group)
        await changes.begin("join 1", turns.joining("net"))
        await changes.begin("leave 1", turns.leaving("net"))
        await changes.begin("leave 2", turns.leaving("net"))
        await clock.sleep(1)
        await changes.begin("leave 3", turns.leaving("net"))
        await changes.begin("join 2", turns.joining("net"))
        await changes.end("join 1")
        await clock.sleep(PATIENCE_SECONDS - 1)
        await changes.begin("join 3", turns.joining("net"))
        assert changes.under_way == ["join 2"], "the door is shut"
        await changes.end("join 2")
        assert changes.under_way == ["leave 1"]
        await changes.end("leave 1")
        assert changes.under_way == ["leave 2"]
        await changes.end("leave 2")
        assert changes.under_way == ["join 3"], "the third has waited for less"
        await changes.end("join 3")
        assert changes.under_way == ["leave 3"]
        await changes.end("leave 3")


async def test_networks_do_not_wait_for_each_other() -> None:
    turns = NetworkTurns(one_by_one=True)
    async with asyncio.TaskGroup() as group:
        changes = Changes(group)
        await changes.begin("here", turns.leaving("here"))
        await changes.begin("there", turns.leaving("there"))
        assert changes.under_way == ["here", "there"]
        for name in ("here", "there"):
            await changes.end(name)


async def test_an_engine_that_is_sound_lets_nobody_wait() -> None:
    turns = NetworkTurns(one_by_one=False)
    async with asyncio.TaskGroup() as group:
        changes = Changes(group)
        await changes.begin("join", turns.joining("net"))
        await changes.begin("leave 1", turns.leaving("net"))
        await changes.begin("leave 2", turns.leaving("net"))
        assert changes.under_way == ["join", "leave 1", "leave 2"]
        for name in ("join", "leave 1", "leave 2"):
            await changes.end(name)


async def test_who_fails_or_gives_up_holds_nobody_back() -> None:
    turns = NetworkTurns(one_by_one=True)
    with pytest.raises(OSError, match="refused"):
        async with turns.joining("net"):
            raise OSError("refused")
    async with asyncio.TaskGroup() as group:
        changes = Changes(group)
        await changes.begin("join", turns.joining("net"))
        waiting = group.create_task(_leave(turns))
        await settle()
        waiting.cancel()
        await changes.begin("join 2", turns.joining("net"))
        assert changes.under_way == ["join", "join 2"]
        for name in ("join", "join 2"):
            await changes.end(name)


async def test_a_leave_that_gives_up_lets_nobody_join_beside_another_leave() -> None:
    turns = NetworkTurns(one_by_one=True)
    async with asyncio.TaskGroup() as group:
        changes = Changes(group)
        await changes.begin("leave", turns.leaving("net"))
        waiting = group.create_task(_leave(turns))
        await settle()
        waiting.cancel()
        await changes.begin("join", turns.joining("net"))
        assert changes.under_way == ["leave"]
        await changes.end("leave")
        assert changes.under_way == ["join"]
        await changes.end("join")


async def _leave(turns: NetworkTurns) -> None:
    async with turns.leaving("net"):
        raise AssertionError("nobody leaves while somebody joins")


@pytest.mark.parametrize(("mode", "other"), [("container:0af1", True), ("name-vsw-a", False), ("none", False)])
def test_only_an_own_network_is_left(mode: str, other: bool) -> None:
    assert joins_another({"HostConfig": {"NetworkMode": mode}}) is other
