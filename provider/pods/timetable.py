"""Many wake-up times, one task: ten thousand pods that wait cost no task each."""

from __future__ import annotations

import asyncio
import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from provider.clock import Clock


class Timetable:
    """Calls `fire(key)` when the key's time has come; one time per key, the last one set counts."""

    def __init__(self, fire: Callable[[str], None], clock: Clock) -> None:
        """`fire` must not block; an exception of it ends `run`."""
        self._fire = fire
        self._clock = clock
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._due)

    def set(self, key: str, at: float) -> None:
        """Wake `key` at `at` (seconds since the epoch) instead of at any time set before."""
        if self._due.get(key) == at:
            return
        self._due[key] = at
        heapq.heappush(self._heap, (at, key))
        if self._heap[0] == (at, key):
            self._changed.set()

    def due(self, key: str) -> float | None:
        """Return when the key will be woken."""
        return self._due.get(key)

    def cancel(self, key: str) -> None:
        """Do not wake `key`."""
        self._due.pop(key, None)

    async def run(self) -> None:
        """Wake keys until cancelled."""
        while True:
            self._changed.clear()
            now = self._clock.now()
            while self._heap and self._heap[0][0] <= now:
                at, key = heapq.heappop(self._heap)
                if self._due.get(key) == at:
                    del self._due[key]
                    self._fire(key)
            await self._sleep()

    async def _sleep(self) -> None:
        """Wait for the next time, or for an earlier one to be set."""
        if not self._heap:
            await self._changed.wait()
            return
        async with asyncio.TaskGroup() as group:
            sleeper = group.create_task(self._clock.sleep(self._heap[0][0] - self._clock.now()))
            waiter = group.create_task(self._changed.wait())
            sleeper.add_done_callback(lambda _: waiter.cancel())
            waiter.add_done_callback(lambda _: sleeper.cancel())
