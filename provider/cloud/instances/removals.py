"""Removals of what has ended. They give way to starts, for somebody waits for a start and nobody for them.

On a Docker engine the removal of a sandbox costs half of what its start does. Done while instances start, it makes
them late; so it waits until nothing starts or is to be started. It does not wait when somebody waits for what it gives
back (stock, an address, memory of the engine), nor longer than PATIENCE_SECONDS, nor behind MOST_WAITING others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provider.cloud.instances.act_queue import ActQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from provider.clock import Clock
    from provider.cloud.instances.act_queue import Act
    from provider.model.ids import PodUid

AT_A_TIME = 2
PATIENCE_SECONDS = 30.0
MOST_WAITING = 64
"""An ended instance keeps a pause container with its shim, some 5 MB, until it is removed."""
_NEXT_LOOK_SECONDS = 1.0


class Removals:
    """First asked, first served; `needed` tells whether somebody waits for what removals give back."""

    def __init__(
        self,
        starts: ActQueue,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        clock: Clock,
        needed: Callable[[], bool],
    ) -> None:
        self._starts = starts
        self._spawn = spawn
        self._clock = clock
        self._needed = needed
        self._queue = ActQueue(AT_A_TIME, spawn, may_begin=self._may_begin)
        self._asked_at: dict[PodUid, float] = {}
        """of those that wait or were about to begin, the oldest first."""
        self._order = 0
        self._watched = False
        starts.when_idle = self.serve

    def __len__(self) -> int:
        return len(self._queue)

    def submit(self, uid: PodUid, name: str, act: Act) -> None:
        """Run an act in its turn; `name` tells it from other acts of the instance."""

        async def run() -> None:
            self._asked_at.pop(uid, None)
            await act()

        self._order += 1
        self._asked_at.setdefault(uid, self._clock.now())
        self._queue.submit(uid, self._order, name, run)
        if not self._watched and len(self._queue):
            self._watched = True
            self._spawn(self._watch())

    def serve(self) -> None:
        """Look again whether one may begin: nothing starts any more, or somebody waits."""
        self._queue.serve()

    def _may_begin(self) -> bool:
        if not self._starts.busy or self._needed() or len(self._queue) > MOST_WAITING:
            return True
        return self._patience_left() <= 0

    def _patience_left(self) -> float:
        """Return the seconds for which the oldest that waits may still be kept waiting."""
        oldest = next((at for uid, at in self._asked_at.items() if self._queue.waits(uid)), None)
        return 0.0 if oldest is None else oldest + PATIENCE_SECONDS - self._clock.now()

    async def _watch(self) -> None:
        """See to it that nobody waits for longer; lives as long as somebody waits."""
        while len(self._queue):
            await self._clock.sleep(max(_NEXT_LOOK_SECONDS, self._patience_left()))
            self.serve()
        self._watched = False
