"""Acts that wait for their turn: at most so many instances at a time, the oldest instance first.

Starting a container costs the engine 0.2 to 0.4 s of CPU; more of them at a time only lengthen the queue of each. An
instance that has a turn may do several acts at once: the containers of one pod that may start together start together.
An act that waits is no task; it costs an entry of a heap.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from provider.model.ids import PodUid

    Act = Callable[[], Coroutine[Any, Any, None]]


class ActQueue:
    """First in, first out by `order`, the instance's rank; `limit` instances at a time."""

    def __init__(
        self,
        limit: int,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        *,
        may_begin: Callable[[], bool] = lambda: True,
    ) -> None:
        """Take the way to run a coroutine as a task; ValueError for a limit below 1.

        `may_begin` is asked before each instance's turn; after a no, somebody has to call `serve`.
        """
        if limit < 1:
            raise ValueError(f"at least one instance at a time must have its turn, got {limit}")
        self._limit = limit
        self._spawn = spawn
        self._may_begin = may_begin
        self.when_idle: Callable[[], None] = lambda: None
        """called each time that nothing runs and nothing waits any more."""
        self._running: dict[PodUid, int] = {}
        self._waiting: dict[PodUid, list[tuple[str, Act]]] = {}
        self._heap: list[tuple[int, PodUid]] = []

    def __len__(self) -> int:
        return sum(len(acts) for acts in self._waiting.values())

    @property
    def busy(self) -> bool:
        """Whether an act runs or waits."""
        return bool(self._running or self._waiting)

    def waits(self, uid: PodUid) -> bool:
        """Whether an act of the instance waits."""
        return uid in self._waiting

    def submit(self, uid: PodUid, order: int, name: str, act: Act) -> None:
        """Run an act in its turn; `name` tells it from other acts of the instance."""
        if uid in self._running:
            self._begin(uid, act)
            return
        acts = self._waiting.get(uid)
        if acts is None:
            self._waiting[uid] = acts = []
            heapq.heappush(self._heap, (order, uid))
        acts.append((name, act))
        self.serve()

    def withdraw(self, uid: PodUid) -> list[str]:
        """Drop the instance's acts that have not begun; return their names."""
        return [name for name, _ in self._waiting.pop(uid, ())]

    def serve(self) -> None:
        """Give turns to those who wait, as far as there are any."""
        while self._heap and len(self._running) < self._limit:
            if self._heap[0][1] in self._waiting and not self._may_begin():
                return
            _, uid = heapq.heappop(self._heap)
            for _, act in self._waiting.pop(uid, ()):
                self._begin(uid, act)

    def _begin(self, uid: PodUid, act: Act) -> None:
        self._running[uid] = self._running.get(uid, 0) + 1
        self._spawn(self._run(uid, act))

    async def _run(self, uid: PodUid, act: Act) -> None:
        try:
            await act()
        finally:
            left = self._running[uid] - 1
            if left:
                self._running[uid] = left
            else:
                del self._running[uid]
                self.serve()
                if not self.busy:
                    self.when_idle()
