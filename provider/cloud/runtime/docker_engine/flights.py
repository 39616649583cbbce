"""One run of an act, shared by all who ask for it while it is under way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

from provider.cloud.runtime.base import RuntimeFault

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

T = TypeVar("T")


class Flights(Generic[T]):
    """Acts under way, by key. Who asks first does the work; if that one is cancelled, another who waits does it."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, asyncio.Future[T]] = {}

    async def shared(self, key: Hashable, act: Callable[[], Awaitable[T]]) -> T:
        """Return what `act` returns, or raise the RuntimeFault that it raises, for everybody alike."""
        while (flight := self._flights.get(key)) is not None:
            await asyncio.wait([flight])  # a cancelled waiter leaves the flight alone
            if not flight.cancelled():
                return flight.result()
        return await self._lead(key, act)

    async def _lead(self, key: Hashable, act: Callable[[], Awaitable[T]]) -> T:
        flight = self._flights[key] = asyncio.get_running_loop().create_future()
        try:
            result = await act()
        except RuntimeFault as fault:
            flight.set_exception(fault)
            flight.exception()  # it is raised here, too: nobody has to fetch it
            raise
        else:
            flight.set_result(result)
            return result
        finally:
            del self._flights[key]
            flight.cancel()  # no effect on one that is done
