"""Time, as a value that the composition root hands out.

Three clocks keep one contract. `SystemClock` is the wall; `ScaledClock` runs the cloud's hours at a rate (config
`cloud.clockRate`); `LoopClock` derives from the event loop, so that looptime moves sleeps and timestamps together.
Nothing else in this project may ask the machine for the time or sleep (checked: ruff TID251).
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Seconds since the Unix epoch, and a way to wait."""

    def now(self) -> float:
        """Return seconds since the Unix epoch, as this clock sees them."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds` of this clock; zero or less only yields."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        """See Clock."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """See Clock."""
        await asyncio.sleep(max(0.0, seconds))


class ScaledClock:
    """A clock that runs `rate` times as fast as the wall, from the moment it was made."""

    def __init__(self, rate: float, start: float | None = None) -> None:
        if rate <= 0:
            raise ValueError(f"clock rate must be above 0, got {rate}")
        self._rate = rate
        self._origin = time.time()
        self._start = self._origin if start is None else start

    def now(self) -> float:
        """See Clock."""
        return self._start + (time.time() - self._origin) * self._rate

    async def sleep(self, seconds: float) -> None:
        """See Clock."""
        await asyncio.sleep(max(0.0, seconds / self._rate))


class LoopClock:
    """A clock that moves with the running event loop; under looptime an hour passes in no time."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._start = start

    def now(self) -> float:
        """See Clock."""
        return self._start + asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """See Clock."""
        await asyncio.sleep(max(0.0, seconds))
