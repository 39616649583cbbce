"""What an async generator has ready, in lists: one message for many small things, without running ahead of the reader.

A generator that has something ready does not suspend, so one task that reads it gathers all of that in one go. It reads
only while somebody waits in `take`, save for the one item that its last step had already asked for. So the source keeps
its own rule for a slow reader (the watch: the newest state only), and nothing piles up here.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

T = TypeVar("T")


class Batches(Generic[T]):
    """Lists of what `source` yields; each ends with the item that brings the sum of `weigh` to the weight asked for.

    `run` is a task beside the one that calls `take`; closing the source is the caller's.
    """

    def __init__(self, source: AsyncGenerator[T, None], weigh: Callable[[T], int]) -> None:
        self._source = source
        self._weigh = weigh
        self._items: list[T] = []
        self._weight = 0
        self._room = 0
        """the weight that is wanted now; 0 while nobody waits."""
        self._wanted = asyncio.Event()
        self._ready = asyncio.Event()
        self._ended = False
        self._failure: Exception | None = None

    async def run(self) -> None:
        """Read the source until it ends; what it raises is raised by `take`, after the items before it."""
        try:
            await self._wanted.wait()
            async for item in self._source:
                self._items.append(item)
                self._weight += self._weigh(item)
                self._ready.set()
                if self._weight >= self._room:
                    self._wanted.clear()
                    await self._wanted.wait()
        except Exception as failure:  # noqa: BLE001 - handed to the reader as it is
            self._failure = failure
        self._ended = True
        self._ready.set()

    async def take(self, weight: int) -> list[T]:
        """Wait for something and return all that is ready, up to `weight` (above 0); [] when the source has ended."""
        if not self._ended and self._weight < weight:
            self._room = weight
            self._wanted.set()
            if self._items:
                await _one_pass()
            else:
                self._ready.clear()
                await self._ready.wait()
            self._room = 0
        taken, self._items, self._weight = self._items, [], 0
        if not taken and self._failure is not None:
            raise self._failure
        return taken


async def _one_pass() -> None:
    """Let every task that can run do so once."""
    loop = asyncio.get_running_loop()
    passed = loop.create_future()
    loop.call_soon(passed.set_result, None)
    await passed
