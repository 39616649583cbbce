"""Who may join or leave a network when: engines before 23.0 lock up for good when a leave meets another change.

libnetwork takes the locks of a network and of its controller in one order when an endpoint leaves and in the other
when the end (or the beginning) of one is made known; if two goroutines hold one each, no request that touches a
network is answered any more, until dockerd is restarted (moby/moby#42545 and #42569; Debian 12 ships 20.10.24, which
has it). So leaves have a network for themselves there; joins go together.

A leave is nobody's hurry: the containers of the pod have ended. Taking turns with joins it made a burst of short pods
a third slower, so it waits until nobody joins, for a bounded time.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping


PATIENCE_SECONDS = 10.0


def joins_another(row: Mapping[str, Any]) -> bool:
    """Tell from the engine's short row whether a container has another's network: its end is no leave."""
    return str(row["HostConfig"]["NetworkMode"]).startswith("container:")


class NetworkTurns:
    """Turns at each network: who joins goes first, for somebody waits for that. With `one_by_one` false, nobody waits.

    A leave that has waited for PATIENCE_SECONDS shuts the door to joins, until all that waited so long are through.
    """

    def __init__(self, *, one_by_one: bool) -> None:
        self._one_by_one = one_by_one
        self._networks: dict[str, _Turns] = {}

    @asynccontextmanager
    async def joining(self, network: str) -> AsyncIterator[None]:
        """Hold while a container joins: together with other joins."""
        if not self._one_by_one:
            yield
            return
        turns = self._networks.setdefault(network, _Turns())
        turns.asking += 1
        try:
            while turns.shut:
                await turns.news()
        finally:
            turns.asking -= 1
            turns.tell()
        turns.joins += 1
        try:
            yield
        finally:
            turns.joins -= 1
            turns.tell()

    @asynccontextmanager
    async def leaving(self, network: str) -> AsyncIterator[None]:
        """Hold while a container leaves: alone, in the order of asking."""
        if not self._one_by_one:
            yield
            return
        turns = self._networks.setdefault(network, _Turns())
        loop = asyncio.get_running_loop()
        latest = loop.time() + PATIENCE_SECONDS
        turns.leaves.append(latest)
        try:
            async with turns.order:
                while turns.joins or (turns.asking and loop.time() < latest):
                    left = latest - loop.time()
                    await turns.news(left if left > 0 else None)
                turns.going = True
                try:
                    yield
                finally:
                    turns.going = False
        finally:
            turns.leaves.remove(latest)
            turns.tell()


class _Turns:
    """One network. `joins` are under way, `asking` wait for the door; `going` while somebody leaves."""

    def __init__(self) -> None:
        self.order = asyncio.Lock()
        self.leaves: list[float] = []
        """by when each that waits or goes on has waited long enough, in the order of asking; time of the loop"""
        self.going = False
        self.joins = 0
        self.asking = 0
        self._waiters: set[asyncio.Future[None]] = set()

    @property
    def shut(self) -> bool:
        """Whether joins wait: somebody leaves, or has waited long enough for it."""
        return self.going or bool(self.leaves and self.leaves[0] <= asyncio.get_running_loop().time())

    async def news(self, seconds: float | None = None) -> None:
        """Wait until something has changed, or for so long."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await waiter
        finally:
            self._waiters.discard(waiter)

    def tell(self) -> None:
        """Let all who wait look again."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
