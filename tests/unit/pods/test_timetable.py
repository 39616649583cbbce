from __future__ import annotations

import asyncio

import pytest

from provider.clock import LoopClock
from provider.pods.timetable import Timetable


@pytest.mark.looptime
async def test_keys_are_woken_in_the_order_of_their_times() -> None:
    clock = LoopClock()
    start = clock.now()
    woken: list[tuple[str, float]] = []
    table = Timetable(lambda key: woken.append((key, round(clock.now() - start))), clock)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(table.run())
        table.set("late", start + 3600)
        await clock.sleep(1)
        table.set("soon", start + 10)  # earlier than what is slept for
        table.set("moved", start + 20)
        table.set("moved", start + 30)
        table.set("cancelled", start + 25)
        table.cancel("cancelled")
        assert table.due("moved") == start + 30
        await clock.sleep(4000)
        assert woken == [("soon", 10), ("moved", 30), ("late", 3600)]
        assert len(table) == 0
        table.set("past", start)
        await clock.sleep(1)
        assert woken[-1][0] == "past"
        task.cancel()
