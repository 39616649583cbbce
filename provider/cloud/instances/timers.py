"""When which instance has to be woken: one heap for all, no task per instance."""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from provider.clock import Clock
    from provider.model.ids import PodUid


class Timers:
    """Calls `wake` for each UID at its time; a later `arm` replaces the earlier one.

    Sleepers are tasks that wait for the head of the heap. A new one begins only when a time comes before those of all
    that sleep, so there are few of them however many instances there are.
    """

    def __init__(
        self,
        clock: Clock,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        wake: Callable[[PodUid], None],
    ) -> None:
        self._clock = clock
        self._spawn = spawn
        self._wake = wake
        self._due: dict[PodUid, float] = {}
        self._heap: list[tuple[float, PodUid]] = []
        self._sleeping_until: list[float] = []

    def arm(self, uid: PodUid, when: float | None) -> None:
        """Wake the UID at `when` (seconds since the epoch), or not at all."""
        if self._due.get(uid) == when:
            return
        if when is None:
            del self._due[uid]
            return
        self._due[uid] = when
        heapq.heappush(self._heap, (when, uid))
        self._sleep()

    def _sleep(self) -> None:
        if self._heap and self._heap[0][0] < min(self._sleeping_until, default=math.inf):
            self._sleeping_until.append(self._heap[0][0])
            self._spawn(self._sleeper(self._heap[0][0]))

    async def _sleeper(self, until: float) -> None:
        await self._clock.sleep(until - self._clock.now())
        self._sleeping_until.remove(until)
        now = self._clock.now()
        while self._heap and self._heap[0][0] <= now:
            when, uid = heapq.heappop(self._heap)
            if self._due.get(uid) == when:
                del self._due[uid]
                self._wake(uid)
        self._sleep()
