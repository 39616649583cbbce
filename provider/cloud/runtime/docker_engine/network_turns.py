"""Who may join or leave a network when: engines before 23.0 lock up for good when a leave meets another change.

libnetwork takes the locks of a network and of its controller in one order when an endpoint leaves and in the other
when the end (or the beginning) of one is made known; if two goroutines hold one each, no request that touches a
network is answered any more, until dockerd is restarted (moby/moby#42545 and #42569; Debian 12 ships 20.10.24, which
has it). So leaves have a network for themselves there; joins go together.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping


def joins_another(row: Mapping[str, Any]) -> bool:
    """Tell from the engine's short row whether a container has another's network: its end is no leave."""
    return str(row["HostConfig"]["NetworkMode"]).startswith("container:")


class NetworkTurns:
    """Turns at each network, in the order of asking. With `one_by_one` false, nobody waits."""

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
        async with turns.door:
            turns.joins += 1
            turns.quiet.clear()
        try:
            yield
        finally:
            turns.joins -= 1
            if not turns.joins:
                turns.quiet.set()

    @asynccontextmanager
    async def leaving(self, network: str) -> AsyncIterator[None]:
        """Hold while a container leaves: alone."""
        if not self._one_by_one:
            yield
            return
        turns = self._networks.setdefault(network, _Turns())
        async with turns.door:
            await turns.quiet.wait()
            yield


class _Turns:
    """One network: the door is shut while somebody leaves, or waits to; `quiet` is set while nobody joins."""

    def __init__(self) -> None:
        self.door = asyncio.Lock()
        self.quiet = asyncio.Event()
        self.quiet.set()
        self.joins = 0
